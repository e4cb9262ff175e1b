"""verify() says equal when it is and finds each planted difference; the lakes here are built by hand with PyIceberg."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from headwater.demo.outside import IcebergFolder, SourceDatabase
from headwater.demo.verify import Mirror, ModelClaim, Verification, accounting_mismatches, verify
from headwater.errors import UserError

DDL = """
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE TABLE things (
    id bigint, small smallint, flag boolean, price numeric(12, 2), ratio double precision, label text, padded char(4),
    mood mood, notes jsonb, tags text[], numbers integer[], raw bytea, day date, seen timestamptz, local timestamp,
    tag uuid
);
"""
ID = "0d4ec8a0-0000-4000-8000-0000000000ff"
ROWS = f"""
INSERT INTO things VALUES
 (1, 2, true, 10.50, 0.1, 'plain', 'ab', 'calm', '{{"b": 1, "a": [1.50]}}', '{{x,"y, z",NULL}}', '{{1,NULL}}',
  '\\x00ff', '2024-02-29', '2024-02-29 12:00:00.123456+00', '2024-02-29 12:00:00.5', '{ID}'),
 (2, -2, false, -0.01, 'NaN', E'two\\nlines, "quoted"', '', 'busy', 'null', '{{}}', '{{}}', '', '1969-12-31',
  '1969-12-31 23:59:59.999999+00', '0001-01-01', '{ID}'),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, 0, true, 0, '-0', '', '    ', 'calm', '""', '{{""}}', '{{7}}', '\\x5c',
  '2000-01-01', '2000-01-01+00', '2000-01-01', '{ID}'),
 (4, 0, true, 0, '-0', '', '    ', 'calm', '""', '{{""}}', '{{7}}', '\\x5c',
  '2000-01-01', '2000-01-01+00', '2000-01-01', '{ID}')
"""
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("small", pa.int32()),
        ("flag", pa.bool_()),
        ("price", pa.decimal128(12, 2)),
        ("ratio", pa.float64()),
        ("label", pa.string()),
        ("padded", pa.string()),
        ("mood", pa.string()),
        ("notes", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("numbers", pa.list_(pa.int32())),
        ("raw", pa.binary()),
        ("day", pa.date32()),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("local", pa.timestamp("us")),
        ("tag", pa.uuid()),
    ]
)
TAG = uuid.UUID(ID).bytes
LAST = (4, 0, True, Decimal("0.00"), -0.0, "", "    ", "calm", '""', [""], [7], b"\\", date(2000, 1, 1))
LAST_TIMES = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1), TAG)
VALUES: list[tuple[object, ...]] = [
    (1, 2, True, Decimal("10.50"), 0.1, "plain", "ab  ", "calm", '{"a": [1.50], "b": 1}', ["x", "y, z", None],
     [1, None], b"\x00\xff", date(2024, 2, 29), datetime(2024, 2, 29, 12, 0, 0, 123456, UTC),
     datetime(2024, 2, 29, 12, 0, 0, 500000), TAG),
    (2, -2, False, Decimal("-0.01"), float("nan"), 'two\nlines, "quoted"', "    ", "busy", "null", [], [], b"",
     date(1969, 12, 31), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(1, 1, 1), TAG),
    (3, *[None] * 15),
    (*LAST, *LAST_TIMES),
    (*LAST, *LAST_TIMES),
]  # fmt: skip


def arrow(rows: list[tuple[object, ...]], schema: pa.Schema = SCHEMA) -> pa.Table:
    return pa.table(
        [pa.array(column, f.type) for column, f in zip(zip(*rows, strict=True), schema, strict=True)], schema
    )


class HandMadeLake:
    """A lake as the runtime's should look from outside."""

    def __init__(self, warehouse: Path) -> None:
        self.warehouse = warehouse
        warehouse.mkdir()
        self.catalog = SqlCatalog("any", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=str(warehouse))
        self.catalog.create_namespace("shop")

    def write(self, name: str, rows: pa.Table) -> None:
        self.catalog.create_table(("shop", name), rows.schema).append(rows)

    def open(self) -> IcebergFolder:
        return IcebergFolder(self.warehouse, "shop")


@pytest.fixture
def lake(tmp_path: Path) -> HandMadeLake:
    return HandMadeLake(tmp_path / "lake")


@pytest.fixture
def source(database: str) -> Iterator[SourceDatabase]:
    with psycopg.connect(database) as connection:
        connection.execute(DDL)
        connection.execute(ROWS.encode())
    opened = SourceDatabase(database)
    yield opened
    opened.close()


def check(lake: HandMadeLake, source: SourceDatabase, models: list[ModelClaim] | None = None) -> Verification:
    return verify(lake.open(), source, [Mirror("things", "public.things")], models or [])


def test_all_types_compare_equal(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.write("things", arrow(VALUES))
    found = check(lake, source)
    assert found.mismatches == ()
    assert found.verified
    assert found.checked == {"things": 5}


@pytest.mark.parametrize("column", range(len(SCHEMA)))
def test_one_changed_value_is_found_in_every_column(lake: HandMadeLake, source: SourceDatabase, column: int) -> None:
    changed = list(VALUES)
    kept = changed[0][column]
    changed[0] = (*changed[0][:column], changed[1][column], *changed[0][column + 1 :])
    if kept == changed[1][column]:
        changed[0] = (*changed[0][:column], None, *changed[0][column + 1 :])
    lake.write("things", arrow(changed))
    found = check(lake, source)
    assert not found.verified
    assert len(found.mismatches) == 2
    assert (
        found.mismatches[0].startswith("things: 1 row of the source missing from the lake, such as {'id': 1,")
        or not column
    )


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (lambda rows: rows[1:], "things: 1 row of the source missing"),
        (lambda rows: rows[:-1], "things: 1 row of the source missing"),
        (lambda rows: [*rows, rows[0]], "things: 1 row in the lake and not in the source"),
        (lambda rows: [*rows, *rows], "things: 5 rows in the lake and not in the source"),
    ],
)
def test_missing_and_doubled_rows_are_found(
    lake: HandMadeLake,
    source: SourceDatabase,
    plant: Callable[[list[tuple[object, ...]]], list[tuple[object, ...]]],
    sentence: str,
) -> None:
    lake.write("things", arrow(plant(VALUES)))
    found = check(lake, source)
    assert not found.verified
    assert [m.startswith(sentence) for m in found.mismatches] == [True]


def test_null_and_empty_string_are_different(lake: HandMadeLake, source: SourceDatabase) -> None:
    label = SCHEMA.get_field_index("label")
    changed = [*VALUES[:-1], (*VALUES[-1][:label], None, *VALUES[-1][label + 1 :])]
    lake.write("things", arrow(changed))
    assert len(check(lake, source).mismatches) == 2


def test_a_missing_table_and_a_missing_column_are_found(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.catalog.create_table(("shop", "other"), SCHEMA)
    assert check(lake, source).mismatches == ("things: the lake has no such table",)
    lake.write("things", arrow(VALUES).drop_columns(["raw"]))
    (sentence,) = check(lake, source).mismatches
    assert "columns differ" in sentence


def test_an_empty_lake_is_not_verified(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.catalog.create_table(("shop", "other"), SCHEMA)
    assert not verify(lake.open(), source, []).verified


def test_no_lake_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no lake"):
        IcebergFolder(tmp_path, "shop")


COUNTS = ModelClaim("counts", "SELECT mood, count(*) AS rows -- how busy\nFROM things GROUP BY mood")
TOTAL = ModelClaim("total", "SELECT sum(rows) AS rows FROM counts")


def counts(calm: int) -> pa.Table:
    return pa.table({"mood": pa.array(["calm", "busy", None]), "rows": pa.array([calm, 1, 1], pa.int64())})


def test_a_model_over_a_model_equals_duckdbs_answer(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.write("things", arrow(VALUES))
    lake.write("counts", counts(3))
    lake.write("total", pa.table({"rows": pa.array([Decimal(5)], pa.decimal128(38, 0))}))
    found = check(lake, source, [COUNTS, TOTAL])
    assert found.mismatches == ()
    assert found.checked == {"things": 5, "counts": 3, "total": 1}


def test_a_wrong_model_is_found_and_does_not_spread(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.write("things", arrow(VALUES))
    lake.write("counts", counts(4))
    lake.write("total", pa.table({"rows": pa.array([5], pa.int64())}))
    found = check(lake, source, [COUNTS, TOTAL])
    assert [sentence.partition(":")[0] for sentence in found.mismatches] == ["counts", "counts"]
    assert "'rows': 4" in found.mismatches[1]


def test_a_final_model_holds_closed_windows_only(lake: HandMadeLake, source: SourceDatabase) -> None:
    sql = "SELECT window_end, count(*) AS rows FROM TUMBLE(things, seen, INTERVAL 1 DAY) GROUP BY window_end"
    ends = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2000, 1, 2, tzinfo=UTC)]
    lake.write("things", arrow(VALUES))
    lake.write("daily", pa.table({"window_end": pa.array(ends, pa.timestamp("us", "UTC")), "rows": [1, 2]}))
    at = datetime(2000, 1, 2, tzinfo=UTC)
    assert check(lake, source, [ModelClaim("daily", sql, final=True, watermark=at)]).mismatches == ()
    for other in (None, datetime(2000, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)):
        assert not check(lake, source, [ModelClaim("daily", sql, final=True, watermark=other)]).verified


def test_deleted_rows_are_not_read(lake: HandMadeLake, source: SourceDatabase) -> None:
    lake.write("things", arrow([*VALUES, (9, *[None] * 15)]))
    lake.catalog.load_table(("shop", "things")).delete("id = 9")
    assert check(lake, source).verified


def test_the_accounting_is_added_up() -> None:
    stream = {"name": "orders", "read": 10, "landed": 6, "rejected": 1, "filtered": 1, "late": 1, "in_flight": 1}
    model = {"name": "m", "read": 5, "landed": 5, "rejected": 0, "filtered": 0, "late": 0}
    status: dict[str, object] = {"sources": [{"name": "shop", "streams": [stream]}], "models": [model]}
    assert accounting_mismatches(status) == []
    stream["landed"] = 5
    model["late"] = 1
    assert accounting_mismatches(status) == [
        "stream orders: 10 records read, but 9 accounted for",
        "model m: 5 records read, but 6 accounted for",
    ]
