"""Tables that appear while a source is read (T-PG-10): captured without a restart, whole, however busy they are.

`HEADWATER_FAULT_RUNS` repeats that (1 in the suite; `make faults` more).
"""

import itertools
import os
import threading

import psycopg
import pytest
from replay import normalised, read_snapshot, read_to_marker, read_until, rows_of
from source_database import make_database

from headwater.capture.postgres import rereading
from headwater.capture.postgres.chunk_reader import ChunkReader
from headwater.testing.debian import POSTGRES_15, ensure
from headwater.testing.postgres import PostgresServer

RUNS = int(os.environ.get("HEADWATER_FAULT_RUNS", "1"))
MARKER = "CREATE TABLE marker (id bigserial PRIMARY KEY)"


@pytest.fixture(scope="module", params=["15", "18"])
def any_db(request):
    with PostgresServer(programs=ensure(POSTGRES_15) if request.param == "15" else None) as server:
        database = make_database(server)
        yield database
        database.close()


class Writer(threading.Thread):
    """Has a transaction open at nearly every moment, so that one is when the publication is altered."""

    def __init__(self, url, number):
        super().__init__(daemon=True)
        self.url, self.number, self.ending = url, number, threading.Event()

    def run(self):
        with psycopg.connect(self.url) as connection:
            for step in itertools.count():
                connection.execute("INSERT INTO fresh VALUES (%s, %s, repeat('x', 3000))", (self.number, step))
                connection.execute("UPDATE fresh SET v = v + 1 WHERE w = %s AND n >= %s", (self.number, step - 3))
                self.ending.wait(0.02)
                connection.execute("DELETE FROM fresh WHERE w = %s AND n = %s", (self.number, step - 5))
                connection.commit()
                if self.ending.is_set():
                    return


def test_more_keys_move_than_are_remembered(db, monkeypatch):
    """The table is read from its beginning then, also when a chunk had been read that would have been the last."""
    db.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", MARKER)
    monkeypatch.setattr(rereading, "MOVED_MOST", 7)
    reader = db.open(db.source(heartbeat_s=0.1, snapshot_chunk_rows=100))
    groups = read_snapshot(reader)
    db.run(
        "CREATE TABLE fresh (n int PRIMARY KEY, long text, v int DEFAULT 0)",
        "ALTER TABLE fresh ALTER long SET STORAGE EXTERNAL",
        "INSERT INTO fresh SELECT g, repeat(chr(97 + g % 26), 3000) FROM generate_series(1, 450) g",
    )
    watermark, moves = ChunkReader.watermark, itertools.count(1)

    def move_some(chunk_reader):
        number = next(moves)
        if number < 15:
            db.run(f"UPDATE fresh SET n = -n WHERE n > 450 - {10 * number}")
        return watermark(chunk_reader)

    monkeypatch.setattr(ChunkReader, "watermark", move_some)
    is_done = lambda _: [t.state for t in reader.progress() if t.table == "public.fresh"] == ["done"]  # noqa: E731
    groups += read_until(reader, is_done)
    groups += read_to_marker(reader, db.connection)
    assert next(moves) > 15
    assert normalised(groups, "fresh") == sorted(db.connection.execute("SELECT n, long, v FROM fresh").fetchall())
    reader.close()


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("keyed", [True, False])
def test_a_new_table_under_writers_is_captured_without_a_restart(any_db, keyed, run):
    db = any_db
    db.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", MARKER)
    source = db.source(heartbeat_s=0.1, identity=f"k{keyed}{run}")
    reader = db.open(source)
    groups = read_snapshot(reader)
    key = ", PRIMARY KEY (w, n)" if keyed else ""
    db.run(
        f"CREATE TABLE fresh (w int, n int, long text, v int DEFAULT 0{key})",
        "ALTER TABLE fresh ALTER long SET STORAGE EXTERNAL",
        *([] if keyed else ["ALTER TABLE fresh REPLICA IDENTITY FULL"]),
        "INSERT INTO fresh SELECT -1, g, 'old' FROM generate_series(1, 3000) g",
    )
    writers = [Writer(db.url, number) for number in range(4)]
    for writer in writers:
        writer.start()
    is_done = lambda _: [t.state for t in reader.progress() if t.table == "public.fresh"] == ["done"]  # noqa: E731
    groups += read_until(reader, is_done)
    groups += read_until(reader, lambda groups: len(rows_of(groups, "fresh")) > 30)
    for writer in writers:
        writer.ending.set()
        writer.join()
    groups += read_to_marker(reader, db.connection)
    there = sorted(db.connection.execute("SELECT w, n, long, v FROM fresh").fetchall())
    assert normalised(groups, "fresh") == there and len(there) > 3000
    reader.close()
    reader = db.open(source, groups[-1].boundary.resume)
    assert {stream.name for stream in source.discover(groups[-1].boundary.resume)} == {"fresh", "marker"}
    db.run("UPDATE fresh SET v = -7 WHERE w = -1 AND n < 10")
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "fresh") == sorted(db.connection.execute("SELECT w, n, long, v FROM fresh").fetchall())
    reader.close()
    db._drop_slot(db.connection, source.slot)
    db.run(f"DROP PUBLICATION {source.publication}")


def test_a_new_table_that_cannot_be_captured_is_told_and_stops_nothing(db):
    db.run(MARKER)
    reader = db.open(db.source(heartbeat_s=0.05))
    groups = read_snapshot(reader)
    db.run('CREATE TABLE "public_marker" (id int, _op int)', "CREATE UNLOGGED TABLE fast (id int)")
    db.run("CREATE SCHEMA other", "CREATE TABLE other.unwanted (id int)")
    groups += read_until(reader, lambda _: len(reader.progress()) == 2)
    told = {task.table: task.message for task in reader.progress()}
    assert "needs for itself" in told["public.public_marker"] and "unlogged" in told["public.fast"]
    groups += read_to_marker(reader, db.connection)
