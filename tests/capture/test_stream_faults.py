"""T-PG-01, 02, 03 and 07 of the fault catalogue: crashes at every instant, rows that share an LSN, transactions that
interleave, and changed keys. On real servers; the log must hold every change once and every transaction whole."""

import random
import uuid

import psycopg
import pytest
from capturing import SIZE, Capture, table_of
from replay import Mirror, read_changes, read_snapshot, read_to_marker, rows_of
from source_database import make_database

from headwater.capture.postgres.resume import lsn_of
from headwater.capture.postgres.stream import READ_BYTES, READ_MESSAGES
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.wire import CopyReader, Frames
from headwater.testing.debian import POSTGRES_15, ensure
from headwater.testing.postgres import PostgresServer

MARKER = "CREATE TABLE marker (id bigserial PRIMARY KEY)"
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, v text)"
IN_PROGRESS = {
    "logical_decoding_work_mem": "64kB",
    "max_prepared_transactions": "64",
    "max_connections": "100",
    "wal_sender_timeout": "60s",  # the server's default: the thread that reads also writes, and reads nothing meanwhile
}


@pytest.fixture(scope="module", params=["18", "15"])
def small_server(request):
    """A server that sends transactions while they run as soon as they hold 64 kB."""
    programs = ensure(POSTGRES_15) if request.param == "15" else None
    with PostgresServer(settings=IN_PROGRESS, programs=programs) as running:
        yield running


@pytest.fixture
def small_db(small_server):
    database = make_database(small_server)
    yield database
    database.drop()


def test_crash_between_sending_durable_and_confirmed(db, tmp_path):
    """T-PG-01."""
    rng = random.Random(1)
    db.run(TABLE, MARKER, "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50) g")
    capture = Capture(db.source(), tmp_path / "log").open()
    capture.to_marker(db.connection)
    capture.crash = lambda: rng.random() < 0.3
    number = 100
    while capture.crashes < 50 * SIZE:
        for _ in range(rng.randrange(4)):
            number += 1
            db.run(f"BEGIN; INSERT INTO t VALUES ({number}, 'a'); UPDATE t SET v = v || 'b' WHERE id % 7 = 1; COMMIT")
            db.run(f"DELETE FROM t WHERE id = {rng.randrange(number)}")
        capture.step()
    capture.crash = lambda: False
    capture.to_marker(db.connection)
    assert capture.mirror()["t"] == table_of(db.connection, "t")
    capture.close()


SAME_LSN = (
    *(f"INSERT INTO t VALUES ({id_})" for id_ in range(5001, 5006)),
    "COPY t FROM PROGRAM 'seq 1 1000'",
    "INSERT INTO t SELECT g FROM generate_series(2001, 2100) g",
    "BEGIN; COMMIT",
    "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (3000); ROLLBACK TO s; COMMIT",
    "BEGIN; INSERT INTO t VALUES (3001), (3002); UPDATE t SET id = -id WHERE id > 2090; COMMIT",
    "UPDATE t SET id = id",
    "INSERT INTO t VALUES (123456789)",
)
LAST = b"123456789"


def sent_by(source, resume):
    """All that the server sends after `resume`, as the stream takes it, up to the transaction with LAST in it."""
    stream = source.open(resume)._stream
    incoming = CopyReader(stream._wire, READ_MESSAGES, READ_BYTES)
    messages = []
    while not any(LAST in each for each in messages) or messages[-1][25:26] != b"C":
        assert stream._readable(20)
        incoming.fill()
        frames = incoming.cut()
        messages += [frames[at] for at in range(len(frames)) if frames[at][:1] == b"w"]
    relations = stream._assembler._relations
    stream.close()
    return messages, relations


def test_crash_after_every_message_of_rows_that_share_an_lsn(db):
    """T-PG-02: COPY, multi-row inserts, empty transactions, BEGIN at its first row's LSN; all k."""
    db.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = db.source()
    reader = db.open(source)
    start = read_snapshot(reader)[-1].boundary
    reader.close()
    for statement in SAME_LSN:
        db.run(statement)
    messages, relations = sent_by(source, start.resume)
    standing = source._end(start.resume).standing

    def read(after, part):
        assembler = Assembler(relations, standing, after)
        assembler.feed(Frames.of(part))
        groups = []
        while assembler.complete:
            groups.append(assembler.take())
        return groups

    def places(groups):
        return [(row["_commit"], row["_ordinal"], row["_weight"]) for row in rows_of(groups, "t")]

    whole = places(read(lsn_of(start.resume), messages))
    assert len(set(whole)) == len(whole) > 2000 and [each[:2] for each in whole] == sorted(each[:2] for each in whole)
    for k in range(1001 if SIZE == 1 else len(messages)):
        first = read(lsn_of(start.resume), messages[:k])
        after = lsn_of(first[-1].boundary.resume) if first else lsn_of(start.resume)
        assert places(first) + places(read(after, messages)) == whole, k


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("two_phase", [False, True])
def test_interleaved_transactions_and_restarts(small_db, tmp_path, streaming, two_phase):
    """T-PG-03."""
    db, rng = small_db, random.Random(3)
    db.run(TABLE, MARKER)
    source = db.source(streaming=streaming, two_phase=two_phase)
    capture = Capture(source, tmp_path / "log").open()
    capture.to_marker(db.connection)
    writers = [Writer(db.url, number, rng) for number in range(rng.choice([6, 12]) if SIZE == 1 else 64)]
    capture.crash = lambda: rng.random() < 0.08
    while capture.crashes < 7 * SIZE:
        for _ in range(10):
            rng.choice(writers).act()
        capture.step(0.005)
    capture.crash = lambda: False
    for writer in writers:
        writer.finish()
    capture.to_marker(db.connection)
    assert capture.mirror()["t"] == table_of(db.connection, "t")
    sent = "SELECT sum(stream_txns) FROM pg_stat_replication_slots WHERE slot_name = %s"
    assert bool(db.connection.execute(sent, (source.slot,)).fetchone()[0]) == streaming, "else this shows nothing"
    slot = db.connection.execute("SELECT two_phase FROM pg_replication_slots WHERE slot_name = %s", (source.slot,))
    assert slot.fetchone()[0] == two_phase
    capture.close()


class Writer:
    """A connection with a transaction of its own, on keys of its own."""

    def __init__(self, url, number, rng):
        self.connection = psycopg.connect(url)
        self.rng, self.base, self.next = rng, number * 1_000_000, 0
        self.prepared = []
        self.savepoint = False

    def act(self):
        choice = self.rng.random()
        if choice < 0.45:
            self.next += 40
            filler = f"md5(g::text) || repeat('{chr(97 + self.rng.randrange(26))}', 900)"
            first = self.base + self.next
            self.run(f"INSERT INTO t SELECT g, {filler} FROM generate_series({first}, {first + 39}) g")
        elif choice < 0.6:
            low = self.base + self.rng.randrange(self.next + 1)
            self.run(f"UPDATE t SET v = v || '!' WHERE id BETWEEN {low} AND {low + 20}")
        elif choice < 0.65:
            low = self.base + self.rng.randrange(self.next + 1)
            self.run(f"DELETE FROM t WHERE id BETWEEN {low} AND {low + 5}")
        elif choice < 0.75:
            self.run("SAVEPOINT s")
            self.savepoint = True
        elif choice < 0.85 and self.savepoint:
            self.run("ROLLBACK TO s")
        else:
            self.end()

    def run(self, statement):
        """A transaction that is prepared keeps its locks, so it ends before its writer goes on."""
        self.settle()
        self.connection.execute(statement)

    def end(self):
        self.settle()
        busy = self.connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        if busy and self.rng.random() < 0.3:
            self.prepared.append(uuid.uuid4().hex)
            self.connection.execute(f"PREPARE TRANSACTION '{self.prepared[-1]}'")
        elif self.rng.random() < 0.2:
            self.connection.rollback()
        self.connection.commit()
        self.savepoint = False

    def settle(self):
        if not self.prepared:
            return
        self.connection.commit()
        self.connection.autocommit = True
        outcome = "COMMIT" if self.rng.random() < 0.7 else "ROLLBACK"
        self.connection.execute(f"{outcome} PREPARED '{self.prepared.pop()}'")
        self.connection.autocommit = False

    def finish(self):
        self.settle()
        self.connection.commit()
        self.connection.close()


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_changed_keys_also_last_and_with_toast(db, identity):
    """T-PG-07: a delete and an insert that nothing separates."""
    rng = random.Random(7)
    db.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, n int, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
        MARKER,
        "INSERT INTO t SELECT g, 0, repeat(md5(g::text), 200) FROM generate_series(1, 40) g",
    )
    source = db.source()
    reader = db.open(source)
    groups, key = read_snapshot(reader), 100
    for _ in range(100 * SIZE):
        key += 1
        old = db.connection.execute("SELECT id FROM t ORDER BY random() LIMIT 1").fetchone()[0]
        other = rng.choice(
            [f"INSERT INTO t VALUES ({-key}, 1, 'new')", f"UPDATE t SET n = n + 1 WHERE id <> {old}", ""]
        )
        moved = f"UPDATE t SET id = {key}{rng.choice(['', ', n = 9', ', big = big || 1'])} WHERE id = {old}"
        db.run(f"BEGIN; {'; '.join(rng.choice([[other, moved], [moved, other]]))}; COMMIT")
        if rng.random() < 0.2:
            groups += read_changes(reader, 1)
            reader.close()
            reader = db.open(source, groups[-1].boundary.resume)
    groups += read_to_marker(reader, db.connection)
    pairs = {}
    for at, group in enumerate(groups):
        for row in rows_of([group], "t"):
            if row["_op"] in (2, 3):
                pairs.setdefault((row["_commit"], row["_ordinal"]), []).append((at, row["_weight"]))
    halves = [found for found in pairs.values() if len(found) == 2]
    assert len(halves) >= 100 and all(a[0] == b[0] and (a[1], b[1]) == (-1, 1) for a, b in halves)
    assert Mirror().apply(groups).tables["t"] == table_of(db.connection, "t")
