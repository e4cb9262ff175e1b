"""Every type reads the same from the snapshot and from the stream, and equals what PostgreSQL says of it."""

import datetime as dt
import math
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay import read_changes, read_snapshot, rows_of
from source_database import make_database

from headwater.capture.postgres.types import Column, numeric_type

UTC = ZoneInfo("UTC")
CASES = [
    ("boolean", pa.bool_(), ["true", "false"], [True, False]),
    ("smallint", pa.int16(), ["-32768", "32767"], [-32768, 32767]),
    ("integer", pa.int32(), ["-2147483648", "0"], [-(2**31), 0]),
    ("bigint", pa.int64(), ["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
    ("oid", pa.int64(), ["4294967295"], [2**32 - 1]),
    ("real", pa.float32(), ["'-Infinity'", "1.5"], [-math.inf, 1.5]),
    ("double precision", pa.float64(), ["5e-324", "0.1", "'Infinity'", "'-0'"], [5e-324, 0.1, math.inf, -0.0]),
    ("numeric(10,2)", pa.decimal128(10, 2), ["-99999999.99", "0.005"], [Decimal("-99999999.99"), Decimal("0.01")]),
    ("numeric(38,0)", pa.decimal128(38, 0), ["9" * 38], [Decimal("9" * 38)]),
    ("numeric(3,-2)", pa.decimal128(5, 0), ["12345"], [Decimal(12300)]),
    ("numeric(2,4)", pa.decimal128(4, 4), ["0.0012"], [Decimal("0.0012")]),
    ("numeric", pa.string(), ["1e-30", "'NaN'", "123456789012345678901234567890.5"], None),
    ("text", pa.string(), ["''", "E'tab\\t nl\\n cr\\r bs\\b back\\\\ \\\\N \\v\\f é 漢'", "'NULL'", "E'\\\\N'"], None),
    ("varchar(5)", pa.string(), ["'abc'"], ["abc"]),
    ("char(5)", pa.string(), ["'ab'"], ["ab   "]),
    ("bytea", pa.binary(), ["'\\x'", "'\\x00ff0a'"], [b"", b"\x00\xff\x0a"]),
    ("date", pa.date32(), ["'0001-01-01'", "'9999-12-31'"], [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("time", pa.time64("us"), ["'23:59:59.999999'", "'00:00'"], [dt.time(23, 59, 59, 999999), dt.time(0)]),
    ("timetz", pa.string(), ["'10:00+02'"], ["10:00:00+02"]),
    ("timestamp", pa.timestamp("us"), ["'2024-02-29 01:02:03.000004'"], [dt.datetime(2024, 2, 29, 1, 2, 3, 4)]),
    (
        "timestamptz",
        pa.timestamp("us", tz="UTC"),
        ["'2024-03-31 02:30:00.5+05:30'", "'0001-01-01 00:00+00'"],
        [dt.datetime(2024, 3, 30, 21, 0, 0, 500000, UTC), dt.datetime(1, 1, 1, tzinfo=UTC)],
    ),
    ("interval", pa.string(), ["'1 year 2 days 03:04:05.6'"], ["1 year 2 days 03:04:05.6"]),
    ("uuid", pa.string(), ["'00000000-0000-0000-0000-00000000000a'"], ["00000000-0000-0000-0000-00000000000a"]),
    ("json", pa.string(), ["""'{"a":  "x\\ny"}'"""], None),
    ("jsonb", pa.string(), ["""'{"b": [1, null], "a": "\\u00e9"}'"""], None),
    ("inet", pa.string(), ["'10.0.0.1'"], ["10.0.0.1"]),
    ("money", pa.string(), ["12.5"], None),
    ("int4range", pa.string(), ["'[1,5)'"], ["[1,5)"]),
    ("mood", pa.string(), ["'so so'"], ["so so"]),
    ("pair", pa.string(), ["ROW(1, 'a b')"], ['(1,"a b")']),
    ("price", pa.decimal128(8, 3), ["1.5"], [Decimal("1.500")]),
    ("integer[]", pa.list_(pa.int32()), ["'{}'", "'{1,NULL,-3}'"], [[], [1, None, -3]]),
    ("text[]", pa.list_(pa.string()), ["ARRAY['a,b', '\"q\"', 'NULL', NULL, '', '{}', E'\\\\', ' ']"], None),
    ("numeric(6,2)[]", pa.list_(pa.decimal128(6, 2)), ["'{1.5}'"], [[Decimal("1.50")]]),
    ("bytea[]", pa.list_(pa.binary()), ["ARRAY['\\x00ff'::bytea]"], [[b"\x00\xff"]]),
    ("boolean[]", pa.list_(pa.bool_()), ["'{t,f}'"], [[True, False]]),
    ("integer[][]", pa.string(), ["'{{1,2},{3,4}}'"], ["{{1,2},{3,4}}"]),
]


@pytest.fixture(scope="module")
def captured(server):
    """Every case as a column, the rows once from the snapshot and once from the stream."""
    db = make_database(server)
    db.run(
        "CREATE TYPE mood AS ENUM ('so so')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN amount AS numeric(8,3)",
        "CREATE DOMAIN price AS amount",
        f"CREATE TABLE t (id serial PRIMARY KEY, {', '.join(f'c{i} {case[0]}' for i, case in enumerate(CASES))})",
        f"ALTER DATABASE {db.name} SET bytea_output = 'escape'",
        f"ALTER DATABASE {db.name} SET datestyle = 'German'",
        f"ALTER DATABASE {db.name} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {db.name} SET extra_float_digits = 0",
    )
    depth = max(len(case[2]) for case in CASES)
    for at in range(depth + 1):
        values = [case[2][at] if at < len(case[2]) else "NULL" for case in CASES]
        db.run(f"INSERT INTO t ({', '.join(f'c{i}' for i in range(len(CASES)))}) VALUES ({', '.join(values)})")
    reader = db.open(db.source())
    snapshot = rows_of(read_snapshot(reader), "t")
    db.run("CREATE TEMP TABLE copy AS SELECT * FROM t", "DELETE FROM t", "INSERT INTO t SELECT * FROM copy")
    changes = read_changes(reader, 2 * len(snapshot))
    stream = [row for row in rows_of(changes, "t") if row["_weight"] > 0]
    schema = next(b.stream.columns for g in changes for b in g.batches)
    texts = db.connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    yield schema, snapshot, stream, texts
    db.drop()


@pytest.mark.parametrize("at", range(len(CASES)), ids=[case[0] for case in CASES])
def test_snapshot_and_stream_agree(captured, at):
    schema, snapshot, stream, _ = captured
    _kind, arrow, literals, expected = CASES[at]
    read = [repr(row[f"c{at}"]) for row in snapshot]
    assert [repr(row[f"c{at}"]) for row in stream] == read
    assert schema.field(f"c{at}").type == arrow
    assert read[len(literals) :] == ["None"] * (len(read) - len(literals))
    if expected is not None:
        assert read[: len(literals)] == [repr(value) for value in expected]


def test_text_is_what_the_server_holds(captured):
    _, snapshot, _, rows = captured
    for at, case in enumerate(CASES):
        if case[0] in ("text", "text[]"):
            assert [row[f"c{at}"] for row in snapshot] == [row[at + 1] for row in rows]


def test_nan_is_nan(db):
    db.run("CREATE TABLE f (id int PRIMARY KEY, v double precision)", "INSERT INTO f VALUES (1, 'NaN')")
    rows = rows_of(read_snapshot(db.open(db.source())), "f")
    assert math.isnan(rows[0]["v"])


def test_numeric_types():
    assert numeric_type(-1) == pa.string()
    assert numeric_type(((39 << 16) | 2) + 4) == pa.string()
    assert numeric_type(((38 << 16) | 38) + 4) == pa.decimal128(38, 38)


@pytest.fixture(scope="module")
def plain(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        yield connection


elements = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(elements, max_size=4))
def test_array_literals(plain, lists):
    literals = [plain.execute("SELECT %s::text[]::text", (items,)).fetchone()[0].encode() for items in lists]
    column = Column("c", 1009, -1, 1009, -1, "text[]", element=25)
    assert column.convert(pa.array(literals, pa.binary())).to_pylist() == lists


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.datetimes(), st.decimals(allow_nan=False, allow_infinity=False, places=3, max_value=10**9, min_value=-(10**9))
)
def test_timestamps_and_numerics(plain, moment, number):
    texts = plain.execute("SELECT %s::timestamp::text, %s::numeric(15,3)::text", (moment, number)).fetchone()
    timestamp = Column("c", 1114, -1, 1114, -1, "timestamp")
    assert timestamp.convert(pa.array([texts[0].encode()])).to_pylist() == [moment]
    numeric = Column("c", 1700, 0, 1700, ((15 << 16) | 3) + 4, "numeric(15,3)")
    assert numeric.convert(pa.array([texts[1].encode()])).to_pylist() == [number]
