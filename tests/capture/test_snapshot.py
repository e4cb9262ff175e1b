"""The snapshot and its hand-over to the stream: no gap, no overlap, and all over again after a crash in the middle."""

import itertools
import threading

import psycopg
import pytest
from replay import Mirror, brief, positions, read_snapshot, read_to_marker, read_until, rows_of, slot_state

from headwater.capture.postgres import snapshot as snapshot_module
from headwater.change import Op
from headwater.errors import SourceUnavailable

MARKER = "CREATE TABLE marker (id bigserial PRIMARY KEY)"


def write(url, number, stop):
    """Writes to its own and to shared rows until it is stopped."""
    with psycopg.connect(url, autocommit=True) as connection:
        for step in itertools.count():
            if stop.is_set():
                return
            own = (number + 1) * 1_000_000 + step
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (%s, %s)", (own, f"w{step}"))
                connection.execute("UPDATE t SET v = v || '.' WHERE id = %s", (step % 500 * 4 + number,))
            connection.execute("DELETE FROM t WHERE id = %s", (own - 3,))
            if step % 7 == 0:
                connection.execute("UPDATE t SET id = -id WHERE id = %s", (own,))


def test_handover_under_concurrent_writers(db, monkeypatch):
    monkeypatch.setattr(snapshot_module, "CHUNK_ROWS", 100)
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g, '' FROM generate_series(0, 1999) g",
        MARKER,
    )
    stop = threading.Event()
    writers = [threading.Thread(target=write, args=(db.url, number, stop)) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        reader = db.open(db.source())
        groups = read_snapshot(reader)
        groups += read_until(reader, lambda groups: sum(map(len, groups)) > 1000)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    groups += read_to_marker(reader, db.connection)
    read = [row for row in rows_of(groups, "t") if row["_op"] == Op.READ]
    assert len(read) >= 2000 and len({(row["_commit"], row["_ordinal"]) for row in read}) == len(read)
    expected = dict(db.connection.execute("SELECT id, v FROM t").fetchall())
    assert {key[0]: row["v"] for key, row in Mirror().apply(groups).tables["t"].items()} == expected
    boundaries = [group.boundary.position for group in groups]
    assert boundaries == sorted(boundaries)


def test_boundaries_of_a_snapshot(db, monkeypatch):
    monkeypatch.setattr(snapshot_module, "CHUNK_ROWS", 4)
    db.run(
        "CREATE TABLE a AS SELECT generate_series(1, 10) AS x", "CREATE TABLE b AS SELECT generate_series(1, 3) AS x"
    )
    db.run("CREATE TABLE empty (x int)")
    source = db.source()
    groups = read_snapshot(db.open(source))
    assert [len(group) for group in groups] == [4, 4, 2, 3, 0]
    assert [group.boundary.snapshot for group in groups] == [True] * 4 + [False]
    assert [group.boundary.resume["snapshot"] for group in groups] == ["running"] * 4 + ["done"]
    assert [position.ordinal for position in positions(groups)] == list(range(13))
    assert all(row["_time"] is None and row["_weight"] == 1 for row in rows_of(groups, "a"))
    assert {row["_op"] for row in rows_of(groups, "b")} == {Op.READ}


def test_interrupted_snapshot_begins_again_with_truncates(db, monkeypatch):
    monkeypatch.setattr(snapshot_module, "CHUNK_ROWS", 10)
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 25)",
        "CREATE TABLE u (x int)",
        MARKER,
    )
    source = db.source()
    reader = db.open(source)
    first = [reader.poll(1), reader.poll(1)]
    assert [len(group) for group in first] == [10, 10]
    reader.close()
    db.run("DELETE FROM t WHERE id <= 5", "INSERT INTO t VALUES (100)")
    reader = db.open(source, first[-1].boundary.resume)
    again = read_snapshot(reader)
    assert brief(rows_of(again[:1], "t") + rows_of(again[:1], "u")) == [("TRUNCATE", -1)] * 2
    assert all(batch.rows["_op"].to_pylist() == [Op.READ] * len(batch) for g in again[1:] for batch in g.batches)
    assert min(positions(again)) > max(positions(first))
    assert len(set(positions(again))) == len(positions(again))
    db.run("DELETE FROM t WHERE id = 6")
    state = Mirror().apply(first + again + read_to_marker(reader, db.connection)).tables["t"]
    assert {key[0] for key in state} == {*range(7, 26), 100}


def test_slot_left_by_a_crash_before_the_first_group_is_ours(db):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source = db.source()
    db.open(source).close()
    before = slot_state(db.connection, source.slot)["confirmed_flush_lsn"]
    groups = read_snapshot(db.open(source))
    assert [row["id"] for row in rows_of(groups, "t")] == [1]
    assert slot_state(db.connection, source.slot)["confirmed_flush_lsn"] != before
    other = db.source(identity="other")
    assert other.slot != source.slot
    assert [row["id"] for row in rows_of(read_snapshot(db.open(other)), "t")] == [1]


def test_never_reads_changes_only(db):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", MARKER)
    reader = db.open(db.source(snapshot="never"))
    db.run("INSERT INTO t VALUES (2)")
    groups = read_to_marker(reader, db.connection)
    assert brief(rows_of(groups, "t"), "id") == [("INSERT", 1, 2)]


def test_table_emptied_just_before_the_lock_takes_the_snapshot_again(db, monkeypatch):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    begin = snapshot_module.begin_snapshot

    def begin_then_truncate(connection, exported):
        begin(connection, exported)
        connection.execute("SELECT 1")
        db.run("TRUNCATE t", "INSERT INTO t VALUES (2)")

    from headwater.capture.postgres import source as source_module

    monkeypatch.setattr(source_module, "begin_snapshot", begin_then_truncate)
    source = db.source()
    with pytest.raises(SourceUnavailable, match="emptied or rewritten"):
        source.open(None)
    monkeypatch.undo()
    assert [row["id"] for row in rows_of(read_snapshot(db.open(source)), "t")] == [2]


def test_row_filter_and_column_list_of_the_users_publication(db):
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text, secret text)",
        "INSERT INTO t VALUES (1, 'a', 's'), (-1, 'b', 's')",
        MARKER,
    )
    db.run(
        "CREATE PUBLICATION mine FOR TABLE t (id, v) WHERE (id > 0), marker WITH (publish_via_partition_root = true)"
    )
    reader = db.open(db.source(publication="mine"))
    groups = read_snapshot(reader)
    db.run("INSERT INTO t VALUES (2, 'c', 's'), (-2, 'd', 's')")
    groups += read_to_marker(reader, db.connection)
    assert brief(rows_of(groups, "t"), "id", "v") == [("READ", 1, 1, "a"), ("INSERT", 1, 2, "c")]
    assert "secret" not in rows_of(groups, "t")[0]
