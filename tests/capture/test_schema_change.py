"""Tables that change their definition in mid-stream."""

import pytest
from replay import brief, read_changes, read_snapshot, rows_of

from headwater.errors import SourceStopped


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


def test_dropped_column_is_null(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)", "ALTER TABLE t DROP a", "INSERT INTO t VALUES (2, 2)")
    groups = read_changes(reader, 2)
    assert brief(rows_of(groups, "t"), "id", "a", "b") == [("INSERT", 1, 1, "x", 1), ("INSERT", 1, 2, None, 2)]
    db.run("ALTER TABLE t ADD z text", "INSERT INTO t VALUES (3, 3, 'z')")
    assert brief(rows_of(read_changes(reader, 1), "t"), "id", "a", "b", "z") == [("INSERT", 1, 3, None, 3, "z")]


def test_widened_text_goes_on(db):
    reader = begin(db, "ALTER TABLE t ALTER a TYPE varchar(5)")
    db.run(
        "INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ALTER a TYPE varchar(9)", "INSERT INTO t VALUES (2, 'longer')"
    )
    assert [row["a"] for row in rows_of(read_changes(reader, 2), "t")] == ["x", "longer"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ALTER TABLE t RENAME a TO c", "column 'a' renamed to 'c'"),
        ("ALTER TABLE t ALTER b TYPE bigint", "another type in column 'b': from integer to bigint"),
        ("ALTER TABLE t RENAME TO u", "renamed to public.u"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, b)", "another key"),
    ],
)
def test_what_stops_the_source(db, change, message):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)")
    assert [row["id"] for row in rows_of(read_changes(reader, 1), "t")] == [1]
    db.run(*change.split("; "), f"INSERT INTO {'u' if 'TO u' in change else 't'} VALUES (2, 'y', 2)")
    with pytest.raises(SourceStopped, match=message) as caught:
        read_changes(reader, 1)
    assert "!public.t" in caught.value.hint


def test_everything_before_the_change_is_delivered(db):
    reader = begin(db)
    db.run("INSERT INTO t VALUES (1, 'x', 1)", "ALTER TABLE t RENAME a TO c", "INSERT INTO t VALUES (2, 'y', 2)")
    assert [row["id"] for row in rows_of(read_changes(reader, 1), "t")] == [1]
    with pytest.raises(SourceStopped, match="renamed"):
        read_changes(reader, 1)
