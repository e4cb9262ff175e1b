"""T-PG-06: large values that an update does not touch, under every replica identity, type and kind of change."""

import psycopg
import pyarrow as pa
import pytest
from replay import read_snapshot, read_to_marker, rejects_of
from type_values import bits

from headwater.engine.normalise import Normaliser

LARGE = "(SELECT string_agg(md5(x::text || {0}::text), '') FROM generate_series(1, 300) x)"
TYPES = {
    "t": ("text", LARGE),
    "b": ("bytea", LARGE + "::bytea"),
    "j": ("jsonb", "jsonb_build_object('k', " + LARGE + ")"),
    "i": ("int[]", "(SELECT array_agg(x * {0}) FROM generate_series(1, 3000) x)"),
    "a": ("text[]", "ARRAY[NULL, " + LARGE + "]"),
    "h": ("hstore", "hstore('k', " + LARGE + ")"),
}
CHANGES = {
    "update other column": "UPDATE t SET n = n + 1",
    "change of key": "UPDATE t SET id = id + 100, u = u + 100",
    "change of key and other column": "UPDATE t SET id = id + 100, u = u + 100, n = 9",
    "one large value of many": f"UPDATE t SET t = {LARGE.format(77)} WHERE id % 2 = 0",
    "to null and back": f"UPDATE t SET j = NULL, n = 3; UPDATE t SET j = jsonb_build_object('n', {LARGE.format(5)})",
    "thrice in one transaction": "BEGIN; UPDATE t SET n = 5; UPDATE t SET id = id + 50, u = u + 50; "
    "UPDATE t SET n = 6; COMMIT",
    "delete": "DELETE FROM t WHERE id % 2 = 0",
    "delete and insert anew": "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t (id, u) VALUES (1, 1); COMMIT",
    "a key changed and deleted": "BEGIN; UPDATE t SET id = id + 7, u = u + 7; DELETE FROM t WHERE id = 8; COMMIT",
}


@pytest.fixture
def large(each_db, request):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in TYPES.items())
    external = ", ".join(f"ALTER {name} SET STORAGE EXTERNAL" for name in TYPES)
    each_db.run(
        "CREATE EXTENSION hstore",
        "CREATE TABLE marker (id serial PRIMARY KEY)",
        f"CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE, n int, {columns})",
        f"ALTER TABLE t {external}",
        f"ALTER TABLE t REPLICA IDENTITY {request.param}",
    )
    values = ", ".join(value.format("r.n") for _, value in TYPES.values())
    each_db.run(f"INSERT INTO t SELECT r.n, r.n, 0, {values} FROM generate_series(1, 4) r (n)")
    return each_db


def content(normaliser):
    rows = normaliser.rows().sort_by("id")
    return {name: bits(rows[name]) for name in rows.column_names if name != "_weight"}


@pytest.mark.parametrize("large", ["DEFAULT", "FULL", "USING INDEX t_u_key"], indirect=True)
def test_values_that_were_not_sent_are_those_of_the_source(large):
    reader = large.open(large.source(identity="follow"))
    (stream,) = (s for s in large.source(identity="follow").discover() if s.name == "t")
    normaliser = Normaliser(stream)

    def take(groups):
        assert rejects_of(groups) == []
        normaliser.apply([batch for group in groups for batch in group.batches if batch.stream.name == "t"])

    take(read_snapshot(reader))
    for number, (what, statements) in enumerate(CHANGES.items()):
        large.run(*statements.split("; "))
        groups = read_to_marker(reader, large.connection)
        left_out = [row for g in groups for b in g.batches for row in b.rows.column("_unchanged").to_pylist() if row]
        assert bool(left_out) == (stream.changelog == "upsert" and not what.startswith("delete")), what
        take(groups)
        fresh = Normaliser(stream)
        again = large.open(large.source(identity=f"again{number}"))
        fresh.apply([b for g in read_snapshot(again) for b in g.batches if b.stream.name == "t"])
        again.close()
        assert content(normaliser) == content(fresh), what


@pytest.mark.parametrize("large", ["NOTHING"], indirect=True)
def test_without_an_identity_the_server_lets_nothing_but_inserts_happen(large):
    reader = large.open(large.source())
    read_snapshot(reader)
    for name in ("update other column", "change of key", "delete"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            large.run(CHANGES[name])
    large.run(f"INSERT INTO t (id, u, t) VALUES (9, 9, {LARGE.format(9)})")
    (row,) = (b.rows for g in read_to_marker(reader, large.connection) for b in g.batches if b.stream.name == "t")
    assert pa.compute.binary_length(row["t"]).to_pylist() == [9600]
