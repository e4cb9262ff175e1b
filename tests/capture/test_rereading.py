"""Tables read again, or for the first time, while they are written to: the mirror ends equal to the source."""

import itertools
import os
import random
import threading
from functools import partial

import numpy as np
import psycopg
import pytest
from replay import normalised, read_snapshot, read_to_marker, read_until, rows_of

from headwater.capture.postgres.chunk_reader import ChunkReader
from headwater.capture.postgres.visibility import Commits, View, among, may_be_late
from headwater.capture.request import Request
from headwater.capture.worklist import is_taken
from headwater.change import Op
from headwater.errors import UserError

ROUNDS = int(os.environ.get("HEADWATER_SNAPSHOT_ROUNDS", "1"))
ROWS = int(os.environ.get("HEADWATER_SNAPSHOT_ROWS", "600"))
MARKER = "CREATE TABLE marker (id bigserial PRIMARY KEY)"
TABLES = {
    "keyed": "CREATE TABLE t (a text, b int, v int, long text, PRIMARY KEY (a, b))",
    "full": "CREATE TABLE t (a text, b int, v int, long text, PRIMARY KEY (a, b)); ALTER TABLE t REPLICA IDENTITY FULL",
    "keyless": "CREATE TABLE t (a text, b int, v int, long text); ALTER TABLE t REPLICA IDENTITY FULL",
}
LETTERS = ["a", "B", "ä", "Z", "é", "\\", "tab\t", "'"]


class Writer(threading.Thread):
    """Writes with several statements a transaction; moves keys, and leaves long values alone."""

    def __init__(self, url, seed, pause_s=0.0):
        super().__init__(daemon=True)
        self.url, self.chance, self.stop_it, self.pause_s = url, random.Random(seed), threading.Event(), pause_s
        self.error = None

    def run(self):
        try:
            with psycopg.connect(self.url) as connection:
                for step in itertools.count():
                    if self.stop_it.is_set():
                        return
                    self.write(connection, step)
                    self.stop_it.wait(self.pause_s)
                    connection.commit()
        except psycopg.Error as error:
            self.error = error

    def write(self, connection, step):
        for _ in range(self.chance.randint(1, 4)):
            key = self.chance.choice(LETTERS), self.chance.randint(0, ROWS // len(LETTERS))
            match self.chance.randint(0, 5):
                case 0:
                    connection.execute("DELETE FROM t WHERE (a, b) = (%s, %s)", key)
                case 1:
                    other = self.chance.choice(LETTERS), self.chance.randint(0, 10**6) + 1000
                    connection.execute("UPDATE t SET (a, b) = (%s, %s) WHERE (a, b) = (%s, %s)", (*other, *key))
                case 2:
                    row = (*key, step, "long" * 700)
                    connection.execute(
                        "INSERT INTO t SELECT * FROM (VALUES (%s, %s, %s, %s)) AS n (a, b, v, long) WHERE NOT EXISTS "
                        "(SELECT FROM t WHERE (t.a, t.b) = (n.a, n.b))",
                        row,
                    )
                case _:
                    connection.execute("UPDATE t SET v = %s WHERE (a, b) = (%s, %s)", (step, *key))

    def stop(self):
        self.stop_it.set()
        self.join()
        assert self.error is None or isinstance(self.error, psycopg.errors.UniqueViolation), self.error


def fill(db, kind):
    for statement in TABLES[kind].split(";"):
        db.run(statement)
    db.run("ALTER TABLE t ALTER long SET STORAGE EXTERNAL", MARKER)
    for at, letter in enumerate(LETTERS):
        db.connection.execute(
            "INSERT INTO t SELECT %s, g, 0, repeat(%s, 3000) FROM generate_series(0, %s) g",
            (letter, str(at), ROWS // len(LETTERS)),
        )


def content(db, columns="a, b, v, long"):
    return sorted(db.connection.execute(f"SELECT {columns} FROM t").fetchall())


def ended(reader):
    return lambda _: all(task.state in ("done", "stopped") for task in reader.progress())


def ended_or_read(reader, groups):
    return ended(reader)(groups) or any(row["_op"] == Op.READ for row in rows_of(groups, "t"))


def ask(reader, action, *tables, id="1", where=""):
    reader.ask(Request(id, action, tables, where))


@pytest.mark.parametrize(
    ("kind", "mode"), [("keyed", "initial"), ("keyed", "schema_only"), ("full", "initial"), ("keyless", "initial")]
)
def test_a_table_is_read_while_it_is_written_to(db, kind, mode):
    """T-SN-01 and T-SN-02: nothing is lost or doubled, with writers active and several chunks."""
    fill(db, kind)
    source = db.source(snapshot=mode, snapshot_chunk_rows=90)
    reader = db.open(source)
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    for number in range(ROUNDS):
        writers = [Writer(db.url, seed) for seed in range(3)] + [Writer(db.url, 9, pause_s=0.03)]
        for writer in writers:
            writer.start()
        try:
            ask(reader, "snapshot", "t", id=str(number))
            groups += read_until(reader, lambda _: bool(reader.progress()) and ended(reader)(_))
        finally:
            for writer in writers:
                writer.stop()
    assert [task.state for task in reader.progress()] == ["done"]
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == content(db)
    places = [(row["_commit"], row["_ordinal"], row["_weight"]) for row in rows_of(groups, "t")]
    assert places == sorted(places)
    boundaries = [group.boundary.position for group in groups if not group.more]
    assert boundaries == sorted(boundaries)


def test_rows_that_the_source_no_longer_has_are_gone_after_a_whole_reading_and_stay_after_a_part(db):
    fill(db, "keyed")
    reader = db.open(db.source())
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    db.run("ALTER PUBLICATION " + db.connection.execute("SELECT pubname FROM pg_publication").fetchone()[0]
           + " SET (publish = 'insert')")  # fmt: skip
    db.run("DELETE FROM t WHERE a = 'Z'", "UPDATE t SET v = 7 WHERE a = 'a'")
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") != content(db)
    ask(reader, "snapshot", "t", where="a = 'a' AND b > 1")
    groups += read_until(reader, ended(reader))
    part = {row[:2]: row[2] for row in normalised(groups, "t")}
    assert (part["a", 2], part["a", 1], ("Z", 1) in part) == (7, 0, True)
    ask(reader, "snapshot", "public.*", id="2")
    groups += read_until(reader, ended(reader))
    assert normalised(groups, "t") == content(db)


def test_a_reading_goes_on_after_a_crash_chunk_by_chunk(db):
    """T-SN-02: closed after every chunk, and opened anew where the log ends."""
    fill(db, "keyed")
    source = db.source(snapshot_chunk_rows=60)
    reader = db.open(source)
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    ask(reader, "snapshot", "t")
    groups += read_until(reader, lambda groups: any(group.boundary.resume["snapshots"] for group in groups))
    for number in itertools.count():
        db.run(f"UPDATE t SET b = b - 100000 WHERE a = 'é' AND b = {number}", f"DELETE FROM t WHERE b = {number + 20}")
        groups += read_until(reader, partial(ended_or_read, reader))
        if ended(reader)(()):
            break
        reader.close()
        reader = db.open(source, groups[-1].boundary.resume)
        assert reader.progress()
    assert number > 5
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == content(db)
    read = [row for row in rows_of(groups, "t") if row["_op"] == Op.READ]
    assert len(read) < 3 * ROWS


def test_pause_resume_and_stop(db):
    fill(db, "keyed")
    reader = db.open(db.source(snapshot_chunk_rows=20))
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    ask(reader, "snapshot", "t", "marker")
    groups += read_until(reader, lambda _: any(task.rows for task in reader.progress()))
    ask(reader, "pause", id="2")
    ask(reader, "pause", id="2")
    groups += read_to_marker(reader, db.connection)
    assert {task.state for task in reader.progress()} <= {"paused", "done"}
    ask(reader, "resume", id="3")
    groups += read_until(reader, lambda _: any(task.rows > 100 for task in reader.progress()))
    ask(reader, "stop", id="4")
    groups += read_to_marker(reader, db.connection)
    assert "stopped" in {task.state for task in reader.progress()}
    ops = [row["_op"] for row in rows_of(groups, "t")]
    assert (ops.count(Op.SNAPSHOT_BEGIN), ops.count(Op.SNAPSHOT_END)) == (1, 1)
    assert normalised(groups, "t") == content(db)
    with pytest.raises(UserError, match="no snapshot"):
        ask(reader, "pause", id="5")
    with pytest.raises(UserError, match="no captured table"):
        ask(reader, "snapshot", "nothing", id="6")


def test_a_condition_that_is_wrong_stops_the_snapshot_and_nothing_else(db):
    """T-SN-04: after an ad-hoc snapshot that failed, nothing is lost, across a restart too."""
    fill(db, "keyed")
    source = db.source()
    reader = db.open(source)
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    ask(reader, "snapshot", "t", where="no_such_column = 1")
    groups += read_until(reader, ended(reader))
    (task,) = reader.progress()
    assert task.state == "stopped" and "no_such_column" in task.message
    db.run("UPDATE t SET v = 5 WHERE b = 1")
    reader.close()
    reader = db.open(source, groups[-1].boundary.resume)
    db.run("UPDATE t SET v = 6 WHERE b = 2")
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == content(db)


def test_what_is_written_between_the_reading_of_a_chunk_and_its_hand_over_wins(db, monkeypatch):
    fill(db, "keyed")
    reader = db.open(db.source(snapshot_chunk_rows=100))
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    watermark, written = ChunkReader.watermark, itertools.count(1)

    def write_first(chunk_reader):
        db.run(f"UPDATE t SET v = {next(written)} WHERE b % 3 = 0", f"DELETE FROM t WHERE b = {next(written)}")
        return watermark(chunk_reader)

    monkeypatch.setattr(ChunkReader, "watermark", write_first)
    ask(reader, "snapshot", "t")
    groups += read_until(reader, ended(reader))
    groups += read_to_marker(reader, db.connection)
    assert next(written) > 10
    assert normalised(groups, "t") == content(db)


@pytest.mark.parametrize("key", ["id", "s, id"])
def test_a_table_that_grows_faster_than_it_is_read_is_read_to_an_end(db, monkeypatch, key):
    """What is put behind the last key comes by the stream; the reading does not run after it."""
    db.run(MARKER, f"CREATE TABLE t (id serial UNIQUE, n int, s text DEFAULT E'z\\t', PRIMARY KEY ({key}))")
    db.run("INSERT INTO t (n, s) SELECT g, 'k\\''' || g % 5 FROM generate_series(1, 1000) g")
    reader = db.open(db.source(snapshot_chunk_rows=300))
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    watermark, read = ChunkReader.watermark, itertools.count(1)

    def grown(chunk_reader):
        assert next(read) < 20, "it runs after the rows that are added"
        db.run("INSERT INTO t (n) SELECT g FROM generate_series(1, 400) g", "UPDATE t SET n = -n WHERE id % 7 = 0")
        return watermark(chunk_reader)

    monkeypatch.setattr(ChunkReader, "watermark", grown)
    ask(reader, "snapshot", "t")
    groups += read_until(reader, ended(reader))
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == content(db, "id, n, s")


def test_a_table_without_a_key_is_not_read_in_part(db):
    fill(db, "keyless")
    reader = db.open(db.source())
    ask(reader, "snapshot", "t", id="0", where="b = 1")
    read_snapshot(reader)
    groups = read_to_marker(reader, db.connection)
    assert "no key" in reader.progress()[0].message and is_taken(groups[-1].boundary.resume["snapshots"], "0")
    with pytest.raises(UserError, match="no key"):
        ask(reader, "snapshot", "t", where="b = 1")


def test_a_role_that_may_not_write_has_its_watermark_from_the_log_itself(db):
    fill(db, "keyed")
    url = db.url + ("&" if "?" in db.url else "?") + "options=-c%20default_transaction_read_only%3Don"
    db.run("CREATE PUBLICATION mine FOR TABLE t, marker")
    reader = db.open(db.source(url=url, publication="mine", snapshot_chunk_rows=100))
    groups = read_snapshot(reader) + read_to_marker(reader, db.connection)
    writer = Writer(db.url, 1)
    writer.start()
    ask(reader, "snapshot", "t")
    groups += read_until(reader, lambda _: bool(reader.progress()) and ended(reader)(_))
    writer.stop()
    assert [task.state for task in reader.progress()] == ["done"]
    groups += read_to_marker(reader, db.connection)
    assert normalised(groups, "t") == content(db)


def test_what_a_view_sees():
    view = View.parse("10:20:12,15")
    assert str(View.parse("20:20:")) == "20:20:" and str(view) == "12:20:12,15"
    ids = view.whole(np.array([9, 12, 19, 20, 2**32 - 1], "uint32"))
    assert ids.astype("int64").tolist() == [9, 12, 19, 20, -1]
    later = View.parse("4294967300:4294967310:4294967305")
    assert later.whole(np.array([4, 14, 2**32 - 1], "uint32")).tolist() == [
        2**32 + 4,
        2**32 + 14,
        2**32 - 1,
    ]
    assert may_be_late(view, View.parse("12:13:12"), set()) and not may_be_late(view, View.parse("12:13:12"), {12})
    commits = Commits()
    commits.add(np.array([100, 200], "uint64"), np.array([12, 13], "uint32"))
    assert commits.unseen(view).tolist() == [100]
    assert among(np.array([1, 100, 200], "uint64"), commits.unseen(view)).tolist() == [
        False,
        True,
        False,
    ]
    commits.forget(view)
    assert len(commits) == 1


def follow(db, reader, groups, *statements):
    """Runs statements, and reads until the stream and the tables that are read anew have come to their end."""
    db.run(*statements)
    groups += read_to_marker(reader, db.connection)
    groups += read_until(reader, lambda _: ended(reader)(_) and not reader._relations.known.reread)


def test_the_same_change_once_more_is_read_anew_once_more(db):
    """Its request was taken for the one before, which had been carried out."""
    db.run(MARKER, "CREATE TABLE t (id int PRIMARY KEY, c int)", "INSERT INTO t VALUES (1, 7), (2, 8)")
    reader = db.open(db.source())
    groups = read_snapshot(reader)
    follow(db, reader, groups, "ALTER TABLE t DROP c", "ALTER TABLE t ADD c int", "INSERT INTO t VALUES (3, 1)")
    anew = "ALTER TABLE t ADD c int DEFAULT (random() * 1000)::int + 5"
    follow(db, reader, groups, "ALTER TABLE t DROP c", anew, "INSERT INTO t VALUES (4, 1)")
    assert normalised(groups, "t") == content(db, "id, c")


def test_a_table_that_was_read_ahead_of_the_stream_is_read_again_when_that_was_passed_over(db):
    """int, text, int again with other values: the stream never speaks of the text, under which the table was read."""
    db.run(MARKER, "CREATE TABLE t (id int, c int)", "ALTER TABLE t REPLICA IDENTITY FULL")
    db.run("INSERT INTO t VALUES (100, 7), (2000, 8)")
    reader = db.open(db.source())
    groups = read_snapshot(reader)
    change = "ALTER TABLE t DROP c", "ALTER TABLE t ADD c bigint", "INSERT INTO t VALUES (3, 1)"
    follow(db, reader, groups, *change, "ALTER TABLE t ALTER id TYPE text")
    follow(db, reader, groups, "ALTER TABLE t ALTER id TYPE int USING length(id)", "UPDATE t SET c = 2 WHERE id = 1")
    assert normalised(groups, "t") == content(db, "id, c") and content(db, "id") == [(1,), (3,), (4,)]
