"""Rolling and retention: segments come and go, and no count or boundary is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from log_samples import expected, flat, group

from headwater.errors import UserError
from headwater.log.partition import Partition, open_for_reading, verify


class HeldClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.us = 1_000_000_000

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1e6

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.is_set()


GROUPS = [group(commit, order_rows=2, filtered={"audit": 1}) for commit in range(1, 9)]


def test_segments_roll_at_the_ends_of_groups(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=2000)
    partition.append(GROUPS[:5])
    partition.append(GROUPS[5:])
    infos = partition.segments()
    assert len(infos) > 2 and infos[0].base == 0
    assert [info.base + info.records for info in infos] == [*(info.base for info in infos[1:]), 16]
    assert all(info.bytes >= 2000 for info in infos[:-1])
    assert [info.path.stat().st_size for info in infos] == [info.bytes for info in infos]
    assert infos[0].first == GROUPS[0].boundary and infos[-1].last == GROUPS[-1].boundary
    assert flat(list(partition.read(0, 16))) == expected(GROUPS)
    assert [partition.close_epoch_at(start, 4) for start in (0, 2, 11, 15)] == [4, 6, 14, 16]
    assert [partition.boundary_at(2 * n) for n in range(1, 9)] == [each.boundary for each in GROUPS]
    partition.close()
    assert Partition.open(tmp_path).segments() == infos


def test_empty_groups_never_roll_but_move_the_boundary(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=1)
    partition.append([group(1, order_rows=1)])
    partition.append([group(2), group(3)])
    partition.append([group(4)])
    assert [info.base for info in partition.segments()] == [0, 1]
    assert partition.boundary_at(1) == group(4).boundary
    partition.append([group(5, order_rows=1)])
    assert [info.base for info in partition.segments()] == [0, 1]
    assert partition.boundary_at(1) == group(4).boundary
    partition.retain(before=2)
    assert (partition.base, partition.boundary_at(1)) == (1, group(4).boundary)


def test_retention_loses_no_account(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=1)
    partition.append(GROUPS)
    counts = {offset: partition.counts_at(offset) for offset in range(0, 17, 2)}
    files = [info.path for info in partition.segments()]
    assert partition.retain(before=0) == [] and partition.retain(before=1) == []
    assert partition.retain(before=7) == files[:3]
    assert (partition.base, partition.head) == (6, 16)
    assert [path.exists() for path in files] == [False] * 3 + [True] * 5
    assert {offset: partition.counts_at(offset) for offset in range(6, 17, 2)} == {
        n: counts[n] for n in range(6, 17, 2)
    }
    assert partition.boundary_at(6) == GROUPS[2].boundary
    assert flat(list(partition.read(6, 16))) == expected(GROUPS)[6:]
    with pytest.raises(UserError, match="which keeps 6 to 16"):
        next(partition.read(5, 16))
    assert partition.retain(before=16) == files[3:7]
    partition.close()
    again = Partition.open(tmp_path)
    assert (again.base, again.head, again.boundary) == (14, 16, GROUPS[-1].boundary)
    assert again.counts == counts[16] and again.counts_at(14) == counts[14]
    assert verify(tmp_path).findings == []


def test_rules_of_age_and_size(tmp_path: Path) -> None:
    clock = HeldClock()
    partition = Partition.open(tmp_path, segment_bytes=1, clock=clock)
    for each in GROUPS:
        partition.append([each])
        clock.us += 10_000_000
    files = [info.path for info in partition.segments()]
    size = partition.segments()[0].bytes
    assert partition.retain(before=16, min_age_s=1000) == []
    assert partition.retain(before=16, min_age_s=60) == files[:2]
    assert partition.retain(before=16, max_bytes=100 * size) == []
    assert partition.retain(before=16, min_age_s=1000, max_bytes=int(4.9 * size)) == files[2:4]
    assert partition.retain(before=10, min_age_s=0) == files[4:5]


def test_what_was_read_stays_readable_after_it_was_retired(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=1)
    partition.append(GROUPS)
    reading = partition.read(0, 16)
    first = next(reading)
    view = open_for_reading(tmp_path)
    partition.retain(before=16)
    assert flat([first]) == expected(GROUPS)[:2]
    with pytest.raises(UserError, match="retired"):
        list(reading)
    with pytest.raises(UserError, match="retired"):
        list(view.read(0, 16))
    assert open_for_reading(tmp_path).base == 14
