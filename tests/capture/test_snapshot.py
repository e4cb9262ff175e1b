"""The snapshot and its hand-over to the stream: no gap, no overlap, and all over again after a crash in the middle."""

import itertools
import threading

import psycopg
import pytest
from replay import Mirror, brief, normalised, positions, read_snapshot, read_to_marker, read_until, rows_of, slot_state

from headwater.capture.postgres import snapshot as snapshot_module
from headwater.capture.postgres import source as source_module
from headwater.capture.request import Request
from headwater.change import Op
from headwater.errors import SourceUnavailable, UserError

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


@pytest.mark.parametrize(("analyze", "by"), [("ANALYZE t", "id"), ("SELECT 1", "ctid")])
def test_handover_under_concurrent_writers(db, monkeypatch, analyze, by):
    monkeypatch.setattr(snapshot_module, "GROUP_ROWS", 100)
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g, '' FROM generate_series(0, 1999) g",
        analyze,
        MARKER,
    )
    chunks = []
    divide = snapshot_module.divide
    monkeypatch.setattr(snapshot_module, "divide", lambda *given: chunks.append(divide(*given)) or chunks[-1])
    stop = threading.Event()
    writers = [threading.Thread(target=write, args=(db.url, number, stop)) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        reader = db.open(db.source(snapshot_connections=3, snapshot_chunk_rows=150))
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
    assert boundaries == sorted(boundaries) and positions(groups) == sorted(positions(groups))
    assert [len(found) > 3 and by in found[0].condition.as_string(None) for found in chunks] == [False, True]


def test_boundaries_of_a_snapshot(db, monkeypatch):
    monkeypatch.setattr(snapshot_module, "GROUP_ROWS", 4)
    db.run(
        "CREATE TABLE a AS SELECT generate_series(1, 10) AS x", "CREATE TABLE b AS SELECT generate_series(1, 3) AS x"
    )
    db.run("CREATE TABLE empty (x int)")
    source = db.source(snapshot_connections=1)
    groups = read_snapshot(db.open(source))
    assert [len(group) for group in groups] == [4, 4, 2, 3, 0]
    assert [group.boundary.snapshot for group in groups] == [True] * 4 + [False]
    assert [group.boundary.resume["snapshot"] for group in groups] == ["running"] * 4 + ["done"]
    assert [position.ordinal for position in positions(groups)] == list(range(13))
    assert all(row["_time"] is None and row["_weight"] == 1 for row in rows_of(groups, "a"))
    assert {row["_op"] for row in rows_of(groups, "b")} == {Op.READ}


@pytest.mark.parametrize("analyze", ["ANALYZE t", "SELECT 1"])
def test_an_interrupted_snapshot_is_finished_beside_the_stream(db, monkeypatch, analyze):
    monkeypatch.setattr(snapshot_module, "GROUP_ROWS", 10)
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, long text)",
        "ALTER TABLE t ALTER long SET STORAGE EXTERNAL",
        "INSERT INTO t SELECT g, repeat(g::text, 3000) FROM generate_series(1, 60) g",
        "CREATE TABLE u (x int)",
        "ALTER TABLE u REPLICA IDENTITY FULL",
        "INSERT INTO u VALUES (1), (2)",
        "CREATE TABLE v (id int PRIMARY KEY, long text)",
        "ALTER TABLE v ALTER long SET STORAGE EXTERNAL",
        "INSERT INTO v VALUES (1, repeat('x', 3000))",
        analyze,
        MARKER,
    )
    source = db.source(snapshot_connections=1, snapshot_chunk_rows=10)
    reader = db.open(source)
    first = read_until(reader, lambda groups: sum(map(len, groups)) >= 30)
    slot = slot_state(db.connection, source.slot)
    reader.close()
    db.run("DELETE FROM t WHERE id <= 5", "INSERT INTO t VALUES (100, 'x')", "UPDATE t SET id = -id WHERE id > 50")
    db.run("INSERT INTO u VALUES (3)", "UPDATE u SET x = 20 WHERE x = 2", "UPDATE v SET id = 2")
    reader = db.open(source, first[-1].boundary.resume)
    assert {progress.table for progress in reader.progress()} == {"public.t", "public.u", "public.v"}
    again = read_until(reader, lambda groups: bool(groups) and not groups[-1].boundary.snapshot)
    assert slot_state(db.connection, source.slot)["restart_lsn"] >= slot["restart_lsn"]
    groups = first + again
    read = [row["id"] for row in rows_of(again, "t") if row["_op"] == Op.READ]
    assert len(set(read)) <= 56 and (analyze == "SELECT 1" or len(set(read)) < 50)
    places = [(row["_commit"], row["_ordinal"], row["_weight"]) for row in rows_of(groups, "t")]
    assert places == sorted(places)
    db.run("DELETE FROM t WHERE id = 6", "UPDATE t SET id = 7000 WHERE id = 7")
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == sorted(db.connection.execute("SELECT id, long FROM t").fetchall())
    assert normalised(groups, "v") == [(2, "x" * 3000)]
    assert normalised(groups, "u") == sorted(db.connection.execute("SELECT x FROM u").fetchall())


def test_a_connection_that_loses_the_snapshot_is_found_out(db, monkeypatch):
    """dbz#2330: the connections of a parallel snapshot did not all read in the snapshot that was exported."""
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)", "ANALYZE t", MARKER)
    begin, begun = snapshot_module.begin_snapshot, []

    def begin_wrongly(connection, exported):
        begun.append(connection)
        if len(begun) == 3:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            db.run("INSERT INTO t VALUES (10001)")
            connection.execute("SELECT 1")
        else:
            begin(connection, exported)

    monkeypatch.setattr(source_module, "begin_snapshot", begin_wrongly)
    source = db.source(snapshot_connections=3, snapshot_chunk_rows=10)
    reader = db.open(source)
    with pytest.raises(SourceUnavailable, match="does not see the snapshot"):
        read_snapshot(reader)


def test_a_connection_that_loses_the_snapshot_under_way_is_found_out(db, monkeypatch):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)", "ANALYZE t")
    read_copy = snapshot_module.read_copy

    def read_and_commit(connection, *arguments):
        yield from read_copy(connection, *arguments)
        connection.execute("COMMIT")

    monkeypatch.setattr(snapshot_module, "read_copy", read_and_commit)
    with pytest.raises(SourceUnavailable, match="lost the snapshot"):
        read_snapshot(db.open(db.source(snapshot_connections=2, snapshot_chunk_rows=10)))


@pytest.mark.parametrize("mode", ["schema_only", "never"])
def test_tables_begin_empty(db, mode):
    db.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')", MARKER)
    reader = db.open(db.source(snapshot=mode))
    db.run("INSERT INTO t VALUES (2, 'b')", "UPDATE t SET v = 'c' WHERE id = 1")
    groups = read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == [(1, "c"), (2, "b")]
    assert not any(row["_op"] == Op.READ for row in rows_of(groups, "t"))
    if mode == "never":
        with pytest.raises(UserError, match="never"):
            reader.ask(Request("1", "snapshot", ("t",)))


def test_always_reads_everything_again_at_every_start_of_ours(db):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", MARKER)
    reader = db.open(db.source(snapshot="always"))
    groups = read_snapshot(reader)
    reader.close()
    source = db.source(snapshot="always")
    reader = db.open(source, groups[-1].boundary.resume)
    groups += read_until(reader, lambda _: all(progress.state == "done" for progress in reader.progress()))
    assert [row["id"] for row in rows_of(groups, "t") if row["_op"] == Op.READ] == [1, 1]
    reader.close()
    assert not db.open(source, groups[-1].boundary.resume).progress()


def test_when_needed_begins_again_by_itself(db):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", MARKER)
    source = db.source(snapshot="when_needed")
    reader = db.open(source)
    groups = read_snapshot(reader)
    reader.close()
    db.run(f"SELECT pg_drop_replication_slot('{source.slot}')", "DELETE FROM t", "INSERT INTO t VALUES (2)")
    reader = db.open(source, groups[-1].boundary.resume)
    groups += read_snapshot(reader)
    assert normalised(groups, "t") == [(2,)]


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
    assert brief(rows_of(groups, "t"), "id") == [("SNAPSHOT_BEGIN", 1, None), ("INSERT", 1, 2)]


def test_table_emptied_just_before_the_lock_takes_the_snapshot_again(db, monkeypatch):
    db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    begin = snapshot_module.begin_snapshot

    def begin_then_truncate(connection, exported):
        begin(connection, exported)
        connection.execute("SELECT 1")
        db.run("TRUNCATE t", "INSERT INTO t VALUES (2)")

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


def test_many_tables_whose_chunks_are_numbered_and_bounded_alike(db):
    """T-SN-05: equal names, partitions, keys and chunk numbers in twenty tables, read in parallel, cut short, finished
    beside the stream and read once more: each table has its own rows."""
    names = [f"{schema}.t{number}" for schema in ("one", "two") for number in range(10)]
    db.run("CREATE SCHEMA one", "CREATE SCHEMA two", MARKER)
    for number, name in enumerate(names):
        parted = number % 3 == 0
        db.run(f"CREATE TABLE {name} (id int PRIMARY KEY, v text) {'PARTITION BY RANGE (id)' if parted else ''}")
        for part in range(3) if parted else ():
            limits = f"FROM ({part * 20 + 1}) TO ({part * 20 + 21})"
            db.run(f"CREATE TABLE {name}_part{part} PARTITION OF {name} FOR VALUES {limits}")
        db.run(f"INSERT INTO {name} SELECT g, '{name} ' || g FROM generate_series(1, 60) g", f"ANALYZE {name}")
    tables = ["marker", "one.t?", "two.t?"]
    source = db.source(tables=tables, snapshot_connections=3, snapshot_chunk_rows=7)
    reader = db.open(source)
    groups = read_until(reader, lambda groups: sum(map(len, groups)) >= 500)
    reader.close()
    for name in names:
        db.run(f"UPDATE {name} SET v = v || '!' WHERE id % 7 = 0", f"DELETE FROM {name} WHERE id % 11 = 0")
    reader = db.open(source, groups[-1].boundary.resume)
    groups += read_until(reader, lambda groups: bool(groups) and not groups[-1].boundary.snapshot)
    reader.ask(Request("1", "snapshot", ("one.*", "two.*")))
    for name in names:
        db.run(f"UPDATE {name} SET v = v || '?' WHERE id % 5 = 0")
    groups += read_until(reader, lambda _: all(task.state == "done" for task in reader.progress()))
    groups += read_to_marker(reader, db.connection)
    for name in names:
        there = sorted(db.connection.execute(f"SELECT id, v FROM {name}").fetchall())
        assert normalised(groups, name.replace(".", "_")) == there and len(there) == 55, name
