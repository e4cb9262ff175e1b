"""Tables read again while their changes are followed, on a real MariaDB: T-SN-01, T-SN-02, T-SN-04."""

import threading
from collections import Counter

import pytest
from mysql_database import MysqlDatabase, read_to_end
from replay import read_snapshot, read_until, rows_of

from headwater.capture.mysql import chunks as chunks_module
from headwater.capture.mysql.chunks import Chunks
from headwater.capture.mysql.packets import Packets
from headwater.capture.request import Request
from headwater.change import Op
from headwater.engine.normalise import Normaliser
from headwater.errors import UserError

T = "CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, n int, s varchar(20))"


class Tables:
    """What streams hold past their normalisers, as multisets of rows."""

    def __init__(self):
        self.normalisers, self.rows = {}, {}

    def apply(self, groups):
        waiting = []
        for group in groups:
            waiting += group.batches
            if group.more:
                continue
            for batch in waiting:
                name = batch.stream.name
                normaliser = self.normalisers.setdefault(name, Normaliser(batch.stream))
                held = self.rows.setdefault(name, Counter())
                for row in normaliser.apply([batch]).to_pylist():
                    weight = row.pop("_weight")
                    held[tuple(row.values())] += weight
            waiting = []
        return self

    def __getitem__(self, name):
        assert all(count >= 0 for count in self.rows[name].values())
        return +self.rows[name]


def held(my, table):
    return Counter(my.run(f"SELECT * FROM {table}"))


def done(reader, groups):
    """Whether nothing that was asked for is left."""
    return bool(groups) and all(one.state in ("done", "stopped") for one in reader.progress())


@pytest.fixture
def small_chunks(my):
    my.settings = {"snapshot_chunk_rows": 300}


@pytest.fixture
def writers(my):
    """Runs statements in a loop until told to stop."""
    stop, threads, failed = threading.Event(), [], []

    def start(*statements):
        def write():
            at = 0
            with my.server.connect(my.name) as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    at += 1
                    for statement in statements:
                        try:
                            cursor.execute(statement.replace(":n", str(at)))
                        except Exception as error:
                            failed.append(error)
                            raise

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    def end():
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []

    start.end = end
    yield start
    end()


def test_a_table_is_read_again_under_writers_and_ends_equal(my, small_chunks, writers):
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_3000")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    writers(
        "UPDATE t SET n = -n WHERE id = :n % 3000",
        "DELETE FROM t WHERE id = (:n * 7) % 3000",
        "INSERT INTO t (n) VALUES (:n)",
        "UPDATE IGNORE t SET id = id + 100000 WHERE id = (:n * 11) % 3000",
    )
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: done(reader, found))
    writers.end()
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")
    ops = [row["_op"] for row in rows_of(groups, "t")]
    assert (ops.count(Op.SNAPSHOT_BEGIN), ops.count(Op.SNAPSHOT_END)) == (2, 1), "it began empty, and was read once"
    (progress,) = reader.progress()
    assert (progress.table, progress.state) == (f"{my.name}.t", "done")
    assert progress.rows == ops.count(Op.READ) > 0
    places = [(row["_commit"], row["_ordinal"], row["_weight"]) for row in rows_of(groups, "t")]
    assert places == sorted(places)


@pytest.mark.parametrize("key", ["id", "s, id"])
def test_a_table_that_grows_faster_than_it_is_read_is_read_to_an_end(my, small_chunks, monkeypatch, key):
    """What is put behind the last key comes by the stream; the reading does not run after it."""
    my.run(f"CREATE TABLE t (id int AUTO_INCREMENT UNIQUE, n int, s varchar(9) DEFAULT 'z', PRIMARY KEY ({key}))")
    my.run("INSERT INTO t (n, s) SELECT seq, concat('k\\'', seq % 5) FROM seq_1_to_1000")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    read, reads = Chunks.read, []

    def grown(chunks, *given):
        assert len(reads) < 20, "it runs after the rows that are added"
        chunk = read(chunks, *given)
        reads.append(my.run("INSERT INTO t (n) SELECT seq FROM seq_1_to_400", "UPDATE t SET n = -n WHERE id % 7 = 0"))
        return chunk

    monkeypatch.setattr(Chunks, "read", grown)
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")
    assert [row["_op"] for row in rows_of(groups, "t")].count(Op.SNAPSHOT_END) == 1


def test_a_stream_that_never_falls_silent_leaves_a_reading_its_turn(my, small_chunks, monkeypatch):
    """Another transaction is there whenever the reader has looked at one: groups come nevertheless, and chunks too."""
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_500")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    reader.ask(Request("one", "snapshot", ("t",)))
    read, changed = Packets.read, []

    def always_more(packets, timeout_s):
        if timeout_s is None:  # a chunk's rows, not the stream
            return read(packets, timeout_s)
        assert len(changed) < 5000, f"{len(groups)} groups"
        changed.append(my.run("UPDATE t SET n = -n WHERE id = 500"))
        return read(packets, 10.0)

    with monkeypatch.context() as busy:
        busy.setattr(Packets, "read", always_more)
        groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
@pytest.mark.parametrize("key", ["id", "s, id"])
def test_rows_that_move_where_the_reading_has_been_or_will_not_come_are_whole(
    my, small_chunks, monkeypatch, key, image
):
    """A table that the log has no rows of is read while keys move, in every round; what is sent of a moved row is its
    keys and what changed."""
    my.run(f"CREATE TABLE other (id int, n int, s varchar(9), c text, PRIMARY KEY ({key}))")
    my.run("INSERT INTO other SELECT seq, seq, concat('k\\'', seq % 2), concat('long ', seq) FROM seq_1_to_1000")
    reader = my.open(my.source(snapshot="schema_only", tables=["*", "!other"]))
    groups = read_snapshot(reader)
    my.run(f"SET binlog_row_image = '{image}'", "RENAME TABLE other TO t")
    read, reads = Chunks.read, []

    def moved(chunks, *given):
        assert len(reads) < 40, "it runs after the rows that move"
        chunk = read(chunks, *given)
        at = len(reads)
        my.run(
            f"UPDATE t SET id = -id WHERE id % 100 = {99 - at} AND id > 0",
            f"UPDATE t SET id = id + 100000, n = {at} WHERE id % 100 = {at} AND id BETWEEN 0 AND 100000",
            f"UPDATE t SET id = -id WHERE id < 0 AND n % 100 = {at}",
            f"DELETE FROM t WHERE id % 1000 = {at}",
        )
        reads.append(at)
        return chunk

    monkeypatch.setattr(Chunks, "read", moved)
    groups += read_until(reader, lambda found: done(reader, found) and len(reads) > 0)
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")
    assert [row["_op"] for row in rows_of(groups, "t")].count(Op.SNAPSHOT_END) == 1


def test_a_snapshot_goes_on_after_a_crash_between_any_two_groups(my, small_chunks, writers):
    my.run("CREATE TABLE p (a varchar(9), b int, v int, PRIMARY KEY (a, b))")
    my.run("INSERT INTO p SELECT concat('k\\'', seq % 7), seq, 0 FROM seq_1_to_1500")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    writers("UPDATE p SET v = :n WHERE b % 100 = :n % 100", "DELETE FROM p WHERE b = :n % 1500")
    reader.ask(Request("one", "snapshot", ("p",)))
    for at in range(40):
        my.run(f"UPDATE p SET v = {at} WHERE b % 10 = {at % 10}")
        groups += read_until(reader, lambda found: bool(found))
        if done(reader, groups):
            break
        reader.close()
        reader = my.open(my.source(snapshot="schema_only"), groups[-1].boundary.resume)
    writers.end()
    reader.ask(Request("one", "snapshot", ("p",)))
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["p"] == held(my, "p")
    assert [row["_op"] for row in rows_of(groups, "p")].count(Op.SNAPSHOT_END) == 1


def test_a_table_without_a_key_is_read_whole_at_one_place(my, writers):
    my.run("CREATE TABLE bag (n int, s varchar(9))", "INSERT INTO bag SELECT seq % 10, 'x' FROM seq_1_to_5000")
    reader = my.open(my.source())
    groups = read_snapshot(reader)
    writers("INSERT INTO bag VALUES (:n % 10, 'y')", "DELETE FROM bag WHERE n = :n % 10 LIMIT 1")
    for at in range(3):
        reader.ask(Request(f"r{at}", "snapshot", ("bag",)))
        groups += read_until(reader, lambda found: done(reader, found))
    writers.end()
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["bag"] == held(my, "bag")


def test_the_initial_snapshot_goes_on_after_a_crash_without_beginning_again(my, small_chunks, writers):
    for name in "abcd":
        my.run(T.replace("TABLE t", f"TABLE {name}"), f"INSERT INTO {name} (n) SELECT seq FROM seq_1_to_1000")
    my.run("CREATE TABLE bag (n int)", "INSERT INTO bag SELECT seq % 5 FROM seq_1_to_1000")
    writers(
        "UPDATE a SET n = :n WHERE id = :n % 1000",
        "UPDATE d SET n = :n WHERE id = :n % 1000",
        "INSERT INTO bag VALUES (:n % 5)",
        "DELETE FROM bag WHERE n = (:n + 1) % 5 LIMIT 1",
    )
    for count in range(1, 6):
        reader = my.open(my.source(snapshot_connections=1))
        groups = [reader.poll(1.0) for _ in range(count)]
        assert all(group.boundary.snapshot for group in groups)
        reader.close()
        reader = my.open(my.source(), groups[-1].boundary.resume)
        groups += read_until(reader, lambda found, now=reader: done(now, found) and not found[-1].boundary.snapshot)
        groups += read_to_end(reader, my)
        ops = Counter(row["_op"] for row in rows_of(groups, "a"))
        assert ops[Op.TRUNCATE] == 0
        tables = Tables().apply(groups)
        reader.close()
    writers.end()
    reader = my.open(my.source(), groups[-1].boundary.resume)
    tables.apply(read_to_end(reader, my))
    for name in ("a", "b", "c", "d", "bag"):
        assert tables[name] == held(my, name)


def test_pause_resume_stop_and_a_condition(my, small_chunks):
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_2000", "CREATE TABLE bag (n int)")
    reader = my.open(my.source(snapshot="schema_only", tables=["*", "!bag"]))
    groups = read_snapshot(reader)
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: bool(found) and reader.progress()[0].rows > 0)
    reader.ask(Request("two", "pause"))
    groups += read_to_end(reader, my)
    (paused,) = reader.progress()
    assert paused.state == "paused"
    assert 0 < paused.rows < 2000
    reader.ask(Request("three", "resume"))
    groups += read_until(reader, lambda found: bool(found))
    reader.ask(Request("four", "stop"))
    groups += read_to_end(reader, my)
    assert [row["_op"] for row in rows_of(groups, "t")].count(Op.SNAPSHOT_END) == 1
    reader.ask(Request("five", "snapshot", ("t",), where="n <= 10"))
    groups = read_until(reader, lambda found: done(reader, found))
    assert sorted(row["n"] for row in rows_of(groups, "t") if row["_op"] == Op.READ) == list(range(1, 11))
    for request in (
        Request("six", "snapshot", ("t",), where="nonsense ("),
        Request("seven", "snapshot", ("bag",)),
        Request("eight", "snapshot", ("unheard_of",)),
    ):
        with pytest.raises(UserError):
            reader.ask(request)


def test_a_table_that_changes_while_it_is_read(my, small_chunks):
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_1500")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: bool(found))
    my.run("ALTER TABLE t ADD COLUMN extra int DEFAULT 5", "UPDATE t SET extra = 6 WHERE id % 2 = 0")
    groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    rows = {row["id"]: row for row in rows_of(groups, "t") if row["id"]}
    assert {row["id"] for row in rows.values() if row["_op"] == Op.READ or row["_weight"] > 0} == set(range(1, 1501))


def test_a_request_is_durable_with_the_next_group(my):
    my.run(T)
    reader = my.open(my.source())
    read_snapshot(reader)
    reader.ask(Request("mine", "snapshot", ("t",)))
    groups = read_until(reader, lambda found: bool(found))
    assert "mine" in groups[0].boundary.resume["snapshots"]
    assert isinstance(my, MysqlDatabase)


def test_an_online_schema_change_ends_with_a_swap_of_tables(my, small_chunks):
    """As gh-ost and pt-online-schema-change do it: a copy is filled beside the table and takes its name at the end."""
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_1000")
    source = {"tables": ["t", "marker"]}
    reader = my.open(my.source(**source))
    groups = read_snapshot(reader)
    my.run(
        "CREATE TABLE _t_new LIKE t",
        "ALTER TABLE _t_new ADD COLUMN extra int DEFAULT 3",
        "INSERT INTO _t_new (id, n, s) SELECT id, n, s FROM t",
        "UPDATE t SET n = n + 1 WHERE id < 50",
        "UPDATE _t_new SET n = n + 1 WHERE id < 50",
        "RENAME TABLE t TO _t_old, _t_new TO t",
        "INSERT INTO t (n, extra) VALUES (5000, 4)",
        "DROP TABLE _t_old",
    )
    groups += read_until(reader, lambda found: any("extra" in row for row in rows_of(found, "t")))
    reader.close()
    reader = my.open(my.source(**source), groups[-1].boundary.resume)
    groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")


def test_the_stream_wins_over_a_chunk_that_is_older(my, monkeypatch):
    """A group that goes beyond the chunk's place: what it changed after that place must not be put back."""
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_100")
    reader = my.open(my.source(snapshot="schema_only"))
    groups = read_snapshot(reader)
    read = Chunks.read

    def between(self, *arguments):
        my.run("UPDATE t SET n = 1000 WHERE id = 1")
        chunk = read(self, *arguments)
        my.run("UPDATE t SET n = 2000 WHERE id = 2", "DELETE FROM t WHERE id = 3", "UPDATE t SET id = 999 WHERE id = 4")
        return chunk

    monkeypatch.setattr(Chunks, "read", between)
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    assert Tables().apply(groups)["t"] == held(my, "t")


@pytest.mark.parametrize("key", [", PRIMARY KEY (id)", ""])
def test_a_place_that_the_stream_has_passed_is_not_read_at(my, monkeypatch, key):
    """A transaction is sent to replicas before it can be seen (long before, where it waits for a semi-synchronous one):
    rows read meanwhile are older than what was handed over."""
    my.run(f"CREATE TABLE t (id int, n int{key})", "INSERT INTO t SELECT seq, seq FROM seq_1_to_100")
    reader = my.open(my.source())
    groups = read_snapshot(reader)
    groups += read_to_end(reader, my)
    chunks = reader._snapshots._chunks
    definition, _ = reader._stream.table(f"{my.name}.t")
    early = [chunks_module.pin(chunks._connect, chunks._server, [chunks_module._entry(definition)], 1, 0)
             for _ in range(3)]  # fmt: skip
    my.run("UPDATE t SET n = -n WHERE id < 50")
    groups += read_to_end(reader, my)
    pin = chunks_module.pin
    monkeypatch.setattr(chunks_module, "pin", lambda *given: early.pop() if early else pin(*given))
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: done(reader, found))
    groups += read_to_end(reader, my)
    assert early == []
    assert Tables().apply(groups)["t"] == held(my, "t")


def test_a_boundary_says_nothing_of_what_was_not_handed_over(my, monkeypatch):
    """Transactions that wait to be packed into a group while a chunk is handed over come after a crash."""
    my.run(T, "INSERT INTO t (n) SELECT seq FROM seq_1_to_100")
    reader = my.open(my.source(snapshot="schema_only"))
    read_snapshot(reader)
    reader.poll(0.2)
    my.run("INSERT INTO t (n) VALUES (77777)")
    reader.ask(Request("one", "snapshot", ("t",), where="id < 10"))
    with monkeypatch.context() as patched:
        patched.setattr("headwater.capture.mysql.stream.Stream._ripe", lambda self: False)
        groups = read_until(reader, lambda found: bool(found))
    reader.close()
    again = my.open(my.source(snapshot="schema_only"), groups[-1].boundary.resume)
    groups += read_to_end(again, my)
    assert 77777 in [row["n"] for row in rows_of(groups, "t")]


def test_a_table_that_changes_just_as_it_is_read_stops_nothing(my, monkeypatch):
    my.run(T, "INSERT INTO t (n, s) VALUES (1, 'one'), (2, 'two')")
    reader = my.open(my.source())
    groups = read_snapshot(reader) + read_to_end(reader, my)
    read, altered = Chunks.read, []

    def alter_first(chunks, *given):
        if not altered:
            altered.append(my.run("ALTER TABLE t DROP COLUMN s"))
        return read(chunks, *given)

    monkeypatch.setattr(Chunks, "read", alter_first)
    reader.ask(Request("one", "snapshot", ("t",)))
    groups += read_until(reader, lambda found: done(reader, found))
    assert altered and [one.state for one in reader.progress()] == ["done"]
    held_ids = {row["id"] for row in rows_of(groups, "t") if row["_op"] == Op.READ}
    assert held_ids == {1, 2}
