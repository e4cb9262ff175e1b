"""A table snapshot as a dataset: any filter over any files gives DuckDB's answer over PyIceberg's scan, from the files
that can have rows of it and no others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_model import COLUMNS, KEYED, NAMESPACE, delta, live_paths, open_lake, rows_of
from pyiceberg.expressions import GreaterThanOrEqual

from headwater.errors import FilesExpired, UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.moment import Moment
from headwater.lake.table_format import TableSpec
from headwater.schema import with_column_id

TYPES = pa.schema(
    [
        ("k", pa.int64()),
        ("s", pa.string()),
        ("d", pa.date32()),
        ("t", pa.timestamp("us", tz="UTC")),
        ("f", pa.float64()),
        ("m", pa.decimal128(12, 2)),
        ("b", pa.bool_()),
        ("i", pa.int32()),
    ]
)


def of_types(numbers: list[int]) -> pa.Table:
    """A row of every type for each number; every seventh has nulls."""
    values = {
        "k": numbers,
        "s": [None if n % 7 == 0 else f"a long name that is cut off in bounds {n:05}" for n in numbers],
        "d": pa.array([None if n % 7 == 1 else n for n in numbers], pa.int32()).cast(pa.date32()),
        "t": pa.array([None if n % 7 == 2 else n * 60_000_000 for n in numbers]).cast(pa.timestamp("us", tz="UTC")),
        "f": [None if n % 7 == 3 else float("nan") if n % 11 == 0 else n / 4 for n in numbers],
        "m": pa.array([None if n % 7 == 4 else n for n in numbers], pa.int64()).cast(pa.decimal128(38, 2)),
        "b": [None if n % 7 == 5 else n % 2 == 0 for n in numbers],
        "i": [None if n % 7 == 6 else n for n in numbers],
    }
    arrays = [
        value.cast(field.type) if isinstance(value, pa.Array) else pa.array(value, field.type)
        for value, field in zip(values.values(), TYPES, strict=True)
    ]
    return pa.table([*arrays, pa.array(np.ones(len(numbers), np.int64))], names=[*TYPES.names, "_weight"])


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> IcebergTable:
    """Eight files of a hundred rows each, a tenth of the rows deleted."""
    lake = open_lake(tmp_path_factory.mktemp("typed"))
    table = lake.table(TableSpec("typed", TYPES, ("k",)))
    for epoch in range(8):
        table.commit(epoch + 1, of_types(list(range(epoch * 100, epoch * 100 + 100))), {})
    gone = of_types(list(range(0, 800, 10)))
    table.commit(9, gone.set_column(len(TYPES), "_weight", pa.array(np.full(80, -1))), {})
    return table


TESTS = [
    "k = {n}",
    "k IN ({n}, {m}, 5)",
    "k BETWEEN {n} AND {m}",
    "k > {n} AND s IS NOT NULL",
    "s = 'a long name that is cut off in bounds {n:05}'",
    "s >= 'a long name that is cut off in bounds {n:05}'",
    "s IS NULL AND k < {n}",
    "d = DATE '1970-01-01' + {n}",
    "d < DATE '1970-01-01' + {n} OR k = {m}",
    "t >= TIMESTAMPTZ '1970-01-01 00:00:00+00' + INTERVAL {n} MINUTE",
    "f > {n} / 4.0",
    "f = {n} / 4.0",
    "isnan(f) AND k > {n}",
    "m = {n} OR m IS NULL",
    "m > 7 AND m <= {n}",
    "NOT b AND i >= {n}",
    "i <> {n} AND i < {m}",
    "s LIKE '%0{n}'",
]

SHOWN = ["*", "k", "s, f", "count(*)"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(TESTS), st.integers(0, 820), st.integers(0, 820), st.sampled_from(["*", "k", "s, f", "count(*)"])
)
def test_any_filter_gives_what_it_gives_over_all_rows(
    typed: IcebergTable, test: str, n: int, m: int, what: str
) -> None:
    query = f"SELECT {what} FROM rows WHERE {test.format(n=n, m=m)}"
    answers = []
    for rows in (typed.dataset(), typed.read()):
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("rows", rows)
            answers.append(connection.sql(query).to_arrow_table())
    pruned, whole = (sorted(map(str, answer.to_pylist())) for answer in answers)
    assert pruned == whole


@pytest.mark.parametrize(
    ("test", "files"),
    [("k = 377", 1), ("k IN (5, 799)", 2), ("k >= 650", 2), ("d = DATE '1970-01-05'", 1), ("k IS NULL", 0)],
)
def test_files_that_can_have_no_row_are_not_opened(typed: IcebergTable, test: str, files: int) -> None:
    dataset = typed.dataset()
    with duckdb.connect() as connection:
        connection.register("rows", dataset)
        connection.sql(f"SELECT s FROM rows WHERE {test}").fetchall()
    assert (dataset.counts.files, dataset.counts.files_read) == (8, files)


def test_row_groups_that_can_have_no_row_are_not_read(lake: IcebergLake, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pq.write_table
    monkeypatch.setattr(pq, "write_table", lambda *a, **k: whole(*a, **{**k, "row_group_size": 100}))
    table = lake.table(KEYED)
    table.commit(1, delta([((n, f"n{n}", 1.0), 1) for n in range(1000)]), {})
    table.commit(2, delta([((n, f"n{n}", 1.0), -1) for n in (150, 155, 510)]), {})
    dataset = table.dataset()
    found = dataset.to_table(columns=["id"], filter=(pc.field("id") >= 150) & (pc.field("id") < 160))
    assert sorted(found.column("id").to_pylist()) == [151, 152, 153, 154, 156, 157, 158, 159]
    assert dataset.counts.row_groups_read == 1
    assert rows_of(dataset.to_table()) == rows_of(table.read())


def test_columns_are_found_by_their_id_in_older_files(lake: IcebergLake) -> None:
    named = [with_column_id(field, str(number)) for number, field in enumerate(COLUMNS)]
    table = lake.table(TableSpec("orders", pa.schema(named), ("id",)))
    table.commit(1, delta([((1, "a", 1.0), 1), ((2, "b", 2.0), 1)]), {})
    later = pa.schema([named[0], named[1].with_name("title"), named[2].with_name("name"), pa.field("more", pa.int32())])
    table.evolve(later)
    table.commit(2, pa.table({"id": [3], "title": ["c"], "name": [3.0], "more": [7], "_weight": [1]}), {})
    with duckdb.connect() as connection:
        connection.register("orders", table.dataset())
        assert connection.sql("SELECT id FROM orders WHERE title = 'b' AND name = 2.0").fetchall() == [(2,)]
        assert connection.sql("SELECT * FROM orders WHERE more = 7").fetchall() == [(3, "c", 3.0, 7)]
        assert connection.sql("SELECT id FROM orders WHERE more IS NULL ORDER BY id").fetchall() == [(1,), (2,)]
    then = table.dataset(Moment(epoch=1))
    assert then.schema.names == ["id", "name", "amount"]
    assert rows_of(then.to_table()) == Counter({(1, "a", 1.0): 1, (2, "b", 2.0): 1})


def test_a_table_of_another_writer_is_read(lake: IcebergLake) -> None:
    rows = pa.table({"id": list(range(100)), "name": [f"n{n % 5}" for n in range(100)]})
    foreign = lake.catalog.create_table((NAMESPACE, "foreign"), rows.schema)
    for start in range(0, 100, 25):
        foreign.append(rows.slice(start, 25))
    foreign.delete(GreaterThanOrEqual("id", 90))
    dataset = lake.open_table("foreign").dataset()
    assert sorted(dataset.to_table().column("id").to_pylist()) == list(range(90))
    assert dataset.to_table(filter=pc.field("id") == 30).to_pylist() == [{"id": 30, "name": "n0"}]


def test_an_expired_file_is_said_and_no_half_of_an_answer_given(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    for epoch in (1, 2, 3):
        table.commit(epoch, delta([((epoch, "a", 1.0), 1)]), {})
    dataset = table.dataset()
    data, _ = live_paths(lake, "orders")
    Path(data[1]).unlink()
    with pytest.raises(FilesExpired, match="has expired"):
        dataset.to_table()
    with duckdb.connect() as connection, pytest.raises(duckdb.Error):
        connection.register("orders", dataset)
        connection.sql("SELECT sum(amount) FROM orders").fetchall()
    assert isinstance(dataset.lost, FilesExpired)


def test_a_moment_that_is_not_kept_is_refused(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    assert table.dataset(Moment(epoch=1)).count_rows() == 0
    table.commit(1, delta([((1, "a", 1.0), 1)]), {})
    assert table.dataset(Moment(time_us=0)).count_rows() == 0
    for moment in (Moment(snapshot=77), Moment(ref="before")):
        with pytest.raises(UserError):
            table.dataset(moment)
