"""A transaction that comes in parts: nobody sees a part before the last is durable, and what has no end is cut off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from log_samples import boundary, describe, expected, flat, group, part, put_mark, write

import headwater.log.writer
from headwater.change import Group
from headwater.log.mark import read_mark
from headwater.log.partition import Partition, StreamCounts, open_for_reading, verify

FIRST = "00000000000000000000.segment"
BEFORE = [group(1, order_rows=2), group(2, click_rows=1, filtered={"audit": 1})]
PARTS = [
    part(3, order_rows=2, filtered={"audit": 2}),
    part(3, click_rows=2, reject_rows=1),
    part(3),
    group(3, order_rows=1, filtered={"audit": 3, "more": 1}),
]


def joined(parts: Sequence[Group]) -> Group:
    """The group that the parts make."""
    filtered: dict[str, int] = {}
    for each in parts:
        for stream, count in each.filtered.items():
            filtered[stream] = filtered.get(stream, 0) + count
    batches = tuple(batch for each in parts for batch in each.batches)
    return Group(parts[-1].boundary, batches, None, filtered)


def rows(groups: Sequence[Group]) -> list[tuple[int, str, str]]:
    """What a log with these groups and parts holds, without the commits of boundaries, which parts do not know."""
    return [row[:3] for row in expected(groups)]


def held(partition: Partition) -> list[tuple[int, str, str]]:
    """What the log holds."""
    return [row[:3] for row in flat(list(partition.read(partition.base, partition.head)))]


def test_parts_are_not_there_before_the_last(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append(BEFORE)
    before = describe(partition)
    for each in PARTS[:-1]:
        assert partition.append([each]) == 3 and partition.unfinished
        assert describe(partition) == before
        assert partition.close_epoch_at(0, 100) == partition.close_epoch_at(3, 1) == 3
        view = open_for_reading(tmp_path)
        assert (view.head, view.counts) == (3, partition.counts)
        assert flat(list(view.read(0, 3))) == expected(BEFORE)
        report = verify(tmp_path)
        assert report.ok and report.records == 3
    assert partition.append([PARTS[-1]]) == 9 and not partition.unfinished
    assert partition.boundary == partition.boundary_at(9) == boundary(3)
    assert partition.counts == {
        "orders": StreamCounts(5, 1),
        "clicks": StreamCounts(3),
        "audit": StreamCounts(filtered=6),
        "more": StreamCounts(filtered=1),
    }
    assert held(partition) == rows([*BEFORE, *PARTS])
    assert {row[3] for row in flat(list(partition.read(3, 9)))} == {3}, "every part's rows know where the group ends"
    assert partition.close_epoch_at(0, 5) == 3 and partition.close_epoch_at(3, 1) == 9, "no epoch ends between parts"
    partition.close()
    assert verify(tmp_path).findings == []


def test_a_group_in_parts_reads_as_one_that_came_at_once(tmp_path: Path) -> None:
    parts = [part(3, order_rows=2, filtered={"audit": 2}), part(3, click_rows=2), group(3, order_rows=1)]
    write(tmp_path / "parts", [BEFORE, *[[each] for each in parts], [group(4)]])
    write(tmp_path / "whole", [BEFORE, [joined(parts)], [group(4)]])
    descriptions = [describe(Partition.open(tmp_path / name)) for name in ("parts", "whole")]
    assert descriptions[0] == descriptions[1]


def test_groups_before_the_first_part_are_durable_at_once(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    assert partition.append([*BEFORE, PARTS[0]]) == 3
    assert partition.boundary == boundary(2) and open_for_reading(tmp_path).head == 3
    assert partition.append([*PARTS[1:], group(4), part(5, order_rows=1)]) == 9
    assert partition.boundary == boundary(4) and partition.unfinished


def test_forgotten_parts_leave_nothing_behind(tmp_path: Path) -> None:
    """The same bytes as if they had never come: the next frames follow the last whole group."""
    for name in ("with", "without"):
        partition = Partition.open(tmp_path / name)
        partition.append(BEFORE)
        for _ in range(2 if name == "with" else 0):
            for each in PARTS[:-1]:
                partition.append([each])
            partition.forget_parts()
            assert not partition.unfinished
            partition.forget_parts()
        partition.append([group(3, click_rows=1, order_rows=1)])
        partition.close()
    with_header, without = ((tmp_path / name / FIRST).read_bytes() for name in ("with", "without"))
    assert len(with_header) == len(without)
    assert describe(Partition.open(tmp_path / "with")) == describe(Partition.open(tmp_path / "without"))
    assert verify(tmp_path / "with").findings == []


def test_closing_forgets_parts(tmp_path: Path) -> None:
    write(tmp_path, [BEFORE, PARTS[:-1]])
    partition = Partition.open(tmp_path)
    assert partition.recovered.reason == "" and partition.boundary == boundary(2)


def test_a_segment_grows_by_a_whole_group_and_rolls_after_it(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=1000)
    for each in (*BEFORE, *PARTS, group(4, order_rows=1), group(5, order_rows=1)):
        partition.append([each])
    assert [segment.base for segment in partition.segments()] == [0, 2, 3, 9, 10]
    assert partition.retain(before=9) and partition.base == 9
    assert partition.boundary_at(9) == boundary(3)


def test_parts_reach_the_disk_along_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the end of five gigabytes need not wait for five gigabytes; the mark does not move for it."""
    monkeypatch.setattr(headwater.log.writer, "FLUSH_BYTES", 2000)
    synced: list[int] = []
    whole = os.fdatasync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        whole(descriptor)

    partition = Partition.open(tmp_path)
    partition.append(BEFORE)
    mark = read_mark(tmp_path)[0]
    monkeypatch.setattr(os, "fdatasync", watched)
    for _ in range(10):
        partition.append([part(3, order_rows=3)])
    assert 3 <= len(synced) < 10 and synced == sorted(synced)
    assert read_mark(tmp_path)[0] == mark
    partition.append([group(3)])
    assert (partition.head, read_mark(tmp_path)[0].head) == (33, 33)


def test_what_stays_in_memory_of_parts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headwater.log.writer, "PENDING_BYTES", 4000)
    partition = Partition.open(tmp_path)
    for _ in range(50):
        partition.append([part(1, order_rows=3)])
        waiting = sum(len(piece) for piece in partition._writer._segment._parts)
        assert waiting < 4000 + 2000
    assert partition.segments()[0].path.stat().st_size > 30_000


def test_every_truncation_of_unfinished_parts_is_cut(tmp_path: Path) -> None:
    """A crash leaves any number of the bytes since the last whole group; only the last byte of the last part makes
    the group."""
    folder = tmp_path / "log"
    partition = Partition.open(folder)
    partition.append(BEFORE)
    mark = read_mark(folder)[0]
    assert mark is not None
    for each in PARTS:
        partition.append([each])
    partition.close()
    content = (folder / FIRST).read_bytes()
    for length in range(mark.length, len(content) + 1):
        whole = length == len(content)
        if length % 13 and not whole:
            continue
        (folder / FIRST).write_bytes(content[:length])
        put_mark(folder, mark)
        assert open_for_reading(folder).head == 3 and verify(folder).ok
        partition = Partition.open(folder)
        assert held(partition) == rows([*BEFORE, *(PARTS if whole else [])])
        assert partition.boundary == boundary(3 if whole else 2)
        assert bool(partition.recovered.cut_bytes) == (not whole and length > mark.length)
        assert not partition.unfinished
        partition.append([group(4, order_rows=1)])
        partition.close()
        assert verify(folder).findings == []


def test_damage_inside_unfinished_parts_is_cut_and_inside_finished_ones_refused(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    partition = Partition.open(folder)
    partition.append(BEFORE)
    mark = read_mark(folder)[0]
    assert mark is not None
    for each in PARTS:
        partition.append([each])
    partition.close()
    after = read_mark(folder)[0]
    content = (folder / FIRST).read_bytes()
    for place in range(mark.length, len(content), 41):
        raw = bytearray(content)
        raw[place] ^= 1 << place % 8
        for known, refused in ((mark, False), (after, True)):
            (folder / FIRST).write_bytes(raw)
            put_mark(folder, known)
            assert verify(folder).ok != refused
            if not refused:
                partition = Partition.open(folder)
                assert held(partition) == rows(BEFORE) and partition.recovered.cut_bytes
                partition.close()


class Parts(RuleBasedStateMachine):
    """Groups and parts, crashes that keep any prefix of what was not acknowledged, forgetting, retention: the log is
    the list of its whole groups."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.segment_bytes = 1
        self.groups: list[Group] = []
        self.parts: list[Group] = []
        self.base = 0
        self.partition = Partition.open(self.folder, segment_bytes=2500)

    @rule(rows=st.integers(0, 3), clicks=st.integers(0, 2), more=st.booleans())
    def append(self, rows: int, clicks: int, more: bool) -> None:
        commit = len(self.groups) + 1
        new = group(commit, order_rows=rows, click_rows=clicks, filtered={"audit": rows})
        new = replace(new, boundary=boundary(0), more=True) if more else new
        self.partition.append([new])
        self.parts.append(new)
        if not more:
            self.groups.append(joined(self.parts))
            self.parts = []

    @precondition(lambda self: not self.parts)
    @rule(rows=st.integers(0, 3))
    def append_a_group_and_a_first_part(self, rows: int) -> None:
        whole = group(len(self.groups) + 1, order_rows=rows)
        first = part(len(self.groups) + 2, click_rows=1)
        self.partition.append([whole, first])
        self.groups.append(whole)
        self.parts = [first]

    @rule()
    def forget(self) -> None:
        self.partition.forget_parts()
        self.parts = []

    @rule()
    def reopen(self) -> None:
        self.partition.close()
        self._open()
        assert self.partition.recovered.cut_bytes == 0

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process dies with the parts it has, of which the disk got a beginning."""
        self.partition._writer._segment._write()
        path = self.partition.segments()[-1].path
        mark = read_mark(self.folder)[0]
        assert mark is not None
        content = path.read_bytes()
        keep = data.draw(st.integers(mark.length, len(content)))
        self.partition.close()
        path.write_bytes(content[:keep])
        put_mark(self.folder, mark)
        self._open()
        assert self.partition.recovered.cut_bytes == keep - mark.length

    def _open(self) -> None:
        self.parts = []
        self.partition = Partition.open(self.folder, segment_bytes=2500)

    @rule(share=st.floats(0, 1))
    def retain(self, share: float) -> None:
        self.partition.retain(before=int(share * self.partition.head))
        self.base = self.partition.base

    @invariant()
    def the_log_is_its_whole_groups(self) -> None:
        partition = self.partition
        head = sum(len(each) for each in self.groups)
        assert (partition.head, partition.unfinished) == (head, bool(self.parts))
        assert partition.boundary == (self.groups[-1].boundary if self.groups else None)
        assert flat(list(partition.read(self.base, head))) == expected(self.groups)[self.base :]
        assert sum(counts.changes for counts in partition.counts.values()) == head
        filtered = partition.counts.get("audit", StreamCounts()).filtered
        assert filtered == sum(each.filtered.get("audit", 0) for each in self.groups)
        view = open_for_reading(self.folder)
        assert (view.base, view.head) == (self.base, head)
        assert verify(self.folder).ok
        end = 0
        for each in self.groups:
            start, end = end, end + len(each)
            if start >= self.base and end > start:
                assert partition.close_epoch_at(start, 1) == end

    def teardown(self) -> None:
        self.partition.close()
        assert verify(self.folder).findings == []
        shutil.rmtree(self.folder)


Parts.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestParts = Parts.TestCase
