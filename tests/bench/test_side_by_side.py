"""What puts Headwater beside other engines: the rows they read, the queries they run, and the sums that are told."""

from __future__ import annotations

import csv
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.bench.nexmark import queries
from headwater.bench.nexmark.generator import SCHEMAS, Generator

BENCH = Path(__file__).parents[2] / "bench"
sys.path.append(str(BENCH))

from side_by_side import events as rows_on_disk  # noqa: E402
from side_by_side import report  # noqa: E402
from side_by_side.events import Events  # noqa: E402

COUNT = 25_000


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Events:
    """Rows whose files are written in several batches."""
    monkeypatch.setattr(rows_on_disk, "BATCH_EVENTS", 10_000)
    return Events(tmp_path, COUNT, seed=3)


def generated(table: str) -> pa.Table:
    return pa.concat_tables([batch[table] for batch in Generator(3).batches(COUNT, COUNT)]).combine_chunks()


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_column_files_hold_what_was_generated(events: Events, table: str) -> None:
    folder, expected = events.columns() / table, generated(table)
    assert int((folder / "rows").read_text()) == expected.num_rows
    for field in expected.schema:
        if pa.types.is_string(field.type):
            content = (folder / f"{field.name}.bytes").read_bytes()
            offsets = np.fromfile(folder / f"{field.name}.offsets", np.int32).tolist()
            found = [content[a:b].decode() for a, b in pairwise(offsets)]
            assert found == expected.column(field.name).to_pylist()
        else:
            numbers = expected.column(field.name)
            numbers = numbers.cast(pa.timestamp("ms")) if pa.types.is_timestamp(field.type) else numbers
            assert np.fromfile(folder / f"{field.name}.i64", np.int64).tolist() == numbers.cast(pa.int64()).to_pylist()


def test_parquet_files_hold_what_was_generated(events: Events) -> None:
    files = sorted((events.parquet(10_000) / "bid").glob("*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in files] == [9_200, 9_200, 4_600]
    found = pa.concat_tables([pq.read_table(path) for path in files])
    assert found.cast(SCHEMAS["bid"]).equals(generated("bid"))


def test_a_changed_generator_makes_new_files(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    before = events.columns()
    assert events.columns() == before
    monkeypatch.setattr(rows_on_disk, "text", report)
    assert events.columns() != before


def test_each_engine_has_every_query_or_says_why_not() -> None:
    from flink.engine import CANNOT

    texts = {name: {path.stem for path in (BENCH / name / "queries").glob("*.sql")} for name in ("flink", "spark")}
    assert texts["flink"] | set(CANNOT) == set(queries.NAMES)
    assert texts["flink"] & set(CANNOT) == set()
    assert texts["spark"] == set(queries.NAMES)


def test_no_package_is_installed_without_its_hash() -> None:
    for name in ("flink", "spark"):
        lines = (BENCH / name / "requirements.lock").read_text(encoding="utf-8").splitlines()
        assert lines
        for at, line in enumerate(lines):
            assert line.lstrip().startswith("--hash=sha256:") or lines[at + 1].lstrip().startswith("--hash=sha256:")


def figures(query: str, ours_s: float, theirs_s: float | None, rows: int = 5) -> dict[str, Any]:
    mine = {"seconds": ours_s, "cpu_s": 2 * ours_s, "rows": 5, "mode": "streaming", "duckdb_s": ours_s / 2}
    if theirs_s is None:
        return {"query": query, "headwater": mine, "flink": {"why_not": "it cannot"}}
    theirs = {"seconds": theirs_s, "cpu_s": theirs_s, "rows": rows, "mode": "streaming", "duckdb_s": None}
    return {"query": query, "headwater": mine, "flink": theirs}


def test_ratios_and_their_geometric_mean() -> None:
    found = [figures("q0", 1.0, 4.0), figures("q1", 2.0, 32.0, rows=6), figures("q6", 1.0, None)]
    told = report.summary(found, "flink")
    assert told == {"queries": 2, "ratio_mean": pytest.approx(8.0), "ratio_least": 4.0,
                    "cpu_ratio_mean": pytest.approx(4.0)}  # fmt: skip
    assert report.line(found[0], "flink", 1000) == ["q0", "1,000", "-", "250", "4.0x", "2.0x", "2.00", "5", "yes"]
    assert report.line(found[1], "flink", 1000)[-1] == "no: 6"
    assert report.line(found[2], "flink", 1000) == ["q6", "1,000", "-", "-", "-", "-", "2.00", "5", "-"]


def test_the_page_says_what_has_no_figure_and_what_others_published() -> None:
    result = {
        "events": 1000, "seed": 1, "rate": 1e4, "pinned": [2, 3], "date": "2026-01-01", "machine": {"cores": 4},
        "engines": {"headwater": {"batch": "10"}, "flink": {"flink": "2.3.0"}},
        "queries": [figures("q4", 1.0, 4.0), figures("q6", 1.0, None)],
    }  # fmt: skip
    page = report.markdown(result, "flink")
    assert "- q6, flink: it cannot" in page
    assert "| q4 | 0 | 0 | 34 | 28 | 265 | 14 |" in page
    with (BENCH / "published.csv").open(encoding="utf-8") as file:
        assert set(report.PUBLISHED) <= set(csv.DictReader(file).fieldnames or ())
