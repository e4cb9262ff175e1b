"""Values that a type cannot hold: their records go whole to the rejects, their neighbours go on."""

import json

import pytest
from replay import brief, read_changes, read_snapshot, rejects_of, rows_of

from headwater.capture.postgres.source import PostgresSource
from headwater.change import key_text
from headwater.errors import UserError
from headwater.project.connectors import rows_of_record

TABLE = "CREATE TABLE t (id int PRIMARY KEY, d time, n numeric(8,2), s timestamptz, a int[])"
BAD = {
    2: ("'24:00:00'", "1", "now()", "NULL"),
    4: ("'24:00:00'", "'NaN'", "now()", "NULL"),
    5: ("'10:00:00'", "'NaN'", "now()", "NULL"),
    7: ("'10:00:00'", "1", "'294276-12-31'", "NULL"),
    8: ("'10:00:00'", "1", "now()", "'{{1,2},{3,4}}'"),
    9: ("'24:00:00'", "1", "now()", "'[0:1]={1,2}'"),
}


def fill(db):
    for number in range(1, 11):
        values = ", ".join(BAD.get(number, ("'10:00:00'", "1.5", "now()", "'{1}'")))
        db.run(f"INSERT INTO t VALUES ({number}, {values})")


def check_rejects(rejects, rows):
    assert [row["id"] for row in rows if row["_unchanged"] is None] == [n for n in range(1, 11) if n not in BAD]
    hidden = {row["id"]: row for row in rows if row["_unchanged"] is not None}
    assert list(hidden) == list(BAD)
    assert (hidden[4]["d"], hidden[4]["n"], hidden[5]["n"]) == (None, None, None)
    assert [hidden[number]["_unchanged"] for number in (2, 4)] == [bytes([0b01000000, 0]), bytes([0b11000000, 0])]
    assert [json.loads(reject["key"]) for reject in rejects] == [[str(number)] for number in BAD]
    assert {(reject["stream"], reject["stage"], reject["weight"]) for reject in rejects} == {("t", "decode", 1)}
    codes = [reject["reason"] for reject in rejects]
    assert codes == ["value_out_of_range"] * 4 + ["array_shape_or_range", "value_out_of_range"]
    assert (
        "table public.t, column d (time without time zone)" in rejects[0]["message"]
        and "24:00" not in rejects[0]["message"]
    )


def test_in_snapshot_and_stream(db):
    db.run(TABLE)
    fill(db)
    source = db.source()
    reader = db.open(source)
    snapshot = read_snapshot(reader)
    check_rejects(rejects_of(snapshot), rows_of(snapshot, "t"))
    db.run("DELETE FROM t")
    deleted = read_changes(reader, 10)
    assert len(rows_of(deleted, "t")) == 10
    fill(db)
    stream = read_changes(reader, 10 + len(BAD))
    check_rejects(rejects_of(stream), rows_of(stream, "t"))
    mended = db.source(text_columns=("t.d", "public.t.n", "t.s", "t.a"))
    assert isinstance(mended, PostgresSource)
    for reject in rejects_of(snapshot) + rejects_of(stream):
        with pytest.raises(UserError) as still:
            source.decode(reject["record"])
        assert "text_columns" in still.value.hint
        batch = mended.decode(reject["record"])
        (row,) = batch.rows.to_pylist()
        commit, ordinal = reject["position"].split(":")
        assert (row["_commit"], row["_ordinal"], str(row["id"])) == (
            int(commit),
            int(ordinal),
            json.loads(reject["key"])[0],
        )
        assert row["d"] == BAD[row["id"]][0].strip("'")


def test_text_columns_capture_such_values(db):
    db.run(TABLE)
    fill(db)
    reader = db.open(db.source(text_columns=("t.*",)))
    groups = read_snapshot(reader)
    assert rejects_of(groups) == [] and len(rows_of(groups, "t")) == 10
    assert rows_of(groups, "t")[0]["id"] == "1"


def test_of_an_update_each_half_is_rejected_or_not_by_itself(db):
    db.run(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1, '10:00:00'), (2, '10:00:00')")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run(
        "UPDATE t SET d = '24:00:00' WHERE id = 1",
        "UPDATE t SET n = 1 WHERE id = 2",
        "UPDATE t SET n = 2 WHERE id = 1",
        "UPDATE t SET d = '11:00:00' WHERE id = 1",
        "UPDATE t SET d = '24:00:00' WHERE id = 2",
        "DELETE FROM t WHERE id = 2",
    )
    groups = read_changes(reader, 11)
    goes_and_comes = [("UPDATE", -1, 1), ("UPDATE", -1, 2), ("UPDATE", 1, 2), ("UPDATE", 1, 1), ("UPDATE", -1, 2)]
    assert brief(rows_of(groups, "t"), "id") == goes_and_comes
    one, two = '["1"]', '["2"]'
    told = [(reject["weight"], reject["key"]) for reject in rejects_of(groups)]
    assert told == [(1, one), (-1, one), (1, one), (-1, one), (1, two), (-1, two)]
    mended = db.source(text_columns=("t.d",))
    rows = [mended.decode(reject["record"]).rows.to_pylist() for reject in rejects_of(groups)]
    assert [[(row["_weight"], row["d"], row["n"]) for row in of] for of in rows] == [
        [(1, "24:00:00", None)],
        [(-1, "24:00:00", None)],
        [(1, "24:00:00", 2)],
        [(-1, "24:00:00", 2)],
        [(1, "24:00:00", 1)],
        [(-1, "24:00:00", 1)],
    ]


def test_a_record_is_shown_as_the_source_wrote_it(db):
    db.run(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1, '24:00:00', 2, NULL, NULL)")
    reader = db.open(db.source())
    (snapshot,) = rejects_of(read_snapshot(reader))
    row = {"id": "1", "d": "24:00:00", "n": "2.00", "s": None, "a": None}
    assert rows_of_record(snapshot["record"]) == [{**row, "_weight": 1}]
    db.run("UPDATE t SET n = 3, a = '{4}'")
    update, again = rejects_of(read_changes(reader, 2))
    assert (update["weight"], again["weight"]) == (-1, 1)
    new = {**row, "n": "3.00", "a": "{4}"}
    assert rows_of_record(update["record"]) == [{**row, "_weight": -1}, {**new, "_weight": 1}]
    with pytest.raises(UserError, match="no connector"):
        rows_of_record(b"something else")


def test_a_record_that_is_none():
    source = PostgresSource.__new__(PostgresSource)
    for record in (b"", b"HWPG1", b"HWPG1\x00\x00\x00\x02{}", b"HWPG1\x00\x00\x00\x05null!"):
        with pytest.raises(UserError, match="not a record"):
            source.decode(record)


def test_many_bad_values_among_good(db):
    db.run("CREATE TABLE m (id int PRIMARY KEY, d time)")
    db.run(
        "INSERT INTO m SELECT g, CASE WHEN g % 3 = 0 THEN '24:00:00'::time ELSE '10:00:00' END "
        "FROM generate_series(1, 3000) g"
    )
    groups = read_snapshot(db.open(db.source()))
    assert len(rejects_of(groups)) == 1000
    rows = rows_of(groups, "m")
    assert [row["id"] for row in rows if row["_unchanged"] is None] == [n for n in range(1, 3001) if n % 3]
    assert [row["id"] for row in rows if row["_unchanged"] == bytes([0b1000])] == list(range(3, 3001, 3))


def test_a_rejects_key_is_written_as_later_changes_of_the_row_show_it(db):
    key = "at timestamptz, part bytea, yes boolean"
    db.run(f"CREATE TABLE t ({key}, due time, PRIMARY KEY (at, part, yes))")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run("INSERT INTO t VALUES ('2026-01-01 10:00+02', '\\xff00', true, '24:00:00')", "UPDATE t SET due = '10:00'")
    groups = read_changes(reader, 3)
    (reject,) = rejects_of(groups)
    for batch in (batch for group in groups for batch in group.batches):
        shown = [key_text(batch.rows.column(name)) for name in batch.stream.key]
        assert [json.loads(reject["key"])] * len(batch) == [list(key) for key in zip(*shown, strict=True)]


def test_a_key_that_cannot_be_held(db):
    """Such a row has no name by which a change could be one of it."""
    big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300) g)"
    db.run("CREATE TABLE k (id time PRIMARY KEY, n int, big text)", "ALTER TABLE k ALTER big SET STORAGE EXTERNAL")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run(
        f"INSERT INTO k VALUES ('24:00', 1, {big})",
        "UPDATE k SET n = 2",
        "UPDATE k SET id = '10:00'",
        "UPDATE k SET id = '24:00'",
        "DELETE FROM k",
    )
    groups = read_changes(reader, 8)
    assert [(r["weight"], r["key"]) for r in rejects_of(groups)] == [
        (1, '["24:00:00"]'),
        (1, '["24:00:00"]'),
        (-1, '["24:00:00"]'),
        (1, '["10:00:00.000000"]'),
        (1, '["24:00:00"]'),
        (-1, '["24:00:00"]'),
    ]
    rows = [(row["_op"], row["_weight"], str(row["id"]), row["_unchanged"]) for row in rows_of(groups, "k")]
    assert rows == [(2, 1, "10:00:00", bytes([0b100000])), (3, -1, "10:00:00", None)]


def test_a_record_beside_an_array_of_more_dimensions_can_be_decoded_later(db):
    db.run(
        "CREATE TABLE m (id int PRIMARY KEY, d time, grid int[][])",
        "INSERT INTO m VALUES (1, '24:00', '{{1,2},{3,4}}')",
    )
    (reject,) = rejects_of(read_snapshot(db.open(db.source())))
    (row,) = db.source(text_columns=("m.d",)).decode(reject["record"]).rows.to_pylist()
    assert (row["d"], row["grid"]) == ("24:00:00", "{{1,2},{3,4}}")
