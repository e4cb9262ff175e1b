"""Damage of every kind: truncation at every byte, a flip of every bit, lost sectors, holes, missing files.

Detected means: never served as good rows, and opening or reading says so."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_samples import CLICKS, boundary, clicks, describe, expected, flat, group, put_mark, write

from headwater.change import CHANGE_COLUMNS, ChangeBatch, Group
from headwater.errors import CorruptLog, HeadwaterError, UserError
from headwater.log.mark import NAME, Mark, read_mark
from headwater.log.partition import Partition, open_for_reading, verify
from headwater.log.recovery import judge
from headwater.log.scan import Scan, scan
from headwater.log.segment import Segment, decode_header

APPENDS = [
    [group(1, order_rows=2)],
    [group(2, click_rows=1, filtered={"audit": 3})],
    [group(3)],
    [group(4, reject_rows=1), group(5, order_rows=1)],
]
GROUPS = [each for groups in APPENDS for each in groups]
FIRST = "00000000000000000000.segment"


class Sample:
    """A written log of one segment, its bytes, and the durable mark after each append (0: before the first)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        partition = Partition.open(folder)
        self.marks = [self._mark()]
        self.heads = [0]
        for groups in APPENDS:
            self.heads.append(partition.append(groups))
            self.marks.append(self._mark())
        partition.close()
        self.path = folder / FIRST
        self.bytes = self.path.read_bytes()
        header = decode_header(memoryview(self.bytes))
        assert header is not None
        self.header = header

    def _mark(self) -> Mark:
        mark, damaged = read_mark(self.folder)
        assert mark is not None and not damaged
        return mark

    def reset(self, content: bytes, mark: Mark | None) -> None:
        """Puts these bytes and this mark in place of the sample's."""
        self.path.write_bytes(content)
        put_mark(self.folder, mark)

    def judged(self, content: bytes | bytearray, mark: Mark | None) -> tuple[Scan, str]:
        """What opening would do with these bytes: the scan and "refused", "cut", "cut doubtful" or "whole"."""
        header = decode_header(memoryview(content))
        if header is None:
            return Scan(self.header, len(content)), "refused"
        found = scan(memoryview(content), header)
        try:
            recovery = judge(self.path, found, mark)
        except CorruptLog as error:
            assert FIRST in error.message and "bytes" in error.message and "headwater log verify" in error.hint
            return found, "refused"
        return found, "whole" if not recovery.cut_bytes else "cut doubtful" if recovery.doubtful else "cut"


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    made = Sample(tmp_path / "log")
    assert 4_000 < len(made.bytes) < 32_000
    return made


def test_truncation_at_every_byte_of_acknowledged_groups_is_refused(sample: Sample) -> None:
    for length in range(len(sample.bytes)):
        sample.reset(sample.bytes[:length], sample.marks[-1])
        with pytest.raises(CorruptLog, match=r"segment: byte.* \(offsets"):
            Partition.open(sample.folder)
        assert not verify(sample.folder).ok


def test_truncation_at_every_byte_of_an_unacknowledged_append_is_cut_and_reported(sample: Sample) -> None:
    """The mark is that of the append before, as after a crash between write and acknowledgement."""
    mark, ends = sample.marks[-2], _ends_of_groups(sample)
    for length in range(mark.length, len(sample.bytes)):
        found, verdict = sample.judged(sample.bytes[:length], mark)
        keep, groups = max((end, groups) for end, groups in ends.items() if end <= length)
        assert (found.keep, verdict) == (keep, "whole" if keep == length else "cut")
        if length % 17 == 0 or keep == length:
            sample.reset(sample.bytes[:length], mark)
            partition = Partition.open(sample.folder)
            assert flat(list(partition.read(0, partition.head))) == expected(GROUPS[:groups])
            assert partition.recovered.cut_bytes == length - keep
            assert bool(partition.recovered.reason) == (length != keep)
            assert partition.boundary == GROUPS[groups - 1].boundary
            partition.close()
            assert sample.path.stat().st_size == keep and verify(sample.folder).findings == []


def _ends_of_groups(sample: Sample) -> dict[int, int]:
    """Bytes up to the end of each COMMIT, with the number of groups before it."""
    frames = scan(memoryview(sample.bytes), sample.header).frames
    commits = [frame for frame in frames if frame.kind.name == "COMMIT"]
    return {frame.end: number + 1 for number, frame in enumerate(commits)}


def test_a_flip_of_every_bit_is_refused(sample: Sample) -> None:
    content = bytearray(sample.bytes)
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        assert sample.judged(content, sample.marks[-1])[1] == "refused", bit
        content[bit // 8] ^= 1 << bit % 8
    assert sample.judged(content, sample.marks[-1])[1] == "whole"


@pytest.mark.parametrize("behind", [1, 2, None], ids=["one append behind", "two behind", "no mark"])
def test_a_flip_of_any_bit_is_never_served_with_a_mark_that_lags(sample: Sample, behind: int | None) -> None:
    """After a power cut the mark may lag. A flip is then refused, or everything from its group on is cut and reported;
    what is followed by a later append is never cut."""
    mark = None if behind is None else sample.marks[-1 - behind]
    last_append = sample.marks[-2].length
    content = bytearray(sample.bytes)
    for bit in range(0, 8 * len(content), 5):
        content[bit // 8] ^= 1 << bit % 8
        found, verdict = sample.judged(content, mark)
        content[bit // 8] ^= 1 << bit % 8
        assert verdict == "refused" or (verdict == "cut doubtful" and found.keep <= bit // 8), bit
        assert verdict == "refused" or bit // 8 >= last_append, bit


def test_flips_through_the_front_door(sample: Sample) -> None:
    for bit in range(0, 8 * len(sample.bytes), 97):
        content = bytearray(sample.bytes)
        content[bit // 8] ^= 1 << bit % 8
        sample.reset(bytes(content), sample.marks[-1])
        with pytest.raises(CorruptLog):
            Partition.open(sample.folder)
        report = verify(sample.folder)
        assert not report.ok
        assert any(finding.begin <= bit // 8 < finding.end for finding in report.findings)


def test_a_flip_under_an_open_partition_is_never_served(sample: Sample) -> None:
    sample.reset(sample.bytes, sample.marks[-1])
    partition = Partition.open(sample.folder)
    good = describe(partition)
    with open(sample.path, "r+b", buffering=0) as file:
        for bit in range(0, 8 * len(sample.bytes), 23):
            byte = sample.bytes[bit // 8]
            file.seek(bit // 8)
            file.write(bytes([byte ^ (1 << bit % 8)]))
            try:
                assert describe(partition) == good
            except CorruptLog as error:
                assert "offsets" in error.message
            file.seek(bit // 8)
            file.write(bytes([byte]))
    partition.close()


def test_a_flip_of_every_bit_of_a_closed_segment_is_found_by_opening_or_reading(tmp_path: Path) -> None:
    groups = [group(1, order_rows=1, click_rows=1), group(2), group(3, order_rows=1)]
    write(tmp_path, [groups[:2], groups[2:]], segment_bytes=500)
    path = tmp_path / FIRST
    content = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            file.seek(bit // 8)
            file.write(bytes([content[bit // 8] ^ (1 << bit % 8)]))
            with pytest.raises(CorruptLog, match=FIRST):
                _read_all(tmp_path)
            file.seek(bit // 8)
            file.write(content[bit // 8 : bit // 8 + 1])
            if bit % 101 == 0:
                path.write_bytes(content[: bit // 8])
                with pytest.raises(CorruptLog, match=FIRST):
                    _read_all(tmp_path)
                path.write_bytes(content)
    assert _read_all(tmp_path) == expected(groups)


def _read_all(folder: Path) -> list[tuple[int, str, str, int]]:
    view = open_for_reading(folder)
    for info in view.segments():
        assert info.last is not None
    for segment in view._chain.segments:
        _boundaries(segment)
    return flat(list(view.read(view.base, view.head)))


def _boundaries(segment: Segment) -> None:
    for position in segment.index.commit_positions:
        segment.commit_at(position)


def test_damage_in_the_middle_is_refused_and_its_range_named(sample: Sample) -> None:
    frames = scan(memoryview(sample.bytes), sample.header).frames
    batch = next(frame for frame in frames if frame.kind.name == "BATCH" and frame.offset == 2)
    content = bytearray(sample.bytes)
    content[batch.begin + 300] ^= 16
    for mark in (sample.marks[-1], sample.marks[1], sample.marks[0], None):
        sample.reset(bytes(content), mark)
        with pytest.raises(CorruptLog) as caught:
            Partition.open(sample.folder)
        assert f"{FIRST}: bytes {batch.position} to {batch.end - 1} (offsets 2 to 2): " in caught.value.message
        assert caught.value.hint == f"see all the damage with: headwater log verify {sample.folder.name}"
        finding = verify(sample.folder).findings[0]
        assert (finding.begin, finding.end, finding.first_offset, finding.next_offset) == (
            batch.position,
            batch.end,
            2,
            3,
        )
        assert sample.path.read_bytes() == bytes(content)


def test_every_damaged_range_is_named(sample: Sample) -> None:
    frames = scan(memoryview(sample.bytes), sample.header).frames
    content = bytearray(sample.bytes)
    for frame in (frames[1], frames[4]):
        content[frame.position + 20] ^= 1
    sample.reset(bytes(content), sample.marks[-1])
    report = verify(sample.folder)
    assert [(each.begin, each.end) for each in report.findings] == [
        (each.position, each.end) for each in (frames[1], frames[4])
    ]


def test_a_garbage_length_is_no_allocation(sample: Sample) -> None:
    content = bytearray(sample.bytes)
    last = scan(memoryview(sample.bytes), sample.header).frames[-1]
    content[last.position + 32 : last.position + 40] = b"\xff" * 8
    assert sample.judged(content, sample.marks[-2])[1] == "cut doubtful"
    assert sample.judged(content, sample.marks[-1])[1] == "refused"


@pytest.mark.parametrize("zeros", [1, 63, 64, 4096, 1 << 20])
def test_a_tail_of_zeros_is_cut(sample: Sample, zeros: int) -> None:
    sample.reset(sample.bytes + bytes(zeros), sample.marks[-1])
    partition = Partition.open(sample.folder)
    assert (partition.recovered.cut_bytes, partition.recovered.doubtful) == (zeros, False)
    assert partition.head == sample.heads[-1]
    partition.close()


def test_frames_of_an_older_life_of_the_file_are_no_evidence(sample: Sample, tmp_path: Path) -> None:
    """Bytes of another segment at the right place, as misdirected or stale sectors are, do not count as frames."""
    other = Sample(tmp_path / "other")
    torn = sample.marks[-2].length
    content = sample.bytes[: torn + 100] + bytes(28) + other.bytes[torn + 128 :]
    found, verdict = sample.judged(content, sample.marks[-2])
    assert verdict == "cut doubtful" and [frame.position for frame in found.later] == [torn]
    assert sample.judged(other.bytes, sample.marks[-1])[1] == "refused"


def test_a_stale_sector_of_the_same_file_is_found(sample: Sample, tmp_path: Path) -> None:
    """An append that was cut and another of the same size in its place: a frame of the first that comes back has the
    right place and a right checksum, and only the chain tells."""
    mark = sample.marks[-2]
    sample.reset(sample.bytes[: mark.length], mark)
    partition = Partition.open(sample.folder)
    partition.append([group(6, reject_rows=1), group(7, order_rows=1)])
    partition.close()
    content, last = bytearray(sample.path.read_bytes()), read_mark(sample.folder)[0]
    assert len(content) == len(sample.bytes)
    old = scan(memoryview(sample.bytes), sample.header).frames[-1]
    content[old.position :] = sample.bytes[old.position :]
    found, verdict = sample.judged(content, last)
    assert verdict == "refused"
    assert found.damages[0].reason == "the frame does not follow the one before it"


@pytest.mark.parametrize("shift", range(0, 64, 8))
def test_frames_inside_of_rows_are_rows(tmp_path: Path, shift: int) -> None:
    """A source may hold copies of our own frames; in the search for what follows a damage they do not count."""
    write(tmp_path, [[group(1, order_rows=1)]])
    path = tmp_path / FIRST
    whole = _scan_file(path)
    copy = path.read_bytes()[whole.frames[-1].position : whole.size]
    values = pa.array([bytes(shift), *[copy] * 7], pa.binary())
    rows = clicks(2, 8).rows.set_column(5, CHANGE_COLUMNS[5], values)
    partition = Partition.open(tmp_path)
    partition.append([Group(boundary(2), (ChangeBatch(CLICKS, rows),))])
    partition.close()
    schema, batch, commit = _scan_file(path).frames[-3:]
    content = bytearray(path.read_bytes())
    content[schema.position + 20] ^= 1
    content[batch.position + 20] ^= 1
    path.write_bytes(content)
    assert _scan_file(path).later == [commit]


def _scan_file(path: Path) -> Scan:
    content = memoryview(path.read_bytes())
    header = decode_header(content)
    assert header is not None
    return scan(content, header)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), appended=st.integers(1, 4), lag=st.integers(0, 1))
def test_a_power_cut_in_an_append_never_refuses_and_never_loses(
    sample: Sample, seed: int, appended: int, lag: int
) -> None:
    """The sectors of the last append reach the disk in any order or not at all; the mark is exact or one behind."""
    rng = random.Random(seed)
    durable, written = sample.marks[appended - 1], sample.marks[appended]
    mark = sample.marks[max(appended - 1 - lag, 0)]
    content = bytearray(sample.bytes[: rng.randint(durable.length, written.length)])
    for sector in range(durable.length // 512, len(content) // 512 + 1):
        if rng.random() < 0.5:
            begin, end = max(sector * 512, durable.length), min(sector * 512 + 512, len(content))
            content[begin:end] = bytes(max(end - begin, 0))
    found, verdict = sample.judged(content, mark)
    assert verdict != "refused"
    assert found.keep >= durable.length
    assert bytes(content[: found.keep]) == sample.bytes[: found.keep]


def test_the_mark_itself_is_checked(sample: Sample) -> None:
    write_of = sample.marks[-1].encode()
    sample.reset(sample.bytes, sample.marks[-1])
    older = sample.marks[-2].encode().ljust(512, b"\0")
    for bit in range(8 * 512):
        raw = bytearray(write_of.ljust(512, b"\0"))
        raw[bit // 8] ^= 1 << bit % 8
        (sample.folder / NAME).write_bytes(bytes(raw) + older)
        mark, damaged = read_mark(sample.folder)
        assert damaged and mark in (sample.marks[-1], sample.marks[-2])
    partition = Partition.open(sample.folder)
    assert partition.recovered.doubtful and "mark was damaged" in partition.recovered.reason
    assert partition.head == sample.heads[-1]
    partition.close()
    assert Partition.open(sample.folder).recovered.reason == ""


def test_a_log_without_its_mark_opens_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, APPENDS)
    put_mark(tmp_path, None)
    assert open_for_reading(tmp_path).head == 5
    assert verify(tmp_path).notes == ["the durable mark is missing"]
    partition = Partition.open(tmp_path)
    assert partition.recovered.doubtful and "mark was missing" in partition.recovered.reason
    assert partition.head == 5


def test_a_mark_of_other_bytes_is_refused(sample: Sample) -> None:
    for mark in (replace(sample.marks[-1], crc=1), replace(sample.marks[-1], length=sample.marks[-1].length - 64)):
        sample.reset(sample.bytes, mark)
        with pytest.raises(CorruptLog, match="not the bytes that were made durable"):
            Partition.open(sample.folder)


@pytest.fixture
def rolled(tmp_path: Path) -> tuple[Path, list[Path]]:
    """A log of several segments."""
    folder = tmp_path / "rolled"
    write(folder, [[group(commit, order_rows=2)] for commit in range(1, 6)], segment_bytes=1)
    paths = sorted(folder.glob("*.segment"))
    assert len(paths) == 5
    return folder, paths


@pytest.mark.parametrize("number", range(1, 5))
def test_a_missing_segment_is_refused(rolled: tuple[Path, list[Path]], number: int) -> None:
    folder, paths = rolled
    paths[number].unlink()
    with pytest.raises(CorruptLog, match=rf"{paths[number].name}.*is missing"):
        Partition.open(folder)
    with pytest.raises(CorruptLog, match="is missing"):
        open_for_reading(folder)
    assert [finding.segment for finding in verify(folder).findings] == [paths[number].name]


def test_all_segments_missing_is_refused(rolled: tuple[Path, list[Path]]) -> None:
    folder, paths = rolled
    for path in paths:
        path.unlink()
    with pytest.raises(CorruptLog, match="is missing"):
        Partition.open(folder)
    assert not verify(folder).ok


def test_another_segment_in_its_place_is_found(rolled: tuple[Path, list[Path]]) -> None:
    folder, paths = rolled
    shutil.copy(paths[1], paths[2])
    with pytest.raises(CorruptLog, match="header"):
        Partition.open(folder)
    assert not verify(folder).ok


def test_a_replaced_segment_of_equal_length_is_found_by_verify(rolled: tuple[Path, list[Path]], tmp_path: Path) -> None:
    folder, paths = rolled
    write(tmp_path / "twin", [[group(commit, order_rows=2)] for commit in range(1, 6)], segment_bytes=1)
    shutil.copy(tmp_path / "twin" / paths[1].name, paths[1])
    assert "not the one" in verify(folder).findings[0].reason


def test_a_roll_torn_at_any_byte_is_undone(rolled: tuple[Path, list[Path]]) -> None:
    folder, paths = rolled
    content = paths[-1].read_bytes()
    header = decode_header(memoryview(content))
    assert header is not None
    last, mark = len(paths[-2].read_bytes()), read_mark(folder)[0]
    before = Mark(mark.sequence, int(paths[-2].stem), last, header.base, header.previous_crc)
    for length in range(header.length + 1):
        paths[-1].write_bytes(content[:length])
        put_mark(folder, before)
        assert verify(folder).ok
        partition = Partition.open(folder)
        assert (partition.head, partition.boundary) == (8, group(4).boundary)
        assert partition.recovered.segment == ("" if length == header.length else paths[-1].name)
        partition.close()


def test_a_header_damaged_after_the_roll_is_refused(rolled: tuple[Path, list[Path]]) -> None:
    folder, paths = rolled
    for length in (0, 10, 200):
        paths[-1].write_bytes(paths[-1].read_bytes()[:length])
        with pytest.raises(CorruptLog, match="header"):
            Partition.open(folder)


def test_a_first_segment_torn_at_any_byte_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path, [])
    content = (tmp_path / FIRST).read_bytes()
    for length in range(len(content)):
        (tmp_path / FIRST).write_bytes(content[:length])
        put_mark(tmp_path, Mark(1))
        partition = Partition.open(tmp_path)
        assert partition.append([group(1, order_rows=1)]) == 1
        partition.close()


def test_a_later_format_version_is_the_users_to_mend(tmp_path: Path) -> None:
    import zlib

    write(tmp_path, APPENDS)
    content = bytearray((tmp_path / FIRST).read_bytes())
    header = decode_header(memoryview(content))
    assert header is not None
    content[8] = 2
    crc = zlib.crc32(content[64 : header.length], zlib.crc32(content[:60]))
    content[60:64] = crc.to_bytes(4, "little")
    (tmp_path / FIRST).write_bytes(content)
    with pytest.raises(UserError, match="format version 2"):
        Partition.open(tmp_path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_model(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any appends, reopenings, crashes that cut an unacknowledged tail anywhere, and retentions: the log is the list
    of its groups."""
    folder = tmp_path_factory.mktemp("model")
    segment_bytes = data.draw(st.sampled_from([1, 3000, 1 << 20]))
    groups, base = [], 0
    partition = Partition.open(folder, segment_bytes=segment_bytes)
    for step in data.draw(st.lists(st.sampled_from(["append", "append", "reopen", "crash", "retain"]), max_size=8)):
        if step == "append":
            new = _draw_groups(data, len(groups))
            groups += new
            partition.append(new)
        elif step == "retain":
            partition.retain(before=data.draw(st.integers(0, partition.head)))
            base = partition.base
        else:
            mark = read_mark(folder)[0]
            if step == "crash":
                kept = _crash(data, partition, folder, len(groups))
                groups += kept
            partition.close()
            if step == "crash":
                put_mark(folder, mark)
            partition = Partition.open(folder, segment_bytes=segment_bytes)
        _check(partition, groups, base)
        start = data.draw(st.integers(base, partition.head))
        end = data.draw(st.integers(start, partition.head))
        assert flat(list(partition.read(start, end))) == expected(groups)[start:end]
    partition.close()
    assert verify(folder).findings == []


def _draw_groups(data: st.DataObject, done: int) -> list:
    sizes = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=3))
    return [
        group(done + number + 1, order_rows=first, click_rows=second, reject_rows=third, filtered={"audit": first})
        for number, (first, second, third) in enumerate(sizes)
    ]


def _crash(data: st.DataObject, partition: Partition, folder: Path, done: int) -> list:
    """Appends groups that nobody acknowledges and cuts the file anywhere in them; returns those that are whole."""
    path = partition.segments()[-1].path
    before = path.stat().st_size
    new = _draw_groups(data, done)
    partition.append(new)
    if partition.segments()[-1].path != path:
        return new
    length = data.draw(st.integers(before, path.stat().st_size))
    content = path.read_bytes()[:length]
    path.write_bytes(content)
    header = decode_header(memoryview(content))
    assert header is not None
    commits = [frame for frame in scan(memoryview(content), header).frames if frame.kind.name == "COMMIT"]
    return new[: sum(frame.position >= before for frame in commits)]


def _check(partition: Partition, groups: list, base: int) -> None:
    assert (partition.base, partition.head) == (base, sum(len(each) for each in groups))
    assert partition.boundary == (groups[-1].boundary if groups else None)
    assert flat(list(partition.read(base, partition.head))) == expected(groups)[base:]
    changes = sum(len(batch) for each in groups for batch in each.batches if batch.stream.name == "orders")
    filtered = sum(each.filtered.get("audit", 0) for each in groups)
    orders, audit = partition.counts.get("orders"), partition.counts.get("audit")
    assert (orders.changes if orders else 0) == changes
    assert (audit.filtered if audit else 0) == filtered
    ends: dict[int, object] = {}
    head = 0
    for each in groups:
        head += len(each)
        ends[head] = each.boundary
    for end, there in ends.items():
        if end >= base:
            assert partition.boundary_at(end) == there


def test_any_error_of_opening_lets_the_lock_go(sample: Sample) -> None:
    sample.reset(sample.bytes[:100], sample.marks[-1])
    with pytest.raises(HeadwaterError):
        Partition.open(sample.folder)
    sample.reset(sample.bytes, sample.marks[-1])
    Partition.open(sample.folder).close()
