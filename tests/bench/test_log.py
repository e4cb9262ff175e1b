"""`headwater bench log` has something to show."""

from __future__ import annotations

from pathlib import Path

from headwater.bench.log import ROW_BYTES, benchmark
from headwater.log.partition import open_for_reading, verify


def test_the_benchmark_runs_and_leaves_a_sound_log(tmp_path: Path) -> None:
    result = benchmark(tmp_path, rows=20_000, batch_rows=10_000, commits=3)
    assert set(result) == {"append_rows_per_s", "append_mb_per_s", "read_rows_per_s", "read_mb_per_s", "commits_per_s"}
    assert all(value > 0 for value in result.values())
    view = open_for_reading(tmp_path)
    assert view.head == 20_030 and verify(tmp_path).findings == []
    size = sum(column.nbytes for record in view.read(0, 10_000) for column in record.rows.columns)
    assert 0.9 * ROW_BYTES < size / 10_000 < 1.2 * ROW_BYTES
