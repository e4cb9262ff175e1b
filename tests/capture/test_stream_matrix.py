"""T-PG-08: logical messages, TRUNCATE, partitions, row filters and column lists, as documented."""

import pytest
from capturing import table_of
from replay import Mirror, brief, read_changes, read_snapshot, read_until, rows_of

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


def emit(transactional, content, prefix="who"):
    return f"SELECT pg_logical_emit_message({transactional}, '{prefix}', '{content}')"


class Listening:
    """A source with an observer of logical messages, which can be begun again from where it stands."""

    def __init__(self, db, url):
        self.db, self.heard, self.groups = db, [], []
        self.source = db.source(url, heartbeat_s=0.1)
        self.source._observer = self._observe
        self.reader = db.open(self.source)
        self.resume = read_snapshot(self.reader)[-1].boundary.resume

    def _observe(self, transactions, messages):
        committed = transactions.commits.tolist()
        self.heard += [
            (m.transactional, m.prefix, m.content.decode(), m.position.commit in committed) for m in messages
        ]
        return ()

    def until(self, count, *, confirm=True):
        """Reads on until so many messages are heard; without `confirm` as a reader that dies before."""
        self.groups = read_until(self.reader, lambda groups: len(self.heard) >= count, confirm=confirm)
        if confirm:
            self.resume = self.groups[-1].boundary.resume
        heard, self.heard = self.heard, []
        self.reader.close()
        return heard

    def again(self):
        self.reader = self.db.open(self.source, self.resume)
        return self


@pytest.mark.parametrize("large", [False, True], ids=["ordinary", "streamed"])
def test_logical_messages(each_db, large):
    db = each_db
    db.run(TABLE)
    listening = Listening(db, db.url + ("?options=-c%20logical_decoding_work_mem%3D64kB" if large else ""))
    rows = f"INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, {2000 if large else 1}) g"
    db.run(
        f"BEGIN; {emit(True, 'lost')}; ROLLBACK",
        f"BEGIN; {emit(True, 'first')}; {rows}; SAVEPOINT s; {emit(True, 'undone')}; ROLLBACK TO s; "
        f"{emit(True, 'last')}; COMMIT",
        emit(False, "alone"),
        f"BEGIN; {emit(True, 'nothing else')}; COMMIT",
    )
    everything = [
        (True, "who", "first", True),
        (True, "who", "last", True),
        (False, "who", "alone", False),
        (True, "who", "nothing else", True),
    ]
    assert sorted(listening.until(4, confirm=False)) == sorted(everything)
    assert sorted(listening.again().until(4)) == sorted(everything), "what was not durable is sent again"
    places = [row["_ordinal"] for row in rows_of(listening.groups, "t")]
    assert places == list(range(1, len(places) + 1)) and len(places) == (2000 if large else 1)
    db.run(f"BEGIN; {emit(True, 'after')}; COMMIT")
    assert listening.again().until(1) == [(True, "who", "after", True)], "and nothing else again"
    if large:
        sent = "SELECT sum(stream_txns) FROM pg_stat_replication_slots WHERE slot_name = %s"
        assert db.connection.execute(sent, (listening.source.slot,)).fetchone()[0] > 0, "else this shows nothing"


def test_truncate_cascades_and_takes_partitions_with_their_root(each_db):
    db = each_db
    db.run(
        TABLE,
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES t)",
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        "INSERT INTO t VALUES (1, 'a')",
        "INSERT INTO child VALUES (1, 1)",
        "INSERT INTO p VALUES (1, 'a'), (11, 'b')",
    )
    reader = db.open(db.source())
    groups = read_snapshot(reader)
    db.run("BEGIN; TRUNCATE t CASCADE; INSERT INTO t VALUES (2, 'b'); COMMIT", "TRUNCATE p", "INSERT INTO p VALUES (2)")
    groups += read_changes(reader, 5)
    tables = Mirror().apply(groups).tables
    for name in ("t", "child", "p"):
        assert tables[name] == table_of(db.connection, name)


def test_truncate_of_one_partition_is_not_sent(each_db):
    """PostgreSQL publishes a partition's changes as its root's, and a TRUNCATE of the partition alone not at all."""
    db = each_db
    db.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "INSERT INTO p VALUES (1)",
    )
    reader = db.open(db.source())
    groups = read_snapshot(reader)
    db.run("TRUNCATE p1", "INSERT INTO p VALUES (2)")
    groups += read_changes(reader, 1)
    assert sorted(Mirror().apply(groups).tables["p"]) == [(1,), (2,)]


def test_row_filters_and_column_lists(each_db):
    """An update that moves a row over the filter's edge is an insert, or a delete."""
    db = each_db
    db.run("CREATE TABLE f (id int, region text, secret text, PRIMARY KEY (id, region))")
    db.run("INSERT INTO f VALUES (1, 'eu', 's'), (2, 'us', 's'), (3, 'eu', 's')")
    db.run("CREATE PUBLICATION only_eu FOR TABLE f (id, region) WHERE (region = 'eu')")
    reader = db.open(db.source(publication="only_eu", tables=("f",)))
    groups = read_snapshot(reader)
    assert brief(rows_of(groups, "f"), "id") == [("READ", 1, 1), ("READ", 1, 3)]
    db.run("UPDATE f SET region = 'us' WHERE id = 1", "UPDATE f SET region = 'eu' WHERE id = 2")
    db.run("UPDATE f SET secret = 'other'", "INSERT INTO f VALUES (4, 'us', 's'), (5, 'eu', 's')")
    changes = read_changes(reader, 5)
    assert brief(rows_of(changes, "f"), "id", "region")[:2] == [("DELETE", -1, 1, "eu"), ("INSERT", 1, 2, "eu")]
    assert "secret" not in changes[0].batches[0].rows.schema.names
    expected = db.connection.execute("SELECT id, region FROM f WHERE region = 'eu'").fetchall()
    assert sorted(Mirror().apply(groups + changes).tables["f"]) == sorted(expected)
