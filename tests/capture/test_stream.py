"""Changes as they come from the stream: what each statement becomes, transactions whole, resuming exactly."""

import threading

import psycopg
import pytest
from replay import (
    Mirror,
    brief,
    positions,
    read_changes,
    read_snapshot,
    read_to_marker,
    read_until,
    rows_of,
    slot_state,
)

from headwater.capture.postgres.resume import lsn_of
from headwater.capture.postgres.staging import GROUP_RECORDS
from headwater.errors import InvariantBroken, SourceUnavailable

MARKER = "CREATE TABLE marker (id bigserial PRIMARY KEY)"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


def table_of(db, name, columns):
    found = db.connection.execute(f"SELECT {columns} FROM {name}").fetchall()
    return {row[0]: row for row in found}


def test_insert_update_delete_truncate(db):
    db.run(TABLE, "CREATE TABLE log (x int)")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run(
        "INSERT INTO t VALUES (1, 'a'), (2, NULL)",
        "UPDATE t SET v = 'b' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "BEGIN; INSERT INTO t VALUES (3, 'c'); TRUNCATE t, log; INSERT INTO log VALUES (9); COMMIT",
    )
    groups = read_changes(reader, 8)
    assert brief(rows_of(groups, "t"), "id", "v") == [
        ("INSERT", 1, 1, "a"),
        ("INSERT", 1, 2, None),
        ("UPDATE", 1, 1, "b"),
        ("DELETE", -1, 2, None),
        ("INSERT", 1, 3, "c"),
        ("TRUNCATE", -1, None, None),
    ]
    assert brief(rows_of(groups, "log"), "x") == [("TRUNCATE", -1, None), ("INSERT", 1, 9)]
    assert {b.stream.name: b.stream.changelog for g in groups for b in g.batches} == {"t": "upsert", "log": "append"}
    last = [
        row for row in rows_of(groups, "t") + rows_of(groups, "log") if row["_commit"] == positions(groups)[-1].commit
    ]
    assert sorted(row["_ordinal"] for row in last) == [0, 1, 2, 3]
    assert all(row["_time"] is not None for row in rows_of(groups, "t"))


def test_key_change_is_a_pair_even_last_in_its_transaction(db):
    db.run(TABLE, "INSERT INTO t VALUES (1, 'a')")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run("BEGIN; INSERT INTO t VALUES (5, 'e'); UPDATE t SET id = 2 WHERE id = 1; COMMIT")
    rows = rows_of(read_changes(reader, 3), "t")
    assert brief(rows, "id", "v", "_ordinal") == [
        ("INSERT", 1, 5, "e", 0),
        ("DELETE", -1, 1, None, 1),
        ("UPDATE", 1, 2, "a", 1),
    ]


def test_full_identity_carries_whole_old_rows(db):
    db.run(TABLE, "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1, 'a')")
    reader = db.open(db.source())
    read_snapshot(reader)
    db.run("UPDATE t SET v = 'b'", "DELETE FROM t")
    groups = read_changes(reader, 3)
    assert brief(rows_of(groups, "t"), "id", "v", "_ordinal") == [
        ("UPDATE", -1, 1, "a", 0),
        ("UPDATE", 1, 1, "b", 0),
        ("DELETE", -1, 1, "b", 0),
    ]
    stream = groups[0].batches[0].stream
    assert (stream.changelog, stream.key) == ("full", ("id",))


@pytest.mark.parametrize("kind", ["text", "bytea", "text[]"])
def test_unchanged_toast(db, kind):
    value = {"text": "repeat('x', 20000)", "bytea": "decode(repeat('00ff', 9000), 'hex')", "text[]": "'{a,b}'"}[kind]
    if kind == "text[]":
        value = "array_fill(repeat('y', 100), ARRAY[300])"
    for name, identity in (("d", "DEFAULT"), ("f", "FULL")):
        db.run(
            f"CREATE TABLE {name} (id int PRIMARY KEY, n int, big {kind})",
            f"ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL",
            f"ALTER TABLE {name} REPLICA IDENTITY {identity}",
            f"INSERT INTO {name} VALUES (1, 1, {value})",
        )
    reader = db.open(db.source())
    snapshot = read_snapshot(reader)
    db.run("UPDATE d SET n = 2", "UPDATE d SET id = 2", "UPDATE f SET n = 2", "UPDATE f SET id = 2")
    groups = read_changes(reader, 7)
    untouched = [(row["_unchanged"], row["big"]) for row in rows_of(groups, "d")]
    assert untouched == [(b"\x04", None), (None, None), (b"\x04", None)]
    big = rows_of(snapshot, "f")[0]["big"]
    assert len(big) >= 300
    assert [(row["_unchanged"], row["big"]) for row in rows_of(groups, "f")] == [(None, big)] * 4
    mirror = Mirror().apply(snapshot + groups).tables
    assert mirror["d"] == mirror["f"] == {(2,): {"id": 2, "n": 2, "big": big}}


def test_transaction_over_tables_is_one_group(db):
    db.run(
        TABLE, "CREATE TABLE u (id int PRIMARY KEY)", "CREATE SCHEMA sales", "CREATE TABLE sales.o (id int PRIMARY KEY)"
    )
    reader = db.open(db.source(tables=("public.*", "sales.*")))
    read_snapshot(reader)
    db.run(
        "BEGIN; INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); INSERT INTO sales.o VALUES (1)",
        "INSERT INTO t VALUES (2)",
    )
    db.run("SAVEPOINT s; INSERT INTO t VALUES (7); ROLLBACK TO s; SAVEPOINT r; INSERT INTO t VALUES (3); COMMIT")
    db.run("BEGIN; INSERT INTO t VALUES (8); ROLLBACK")
    (group,) = [group for group in read_changes(reader, 5) if len(group)]
    assert {batch.stream.name for batch in group.batches} == {"t", "u", "sales_o"}
    assert [row["id"] for row in rows_of([group], "t")] == [1, 2, 3]
    assert sorted(position.ordinal for position in positions([group])) == [0, 1, 2, 3, 4]
    assert {position.commit for position in positions([group])} == {group.boundary.position.commit}
    assert group.boundary.position.ordinal == 4


def test_a_steady_trickle_is_not_held_back(db):
    db.run(TABLE)
    reader = db.open(db.source())
    read_snapshot(reader)
    stop = threading.Event()

    def trickle():
        with psycopg.connect(db.url, autocommit=True) as connection:
            for number in range(GROUP_RECORDS):
                if stop.is_set():
                    return
                connection.execute("INSERT INTO t VALUES (%s)", (number,))

    writer = threading.Thread(target=trickle)
    writer.start()
    try:
        groups = read_changes(reader, 1)
    finally:
        stop.set()
        writer.join()
    assert len(groups[-1]) < GROUP_RECORDS / 10


def test_copy_of_many_rows_has_unique_positions(db):
    db.run(TABLE)
    reader = db.open(db.source())
    read_snapshot(reader)
    with db.connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row((number, "x"))
    found = positions(read_changes(reader, 1000))
    assert len(set(found)) == 1000 and found == sorted(found)


def test_partitions_come_as_their_root(db):
    db.run(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        "INSERT INTO p VALUES (1, 'a'), (11, 'b')",
    )
    reader = db.open(db.source())
    snapshot = read_snapshot(reader)
    assert [row["id"] for row in rows_of(snapshot, "p")] == [1, 11]
    db.run("INSERT INTO p VALUES (2, 'c')", "UPDATE p SET v = 'z' WHERE id = 11", "UPDATE p SET id = 12 WHERE id = 1")
    groups = read_changes(reader, 4)
    state = Mirror().apply(snapshot + groups).tables["p"]
    assert {key[0]: (row["id"], row["v"]) for key, row in state.items()} == table_of(db, "p", "id, v")


def test_every_resume_point_gives_exactly_the_rest(db):
    db.run(TABLE, MARKER)
    source = db.source()
    reader = db.open(source)
    snapshot = read_snapshot(reader)
    groups = []
    for number in range(6):
        db.run(
            f"BEGIN; INSERT INTO t SELECT {number} * 10 + g FROM generate_series(1, 3) g; UPDATE t SET id = -id; COMMIT"
        )
        groups += read_until(reader, bool, confirm=False)
    groups += read_to_marker(reader, db.connection, confirm=False)
    everything = positions(groups)
    for at, boundary in enumerate([snapshot[-1].boundary] + [group.boundary for group in groups[:-1]]):
        reader.close()
        reader = db.open(source, boundary.resume)
        rest = sum(map(len, groups[at:]))
        again = read_changes(reader, rest, confirm=False)
        assert positions(again) == everything[len(everything) - rest :]
        assert min(positions(again)) > boundary.position


def test_confirmed_is_what_was_confirmed(db):
    db.run(TABLE)
    source = db.source(heartbeat_s=0.05)
    reader = db.open(source)
    groups = read_snapshot(reader)
    least = lsn_of(groups[-1].boundary.resume)
    for number in range(4):
        db.run(f"INSERT INTO t VALUES ({number})")
        groups += read_changes(reader, 1, confirm=False)
        received = lsn_of(groups[-1].boundary.resume)
        wait_until(reader, lambda received=received: written(db) >= received)
        assert flushed(db, source) <= least < received
        reader.confirm(groups[-1].boundary)
        wait_until(reader, lambda received=received: flushed(db, source) >= received)
        least = received
        assert flushed(db, source) == least
    with pytest.raises(InvariantBroken):
        reader.confirm(groups[0].boundary)


def written(db):
    """How far the server knows that we have received."""
    query = "SELECT write_lsn - '0/0'::pg_lsn FROM pg_stat_replication WHERE pid IN ({})"
    pids = f"SELECT active_pid FROM pg_replication_slots WHERE database = '{db.name}'"
    return db.connection.execute(query.format(pids)).fetchone()[0] or 0


def flushed(db, source):
    high, low = slot_state(db.connection, source.slot)["confirmed_flush_lsn"].split("/")
    return (int(high, 16) << 32) + int(low, 16)


def wait_until(reader, condition):
    """Polls, confirming nothing, until the condition holds."""
    read_until(reader, lambda groups: condition(), confirm=False, poll_s=0.02)


def test_idle_heartbeat_moves_the_slot(db, server):
    db.run(TABLE)
    source = db.source(heartbeat_s=0.1)
    reader = db.open(source)
    start = lsn_of(read_snapshot(reader)[-1].boundary.resume)
    with psycopg.connect(server.url(), autocommit=True) as neighbour:
        neighbour.execute("CREATE TABLE IF NOT EXISTS busy AS SELECT generate_series(1, 20000) AS x")
        head = neighbour.execute("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()[0]
    groups = read_until(reader, lambda groups: flushed(db, source) >= head)
    assert start < head and all(len(group) == 0 for group in groups)
    spots = [group.boundary.position for group in groups]
    assert spots == sorted(spots)
    db.run("INSERT INTO t VALUES (1)")
    assert positions(read_changes(reader, 1))[0] > spots[-1]


def test_server_stops_and_starts(own_server):
    db = own_server
    db.run(TABLE, MARKER)
    source = db.source(heartbeat_s=0.2)
    reader = db.open(source)
    groups = read_snapshot(reader)
    db.run("INSERT INTO t SELECT generate_series(1, 100)")
    stopper = threading.Thread(target=db.server.pause)
    db.connection.close()
    stopper.start()
    with pytest.raises(SourceUnavailable):
        groups += read_until_failure(reader, groups)
    stopper.join()
    reader.close()
    with pytest.raises(SourceUnavailable):
        source.open(groups[-1].boundary.resume)
    db.server.start()
    db.connect()
    db.run("UPDATE t SET v = 'x'")
    reader = db.open(source, groups[-1].boundary.resume)
    groups += read_to_marker(reader, db.connection)
    state = Mirror().apply(groups).tables["t"]
    assert {key[0]: (row["id"], row["v"]) for key, row in state.items()} == table_of(db, "t", "id, v")
    assert len(state) == 100


def read_until_failure(reader, groups):
    """Keeps what is read in `groups`; ends by the error that poll or confirm raises."""
    while True:
        group = reader.poll(0.2)
        if group is not None:
            groups.append(group)
            reader.confirm(group.boundary)


def test_tables_left_out_are_counted(db):
    db.run(TABLE, "CREATE TABLE other (id int PRIMARY KEY)")
    db.run("CREATE PUBLICATION everything FOR ALL TABLES")
    reader = db.open(db.source(publication="everything", tables=("t",)))
    read_snapshot(reader)
    db.run("BEGIN; INSERT INTO other VALUES (1), (2); INSERT INTO t VALUES (1); COMMIT")
    (group,) = [group for group in read_changes(reader, 1) if len(group)]
    assert group.filtered == {"other": 2}
    assert [batch.stream.name for batch in group.batches] == ["t"]
