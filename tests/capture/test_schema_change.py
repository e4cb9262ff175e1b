"""Tables that change their definition in mid-stream."""

import pytest
from replay import brief, read_changes, read_snapshot, read_to_marker, read_until, rows_of

from headwater.capture.request import Request
from headwater.errors import SchemaChanged, SourceStopped
from headwater.schema import column_id, default_of


def begin(db, *statements):
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text, b int)", *statements)
    reader = db.open(db.source())
    read_snapshot(reader)
    return reader


def test_added_column_is_carried_from_then_on(db):
    reader = begin(db)
    db.run(
        "BEGIN; INSERT INTO t VALUES (1, 'x', 1); ALTER TABLE t ADD c numeric(6,2)",
        "INSERT INTO t VALUES (2, 'y', 2, 2.5); COMMIT",
    )
    groups = read_changes(reader, 2)
    first, second = (batch for group in groups for batch in group.batches)
    assert first.stream.columns.names == ["id", "a", "b"]
    assert second.stream.columns.names == ["id", "a", "b", "c"]
    assert [str(row["c"]) for row in second.rows.to_pylist()] == ["2.50"]
    assert [row["_ordinal"] for group in groups for row in rows_of([group], "t")] == [0, 1]


def test_dropped_column_is_sent_no_more(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)", "ALTER TABLE t DROP a", "INSERT INTO t VALUES (2, 2)")
    first, second = (batch for group in read_changes(reader, 2) for batch in group.batches)
    assert (first.stream.columns.names, second.stream.columns.names) == (["id", "a", "b"], ["id", "b"])
    assert second.rows.to_pylist()[0]["b"] == 2


def test_widened_text_goes_on(db):
    reader = begin(db, "ALTER TABLE t ALTER a TYPE varchar(5)")
    db.run(
        "INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ALTER a TYPE varchar(9)", "INSERT INTO t VALUES (2, 'longer')"
    )
    assert [row["a"] for row in rows_of(read_changes(reader, 2), "t")] == ["x", "longer"]


def ids(batch):
    """Name of each column by its number."""
    return {column_id(field).split(".")[1]: field.name for field in batch.stream.columns}


def test_columns_are_followed_by_their_numbers(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)", "ALTER TABLE t RENAME a TO c", "INSERT INTO t VALUES (2, 'y', 2)")
    first, second = (batch for group in read_changes(reader, 2) for batch in group.batches)
    assert (ids(first), ids(second)) == ({"1": "id", "2": "a", "3": "b"}, {"1": "id", "2": "c", "3": "b"})
    db.run("ALTER TABLE t DROP c; ALTER TABLE t ADD a text DEFAULT 'd'", "INSERT INTO t VALUES (3, 3, 'z')")
    (third,) = (batch for group in read_changes(reader, 1) for batch in group.batches)
    assert ids(third) == {"1": "id", "3": "b", "4": "a"}
    assert default_of(third.stream.columns.field("a")).as_py() == "d"


def test_numbers_are_those_of_then_and_not_of_now(db):
    """Three definitions in a row, read when the last is in force."""
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)")
    read_changes(reader, 1)
    db.run("ALTER TABLE t RENAME a TO tmp; INSERT INTO t VALUES (2, 'y', 2)")
    db.run("ALTER TABLE t RENAME b TO a; INSERT INTO t VALUES (3, 'y', 3)")
    db.run("ALTER TABLE t RENAME tmp TO b; INSERT INTO t VALUES (4, 'y', 4)")
    batches = [batch for group in read_changes(reader, 3) for batch in group.batches]
    assert [ids(batch) for batch in batches] == [
        {"1": "id", "2": "tmp", "3": "b"},
        {"1": "id", "2": "tmp", "3": "a"},
        {"1": "id", "2": "b", "3": "a"},
    ]


def test_what_is_known_outlives_a_restart(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)")
    (group,) = read_changes(reader, 1)
    reader.close()
    db.run("ALTER TABLE t RENAME a TO c; INSERT INTO t VALUES (2, 'y', 2); ALTER TABLE t RENAME c TO d")
    again = db.open(db.source(), group.boundary.resume)
    (batch,) = (batch for group in read_changes(again, 1) for batch in group.batches)
    assert ids(batch) == {"1": "id", "2": "c", "3": "b"}


def test_a_column_that_came_while_nobody_read_has_its_default(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)")
    (group,) = read_changes(reader, 1)
    reader.close()
    db.run("ALTER TABLE t ADD c int DEFAULT 7", "INSERT INTO t VALUES (2, 'y', 2, 8)")
    again = db.open(db.source(), group.boundary.resume)
    (batch,) = (batch for group in read_changes(again, 1) for batch in group.batches)
    assert default_of(batch.stream.columns.field("c")).as_py() == 7


CHANGES = [
    ("ALTER TABLE t RENAME a TO c", "column 'a' renamed to 'c'", "additive"),
    ("ALTER TABLE t DROP a", "has lost its column 'a'", "additive"),
    ("ALTER TABLE t ALTER b TYPE text", "another type in column 'b': from integer to text", "additive"),
    ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, b)", "another key", "additive"),
    ("ALTER TABLE t ALTER b TYPE bigint", "another type in column 'b': from integer to bigint", "stop"),
    ("ALTER TABLE t ADD c int", "has a new column 'c'", "stop"),
]


@pytest.mark.parametrize(("change", "message", "policy"), CHANGES)
def test_what_the_policy_does_not_allow_stops_the_source(db, change, message, policy):
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text, b int)")
    source = db.source(on_schema_change=policy)
    reader = db.open(source)
    read_snapshot(reader)
    db.run("INSERT INTO t VALUES (1, 'x', 1)", change, "INSERT INTO t (id, b) VALUES (2, 2)")
    (group,) = read_changes(reader, 1)
    with pytest.raises(SchemaChanged, match=message) as caught:
        read_changes(reader, 1)
    for way in ("accept-change shop public.t", "!public.t", "resnapshot shop", "undo"):
        assert way in caught.value.hint
    reader.close()
    accepted = source.open(group.boundary.resume, Request("1", "accept_change", ("public.t",)))
    db.readers.append(accepted)
    (group,) = read_changes(accepted, 1)
    assert [row["id"] for row in rows_of([group], "t")] == [2]
    assert group.boundary.resume["decided"] == "1"


def test_a_table_has_a_policy_of_its_own(db):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    reader = db.open(db.source(on_schema_change="stop", on_schema_change_of={"t": "evolve"}))
    read_snapshot(reader)
    db.run("ALTER TABLE t ADD a int", "INSERT INTO t VALUES (1, 1)")
    assert len(read_changes(reader, 1)) == 1
    db.run("ALTER TABLE u ADD a int", "INSERT INTO u VALUES (1, 1)")
    with pytest.raises(SchemaChanged, match=r"public\.u"):
        read_changes(reader, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [("ALTER TABLE t RENAME TO u", "renamed to public.u")],
)
def test_what_always_stops_the_source(db, change, message):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)")
    assert [row["id"] for row in rows_of(read_changes(reader, 1), "t")] == [1]
    db.run(change, "INSERT INTO u VALUES (2, 'y', 2)")
    with pytest.raises(SourceStopped, match=message) as caught:
        read_changes(reader, 1)
    assert "!public.t" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()", True),
        ("ALTER TABLE t ADD c serial", True),
        ("ALTER TABLE t ADD c int DEFAULT 7; ALTER TABLE t ALTER c DROP DEFAULT", False),
        ("ALTER TABLE t ADD c int", False),
        ("ALTER TABLE t ALTER b TYPE bigint", False),
        ("ALTER TABLE t ALTER a TYPE int USING length(a)", True),
        ("ALTER TABLE t ALTER b TYPE text", True),
        ("ALTER TABLE t ALTER a TYPE varchar(9)", True),
        ("ALTER TABLE t DROP b; ALTER TABLE t ADD b int", True),
        ("ALTER TABLE t DROP b; ALTER TABLE t ADD c int", False),
        # Made again with name and type, which the stream tells when the catalog has it under another name by then.
        ("ALTER TABLE t DROP b; ALTER TABLE t ADD b int; DELETE FROM t; ALTER TABLE t RENAME b TO c", True),
        # The stream tells of a column that came and went, when the catalog has another one under its name.
        ("ALTER TABLE t ADD c int; DELETE FROM t; ALTER TABLE t DROP c; ALTER TABLE t ADD c int", True),
    ],
)
def test_tables_of_which_rows_are_not_known_are_read_anew(db, change, again):
    reader = begin(db)
    asked = []
    reader.ask = asked.append
    db.run("INSERT INTO t VALUES (1, 'x', 1)", change, "INSERT INTO t (id) VALUES (2)")
    read_changes(reader, 2)
    reader.poll(0)
    assert bool(asked) == again
    assert {(request.action, request.tables) for request in asked} <= {("snapshot", ("public.t",))}


def test_a_column_dropped_before_the_reading_began_is_no_doubt(db):
    reader = begin(db, "ALTER TABLE t DROP b")
    asked = []
    reader.ask = asked.append
    db.run("INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ADD c int", "INSERT INTO t VALUES (2, 'y', 3)")
    last = read_changes(reader, 2)[-1].batches[-1]
    reader.poll(0)
    assert (ids(last), asked) == ({"1": "id", "2": "a", "4": "c"}, [])


def test_changes_of_unknown_rows_without_a_key_wait_for_the_reading(db):
    """Rows that were computed anew cannot be taken away: what is there is not known before the table is read."""
    db.run("CREATE TABLE t (id int, a text)", "ALTER TABLE t REPLICA IDENTITY FULL")
    db.run("CREATE TABLE marker (id bigserial PRIMARY KEY)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    reader = db.open(db.source())
    groups = read_snapshot(reader)
    db.run("ALTER TABLE t ADD n serial", "DELETE FROM t WHERE id = 1")
    groups += read_to_marker(reader, db.connection)
    groups += read_until(reader, lambda _: not any(task.state in ("waiting", "running") for task in reader.progress()))
    changes = [(op, weight, row) for op, weight, *row in brief(rows_of(groups, "t"), "id")]
    assert ("DELETE", -1, [1]) not in changes and changes[-1] == ("READ", 1, [2])
