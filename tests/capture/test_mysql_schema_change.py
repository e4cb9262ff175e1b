"""ALTER TABLE in mid-stream, on a real MariaDB: the server computes rows anew and the binlog says nothing of it; in the
end the mirror equals the table. What may go on by itself is `on_schema_change`."""

import pytest
from mysql_database import read_to_end
from replay import normalised, read_snapshot, read_until, rows_of

from headwater.capture.request import Request
from headwater.change import Op
from headwater.errors import SchemaChanged

T = (
    "SET sql_mode = ''",
    "CREATE TABLE t (id int PRIMARY KEY, v int, n decimal(12,2), s varchar(20), c varchar(3), e enum('a','b'))",
    "INSERT INTO t VALUES (1, 1, 1.57, 'long', 'c', 'a'), (2, NULL, NULL, NULL, NULL, NULL)",
)
KNOWN = (
    "ADD x varchar(10) DEFAULT 'x'",
    "ADD x int",
    "ADD x decimal(5,2) NOT NULL DEFAULT -1.5 AFTER id",
    "MODIFY v bigint",
    "MODIFY n decimal(14,2)",
    "MODIFY s varchar(30)",
    "MODIFY e enum('a','b','c')",
    "DROP v",
)
READ_ANEW = (
    "ADD x int NOT NULL",
    "ADD x enum('p','q') NOT NULL",
    "ADD x datetime DEFAULT now()",
    "ADD x varchar(5) DEFAULT (upper('q'))",
    "ADD x int GENERATED ALWAYS AS (v + 1) STORED",
    "ADD x int AUTO_INCREMENT UNIQUE",
    "MODIFY v varchar(10)",
    "MODIFY v int NOT NULL",
    "MODIFY n decimal(14,1)",
    "MODIFY s varchar(2)",
    "MODIFY e enum('b','a')",
    "RENAME COLUMN c TO x",
    "CHANGE c x varchar(3)",
    "DROP c, ADD c int DEFAULT 3",
    "DROP c; ALTER TABLE t ADD c varchar(3) DEFAULT 'new'",
    "CONVERT TO CHARACTER SET latin1",
    "DROP PRIMARY KEY, ADD PRIMARY KEY (id, e)",
)


def begin(my, **settings):
    source = my.source(**settings)
    reader = my.open(source)
    return source, reader, read_snapshot(reader)


def equal(my, groups):
    """Whether the mirror holds the table's rows, in the table's columns."""
    batches = [batch for group in groups for batch in group.batches if batch.stream.name == "t"]
    names = [column[0] for column in my.run("SHOW COLUMNS FROM t")]
    from headwater.engine.normalise import Normaliser

    mirror = Normaliser(batches[0].stream)
    for batch in batches:
        mirror.apply([batch])
    here = sorted((tuple(row.get(name) for name in names) for row in mirror.rows().to_pylist()), key=repr)
    return here == sorted(my.run(f"SELECT {', '.join(names)} FROM t"), key=repr)


@pytest.mark.parametrize("change", [*KNOWN, *READ_ANEW])
def test_rows_that_are_there_are_what_the_server_made_of_them(my, change):
    my.run(*T)
    _, reader, groups = begin(my)
    my.run(*f"ALTER TABLE t {change}".split("; "), "INSERT IGNORE INTO t (id, e) VALUES (10, 'a')")
    groups += read_to_end(reader, my)
    groups += read_until(reader, lambda _: all(one.state == "done" for one in reader.progress()))
    assert equal(my, groups)
    read = [row for row in rows_of(groups, "t") if row["_op"] == Op.SNAPSHOT_END]
    assert bool(read) == (change in READ_ANEW)


def test_a_table_without_a_key_ends_equal_too(my):
    my.run("CREATE TABLE t (v int, s varchar(20))", "INSERT INTO t VALUES (1, 'one'), (1, 'one'), (2, 'two')")
    _, reader, groups = begin(my)
    my.run("ALTER TABLE t ADD x int DEFAULT 7", "DELETE FROM t WHERE v = 2", "ALTER TABLE t MODIFY v varchar(5)")
    my.run("DELETE FROM t WHERE v = '1' LIMIT 1", "INSERT INTO t VALUES ('3', 'three', 8)")
    groups += read_to_end(reader, my)
    groups += read_until(reader, lambda _: bool(reader.progress()) and reader.progress()[0].state == "done")
    assert normalised(groups, "t") == [("1", "one", 7), ("3", "three", 8)]


@pytest.mark.parametrize(
    ("policy", "change", "stops"),
    [
        ("evolve", "DROP v", False),
        ("additive", "ADD x int DEFAULT 3", False),
        ("additive", "MODIFY v bigint", False),
        ("additive", "DROP v", True),
        ("additive", "ADD x int NOT NULL", True),
        ("stop", "ADD x int", True),
        ("stop", "ADD INDEX (v)", False),
    ],
)
def test_what_goes_on_by_itself_is_the_policys(my, policy, change, stops):
    my.run(*T)
    source, reader, groups = begin(my, on_schema_change="stop", on_schema_change_of={"t": policy})
    my.run("UPDATE t SET v = 8 WHERE id = 1", f"ALTER TABLE t {change}", "UPDATE t SET s = 'later' WHERE id = 1")
    if not stops:
        groups += read_to_end(reader, my)
        assert equal(my, groups)
        return
    with pytest.raises(SchemaChanged) as caught:
        while True:
            group = reader.poll(1.0)
            groups += [group] if group else []
    assert f"headwater source accept-change shop {my.name}.t" in caught.value.hint
    assert [row["v"] for row in rows_of(groups, "t")][-1] == 8, "what came before is handed over"
    reader.close()
    resume = groups[-1].boundary.resume
    with pytest.raises(SchemaChanged):
        read_until(my.open(source, resume), lambda _: False)
    reader = my.open(source, resume, Request("d1", "accept_change", ("t",)))
    first = reader.poll(1.0)
    assert first.boundary.resume["decided"] == "d1" and first.boundary.position >= groups[-1].boundary.position
    reader.close()
    reader = my.open(source, first.boundary.resume, Request("d1", "accept_change", ("t",)))
    groups += [first, *read_to_end(reader, my)]
    groups += read_until(reader, lambda _: all(one.state == "done" for one in reader.progress()))
    assert equal(my, groups)
    my.run("ALTER TABLE t ADD y int NOT NULL")
    with pytest.raises(SchemaChanged, match="has a new column 'y'"):
        read_until(reader, lambda _: False)


@pytest.mark.parametrize("statement", ["DROP TABLE t", "RENAME TABLE t TO gone"])
def test_a_table_that_goes_is_a_change_too(my, statement):
    my.run(*T)
    _, reader, _ = begin(my, on_schema_change="additive")
    my.run(statement)
    with pytest.raises(SchemaChanged, match=r"was dropped|was renamed"):
        read_until(reader, lambda _: False)
