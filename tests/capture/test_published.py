"""T-PG-08: what a publication makes of changes (columns, rows, partitions, truncation), on servers 15 and 18."""

import numpy as np
import pytest
from replay import read_snapshot, read_to_marker, rejects_of

from headwater.change import WEIGHT
from headwater.digest import digests
from headwater.engine.normalise import Normaliser


class Follower:
    """The streams of a source rebuilt from a snapshot and the changes after it, compared with the source's tables."""

    def __init__(self, db, **settings):
        self.db, self.source = db, db.source(**settings)
        self.reader = db.open(self.source)
        groups = read_snapshot(self.reader)
        self.streams = {stream.name: Normaliser(stream) for stream in self.source.discover()}
        self.take(groups)

    def take(self, groups):
        assert rejects_of(groups) == []
        for group in groups:
            for batch in group.batches:
                self.streams[batch.stream.name].apply([batch])

    def follow(self, *statements):
        self.db.run(*statements)
        groups = read_to_marker(self.reader, self.db.connection)
        self.take(groups)
        for name in self.streams:
            seen = self.source.table_at(name)
            assert digests(self.rows(name), seen.stream.key, 4) == seen.digests(4), name
            seen.close()
        return groups

    def rows(self, name):
        rows = self.streams[name].rows()
        return rows.take(np.repeat(np.arange(len(rows)), rows[WEIGHT].to_numpy())).drop_columns([WEIGHT])

    def columns(self, name):
        return self.rows(name).column_names


@pytest.fixture
def shop(each_db):
    each_db.run("CREATE TABLE marker (id serial PRIMARY KEY)")
    each_db.version = each_db.connection.info.server_version // 10000
    return each_db


def test_generated_columns(shop):
    new = shop.version >= 18
    virtual = ", v int GENERATED ALWAYS AS (a + 1) VIRTUAL" if new else ""
    shop.run(f"CREATE TABLE g (id int PRIMARY KEY, a int, s int GENERATED ALWAYS AS (a * 2) STORED{virtual})")
    shop.run("INSERT INTO g VALUES (1, 10), (2, 20)")
    follower = Follower(shop)
    follower.follow("UPDATE g SET a = 30 WHERE id = 1", "INSERT INTO g VALUES (3, NULL)", "DELETE FROM g WHERE id = 2")
    assert follower.columns("g") == ["id", "a", *(["s"] if new else [])]
    if new:
        assert sorted(follower.rows("g").to_pydict()["s"], key=str) == [60, None]


def test_generated_columns_that_are_not_published_are_not_captured(shop):
    shop.run(
        "CREATE TABLE g (id int PRIMARY KEY, a int, s int GENERATED ALWAYS AS (a * 2) STORED)",
        "INSERT INTO g VALUES (1, 10)",
        "CREATE PUBLICATION mine FOR TABLE g, marker",
    )
    follower = Follower(shop, publication="mine")
    follower.follow("UPDATE g SET a = 30")
    assert follower.columns("g") == ["id", "a"]


def test_column_lists_and_row_filters(shop):
    shop.run(
        "CREATE TABLE t (id int PRIMARY KEY, open boolean NOT NULL, a text, secret text)",
        "CREATE UNIQUE INDEX t_i ON t (id, open)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_i",
        "INSERT INTO t SELECT g, g % 2 = 0, 'a' || g, 'x' FROM generate_series(1, 10) g",
        "CREATE PUBLICATION mine FOR TABLE t (id, open, a) WHERE (open), marker",
    )
    follower = Follower(shop, publication="mine")
    follower.follow(
        "UPDATE t SET open = NOT open WHERE id <= 4",
        "UPDATE t SET a = 'changed', secret = 'y'",
        "UPDATE t SET id = id + 100 WHERE id > 7",
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t VALUES (50, true, 'in', 'z'), (51, false, 'out', 'z')",
    )
    assert follower.columns("t") == ["id", "open", "a"]
    assert sorted(follower.rows("t").to_pydict()["id"]) == [3, 6, 50, 108, 110]


def test_partitions_are_one_table_wherever_rows_move(shop):
    shop.run(
        "CREATE TABLE p (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part)",
        "CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY RANGE (id)",
        "CREATE TABLE p1a PARTITION OF p1 FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE p1b (v text, extra int, id int NOT NULL, part int NOT NULL)",
        "ALTER TABLE p1b DROP COLUMN extra",
        "ALTER TABLE p1 ATTACH PARTITION p1b FOR VALUES FROM (100) TO (200)",
        "INSERT INTO p SELECT g, g % 2, 'v' FROM generate_series(1, 150) g",
    )
    follower = Follower(shop)
    follower.follow(
        "UPDATE p SET part = 1 - part WHERE id % 3 = 0", "UPDATE p SET id = id + 1000, part = 0 WHERE id > 140"
    )
    follower.follow("CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)", "INSERT INTO p VALUES (1, 2, 'new')")
    follower.follow("TRUNCATE p; INSERT INTO p VALUES (7, 0, 'after')")
    assert follower.rows("p").num_rows == 1


def test_truncate_cascades_and_counts_for_each_table(shop):
    shop.run(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        "CREATE TABLE f (n int)",
        "ALTER TABLE f REPLICA IDENTITY FULL",
        "INSERT INTO a VALUES (1), (2)",
        "INSERT INTO b VALUES (1, 1)",
        "INSERT INTO f VALUES (1), (1)",
    )
    follower = Follower(shop)
    follower.follow("BEGIN", "INSERT INTO a VALUES (3)", "TRUNCATE a CASCADE", "INSERT INTO a VALUES (4)", "COMMIT")
    assert (follower.rows("a").num_rows, follower.rows("b").num_rows, follower.rows("f").num_rows) == (1, 0, 2)
    follower.follow("TRUNCATE f, b RESTART IDENTITY", "INSERT INTO f VALUES (5)", "BEGIN; TRUNCATE a CASCADE; ROLLBACK")
    assert (follower.rows("a").num_rows, follower.rows("f").num_rows) == (1, 1)


def test_tables_without_a_key(shop):
    shop.run("CREATE TABLE k (n int, v text)", "ALTER TABLE k REPLICA IDENTITY FULL", "CREATE TABLE l (n int)")
    shop.run("INSERT INTO k VALUES (1, 'x'), (1, 'x'), (2, NULL)", "INSERT INTO l VALUES (1), (1)")
    follower = Follower(shop)
    follower.follow(
        "DELETE FROM k WHERE ctid = (SELECT min(ctid) FROM k)", "UPDATE k SET v = NULL", "INSERT INTO l VALUES (1)"
    )
    follower.follow("INSERT INTO k SELECT 1, 'x' FROM generate_series(1, 100)", "UPDATE k SET n = 3 WHERE n = 1")
    assert (follower.rows("k").num_rows, follower.rows("l").num_rows) == (102, 3)
