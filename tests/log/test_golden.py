"""Format version 1, as it was first written, stays readable.

The files in `golden/format-1` hold GROUPS, one append each, in segments of 2,000 bytes. They are never written again:
a change that cannot read them needs a new format version that still can.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from log_samples import CLICKS, ORDERS, expected, flat, group

from headwater.log.partition import Partition, StreamCounts, open_for_reading, verify

GOLDEN = Path(__file__).parent / "golden" / "format-1"
GROUPS = [
    group(1, order_rows=2),
    group(2, click_rows=2, filtered={"audit": 3}),
    group(3, order_rows=1, click_rows=1, reject_rows=1),
    group(4),
    group(5, order_rows=3),
]
COUNTS = {"orders": StreamCounts(6, 1), "clicks": StreamCounts(3), "audit": StreamCounts(filtered=3)}


def test_the_golden_log_reads_as_it_was_written() -> None:
    view = open_for_reading(GOLDEN)
    assert (view.base, view.head, view.counts) == (0, 10, COUNTS)
    assert flat(list(view.read(0, 10))) == expected(GROUPS)
    assert [view.boundary_at(offset) for offset in (2, 4, 7, 10)] == [GROUPS[n].boundary for n in (0, 1, 3, 4)]
    assert {record.stream for record in view.read(0, 10) if record.stream} == {ORDERS, CLICKS}
    assert [info.created_us for info in view.segments()] == [1_000_000_000] * 3
    report = verify(GOLDEN)
    assert report.findings == [] and report.notes == [] and (report.records, report.segments) == (10, 3)


def test_the_golden_log_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(GOLDEN, folder)
    partition = Partition.open(folder)
    assert partition.recovered.reason == "" and partition.boundary == GROUPS[-1].boundary
    assert partition.append([group(6, order_rows=1)]) == 11
    assert flat(list(partition.read(0, 11))) == expected([*GROUPS, group(6, order_rows=1)])
