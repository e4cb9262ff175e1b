"""Every type reads the same from the snapshot and from the stream, and means what PostgreSQL says it does (T-TY-01)."""

import dataclasses
import os
import secrets
from decimal import Decimal
from random import Random

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from replay import read_changes, read_snapshot
from source_database import make_database
from type_values import KINDS, bits, prepare

from headwater.capture.postgres.types import Column, numeric_type
from headwater.digest import canonical, digests, in_buckets

RUNS = {"night": 200, "release": 1000}.get(os.environ.get("HEADWATER_SIZE", ""), 1)
ROWS = 200
SESSION = "-c timezone=UTC -c datestyle=iso -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1"


@pytest.fixture(scope="module")
def typed(each_server):
    """A database whose own settings would write everything differently, with a table of all types."""
    db = make_database(each_server)
    db.kinds = prepare(db)
    columns = ", ".join(f"c{i} {kind.sql}" for i, kind in enumerate(db.kinds))
    db.run(
        f"CREATE TABLE t (id serial PRIMARY KEY, {columns})",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        f"ALTER DATABASE {db.name} SET bytea_output = 'escape'",
        f"ALTER DATABASE {db.name} SET datestyle = 'German'",
        f"ALTER DATABASE {db.name} SET intervalstyle = 'iso_8601'",
        f"ALTER DATABASE {db.name} SET timezone = 'Europe/Lisbon'",
        f"ALTER DATABASE {db.name} SET extra_float_digits = 0",
        f"ALTER DATABASE {db.name} SET search_path = pg_temp, public",
    )
    yield db
    db.drop()


def insert(db, values):
    """Rows of the values of each type, by number; null below the shorter lists."""
    names = ", ".join(f"c{i}" for i in range(len(db.kinds)))
    marks = ", ".join(f"%s::text::{kind.sql}" for kind in db.kinds)
    depth = max(map(len, values))
    rows = [[of[at] if at < len(of) else None for of in values] for at in range(depth)]
    with db.connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO t ({names}) VALUES ({marks})", rows)
    return depth


def read_both(db, values):
    """The rows by column, from a snapshot and from the stream, old and new; and what rejects there were."""
    db.run("TRUNCATE t")
    following = db.open(db.source(identity="follow"))
    read_snapshot(following)
    count = insert(db, values)
    db.run("UPDATE t SET id = id + 1000")
    streamed = read_changes(following, 2 * count)
    db.run("UPDATE t SET id = id - 1000")
    source = db.source(identity="snap")
    snapshot = read_snapshot(db.open(source))
    for reader in db.readers:
        reader.close()
    db.readers.clear()
    old, new = (sorted_rows(streamed, weight) for weight in (-1, 1))
    return sorted_rows(snapshot, 1), old, new


def sorted_rows(groups, weight):
    assert all(group.rejects is None for group in groups), [
        g.rejects.to_pylist()[0]["message"] for g in groups if g.rejects
    ]
    table = pa.Table.from_batches(
        [b.rows for g in groups for b in g.batches if b.stream.name == "t" and b.rows[0][0].as_py() < 4]
    )
    return table.filter(pc.equal(table["_weight"], weight)).sort_by("id")


def compare(db, values):
    snapshot, old, new = read_both(db, values)
    inserted, updated = new.slice(0, len(new) // 2), new.slice(len(new) // 2)
    with psycopg.connect(db.url, options=SESSION + " -c search_path=pg_catalog") as plain:
        told = plain.execute(
            f"SELECT {', '.join(oracle(kind, i) for i, kind in enumerate(db.kinds))} FROM public.t ORDER BY id"
        ).fetchall()
    check_digests(db, snapshot)
    for at, kind in enumerate(db.kinds):
        name = f"c{at}"
        assert snapshot.schema.field(name).type == kind.arrow, kind.sql
        read = bits(snapshot[name])
        for other in (old, inserted, updated):
            assert bits(other[name]) == read, kind.sql
        check_meaning(kind, snapshot[name], read, [row[at] for row in told])


def check_digests(db, rows):
    """The server's digests are ours, and the rows of some buckets are those of ours."""
    seen = db.source(identity="seen").table_at("t")
    columns = rows.select(seen.stream.columns.names)
    ours, theirs = digests(columns, ["id"], 8), seen.digests(8)
    if ours != theirs:
        for name in columns.column_names[1:]:  # which type is it?
            one = columns.select(["id", name])
            assert digests(one, ["id"], 1) == single(db, name), db.kinds[int(name[1:])].sql
    assert ours == theirs
    chosen = [bucket for bucket in theirs if bucket % 2]
    picked = pa.concat_tables([columns.slice(0, 0), *seen.rows(8, chosen)]).sort_by("id")
    expected = in_buckets(columns, ["id"], 8, chosen).sort_by("id")
    assert canonical(picked).equals(canonical(expected))
    seen.close()


def single(db, name):
    seen = db.source(identity="seen").table_at("t")
    columns = tuple(column for column in seen._table.columns if column.name in ("id", name))
    seen._table = dataclasses.replace(seen._table, columns=columns)
    found = seen.digests(1)
    seen.close()
    return found


def oracle(kind, at):
    """SQL for what a value is: its text by its output function, or its value in another way."""
    column = f"public.t.c{at}"
    if kind.means:
        return kind.means.format(column)
    return f"CASE WHEN num_nonnulls({column}) = 1 THEN format('%s', {column}) END"


def check_meaning(kind, column, read, told):
    if kind.arrow == pa.string():
        assert read == told, kind.sql
    elif pa.types.is_floating(kind.arrow):
        assert read == [None if b is None else int.from_bytes(b, "big", signed=True) for b in told], kind.sql
    elif pa.types.is_timestamp(kind.arrow) or pa.types.is_time(kind.arrow):
        ends = {Decimal("Infinity"): 2**63 - 1, Decimal("-Infinity"): -(2**63 - 1)}
        assert read == [v if v is None else ends.get(v) or int(v) for v in told], kind.sql
    elif pa.types.is_date(kind.arrow) or pa.types.is_integer(kind.arrow) or pa.types.is_decimal(kind.arrow):
        assert [None if v is None else Decimal(v) for v in read] == [None if v is None else Decimal(v) for v in told]
    elif kind.arrow == pa.binary():
        assert [None if v is None else "\\x" + v.hex() for v in read] == told


def test_edges(typed):
    compare(typed, [kind.edges for kind in typed.kinds])


@pytest.mark.parametrize("_run", range(RUNS))
def test_drawn_values(typed, _run):
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    random = Random(seed)
    try:
        compare(typed, [[kind.drawn(random) for _ in range(ROWS)] if kind.drawn else [] for kind in typed.kinds])
    except Exception as error:
        error.add_note(f"SEED={seed} repeats it")
        raise


def test_numeric_types():
    assert numeric_type(-1) == pa.string()
    assert numeric_type(((39 << 16) | 2) + 4) == pa.string()
    assert numeric_type(((38 << 16) | 38) + 4) == pa.decimal128(38, 38)


@pytest.mark.parametrize(
    "text", ["", "2024", "2024-13-01", "2024-00-10", "2024-1-1", "24-01-01", "2024-01-01x", "x" * 8]
)
def test_what_is_no_date(text):
    column = Column("c", 1082, -1, 1082, -1, "date")
    with pytest.raises(pa.ArrowInvalid):
        column.convert(pa.array([text.encode()], pa.binary()))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01",
        "2024-01-01 24:00:00",
        "2024-01-01 00:00:00+01",
        "2024-01-01 00:00",
        "294247-01-10 04:00:54.775807",
        "294276-12-31 00:00:00",
    ],
)
def test_what_is_no_timestamp_of_ours(text):
    for oid in (1114, 1184):
        with pytest.raises(pa.ArrowInvalid):
            Column("c", oid, -1, oid, -1, "x").convert(
                pa.array([text.encode() + (b"+00" if oid == 1184 and "+" not in text else b"")])
            )


def test_all_kinds_are_named_once():
    assert len({kind.sql for kind in KINDS}) == len(KINDS)
