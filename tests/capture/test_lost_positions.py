"""T-PG-05: whatever becomes of a position while we are away or reading, the source stops with the named cause, and
both ways out lead on: a snapshot after which all is equal, or a gap that the ledger holds.

`HEADWATER_FAULT_RUNS` repeats each case (1 in the suite; `make faults SIZE=night` more).
"""

import json
import os
import time

import pytest
from replay import DEADLINE_S, Mirror, read_changes, read_snapshot, read_to_marker, rejects_of, rows_of, slot_state
from source_database import make_database

from headwater.capture.gap import read_gap
from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.postgres.resume import lsn_of
from headwater.capture.request import Request
from headwater.errors import PositionLost, SourceStopped, SourceUnavailable
from headwater.testing import debian
from headwater.testing.postgres import PostgresServer

RUNS = int(os.environ.get("HEADWATER_FAULT_RUNS", "1"))
TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    "CREATE TABLE marker (id serial PRIMARY KEY)",
    "INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 5) n",
)


@pytest.fixture(scope="module", params=["18", "15"])
def server(request):
    """The wheel's server and Debian's: they differ in what becomes of changes while there is no publication."""
    programs = debian.ensure(debian.POSTGRES_15) if request.param == "15" else None
    with PostgresServer(programs=programs) as running:
        yield running


def captured(db, **settings):
    """A source that has read its snapshot and some changes, and where the log ends."""
    db.run(*TABLES)
    source = db.source(**settings)
    reader = db.open(source)
    groups = read_snapshot(reader)
    db.run("UPDATE orders SET note = 'second' WHERE id < 3")
    groups += read_changes(reader, 2)
    reader.close()
    await_free(db, source.slot)
    return source, groups


def await_free(db, slot):
    """Waits until the server has missed our reader."""
    deadline = time.monotonic() + DEADLINE_S
    while slot_state(db.connection, slot)["active"]:
        assert time.monotonic() < deadline


def dropped(db, source):
    db.run(f"SELECT pg_drop_replication_slot('{source.slot}')")
    db.run("INSERT INTO orders VALUES (10, 'lost')")


def recreated(db, source):
    dropped(db, source)
    db.run(f"SELECT pg_create_logical_replication_slot('{source.slot}', 'pgoutput')")


def advanced(db, source):
    db.run("INSERT INTO orders VALUES (10, 'lost')")
    db.run(f"SELECT pg_replication_slot_advance('{source.slot}', pg_current_wal_lsn())")


def read_by_somebody(db, source):
    db.run("INSERT INTO orders VALUES (10, 'lost')")
    db.run(
        f"SELECT count(*) FROM pg_logical_slot_get_binary_changes('{source.slot}', NULL, NULL, 'proto_version', '1',"
        f" 'publication_names', '{source.publication}')"
    )


def publication_remade(db, source):
    db.run(f"DROP PUBLICATION {source.publication}", "INSERT INTO orders VALUES (10, 'lost')")
    db.run(f"CREATE PUBLICATION {source.publication} FOR TABLE orders, marker")


def publication_gone(db, source):
    db.run(f"DROP PUBLICATION {source.publication}", "INSERT INTO orders VALUES (10, 'lost')")


def publication_altered_and_back(db, source):
    db.run(f"ALTER PUBLICATION {source.publication} SET (publish = 'delete')")
    db.run("INSERT INTO orders VALUES (10, 'lost')")
    db.run(f"ALTER PUBLICATION {source.publication} SET (publish = 'insert, update, delete, truncate')")


def table_taken_out_and_put_back(db, source):
    db.run(f"ALTER PUBLICATION {source.publication} DROP TABLE orders", "INSERT INTO orders VALUES (10, 'lost')")
    db.run(f"ALTER PUBLICATION {source.publication} ADD TABLE orders")


def table_taken_out(db, source):
    db.run(f"ALTER PUBLICATION {source.publication} DROP TABLE orders", "INSERT INTO orders VALUES (10, 'lost')")


CASES = {
    dropped: "slot_missing",
    recreated: "slot_ahead",
    advanced: "slot_ahead",
    read_by_somebody: "slot_ahead",
    publication_remade: "publication_remade",
    publication_gone: "publication_missing",
    publication_altered_and_back: "publication_remade",
    table_taken_out_and_put_back: "table_unpublished",
    table_taken_out: "table_unpublished",
}
case = pytest.mark.parametrize(("fault", "cause"), CASES.items(), ids=[fault.__name__ for fault in CASES])
run = pytest.mark.parametrize("run", range(RUNS))


def lost_at(source, resume, cause):
    """What opening says: never a reader."""
    with pytest.raises(PositionLost) as caught:
        source.open(resume)
    error = caught.value
    assert error.cause == cause
    assert "headwater source resnapshot shop" in error.hint and "headwater source accept-gap shop" in error.hint
    assert error.since == resume["lsn"]
    return error


def expected(db):
    return dict(db.connection.execute("SELECT id, note FROM orders").fetchall())


def held(mirror):
    return {key: row["note"] for (key,), row in mirror.tables["orders"].items()}


@run
@case
def test_stops_with_the_cause_and_a_snapshot_makes_all_equal(db, fault, cause, run):
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    fault(db, source)
    lost_at(source, resume, cause)
    reader = db.open_decided(source, resume, Request("0001", "resnapshot"))
    groups += read_snapshot(reader)
    db.run("INSERT INTO orders VALUES (11, 'after')")
    groups += read_to_marker(reader, db.connection)
    assert held(Mirror().apply(groups)) == expected(db)
    assert groups[-1].boundary.resume["decided"] == "0001"
    reader.close()
    db.open(source, groups[-1].boundary.resume)


@run
@case
def test_stops_with_the_cause_and_an_accepted_gap_is_in_the_group_that_moves_on(db, fault, cause, run):
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    fault(db, source)
    error = lost_at(source, resume, cause)
    reader = db.open_decided(source, resume, Request("0002", "accept_gap", cause=cause, reason="a test"))
    first = reader.poll(1)
    (entry,) = rejects_of([first])
    gap = read_gap(entry["record"])
    assert entry["stage"] == "gap" and entry["stream"] == "source:shop" and entry["reason"] == cause
    assert (gap.since, gap.cause, gap.decision, gap.reason) == (resume["lsn"], cause, "0002", "a test")
    assert gap.until and gap.message == error.message
    reader.confirm(first.boundary)
    db.run("INSERT INTO orders VALUES (11, 'after')")
    groups += [first, *read_to_marker(reader, db.connection)]
    missing = expected(db).items() - held(Mirror().apply(groups)).items()
    assert missing == {(10, "lost")}
    reader.close()
    db.open(source, groups[-1].boundary.resume)


def test_a_gap_is_accepted_for_one_cause_only(db):
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    dropped(db, source)
    with pytest.raises(PositionLost):
        source.open(resume, Request("1", "accept_gap", cause="slot_ahead"))
    assert slot_state(db.connection, source.slot) is None


def test_nothing_is_lost_by_accepting_a_gap_that_is_none(db):
    source, groups = captured(db)
    db.run("INSERT INTO orders VALUES (10, 'kept')")
    reader = db.open_decided(source, groups[-1].boundary.resume, Request("1", "accept_gap"))
    assert [row["id"] for row in rows_of(read_changes(reader, 1), "orders")] == [10]


def test_the_slot_moves_while_the_stream_is_started(db, monkeypatch):
    """Between the look at the slot and the start of the stream somebody reads from it: version 15 and newer begin
    silently where the slot stands, so that only a look afterwards can see it."""
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    before = type(source)._stream

    def moved_first(self, *arguments):
        advanced(db, source)
        return before(self, *arguments)

    monkeypatch.setattr(type(source), "_stream", moved_first)
    assert lost_at(source, resume, "slot_ahead").until


def test_a_publication_that_goes_while_reading_is_seen_from_the_side(db):
    source, groups = captured(db, heartbeat_s=0.2)
    resume = groups[-1].boundary.resume
    reader = db.open(source, resume)
    watcher = source.watcher()
    assert watcher.look(resume).stop is None
    publication_remade(db, source)
    stop = watcher.look(resume).stop
    assert isinstance(stop, PositionLost) and stop.cause == "publication_remade"
    watcher.close()
    reader.close()
    lost_at(source, resume, "publication_remade")


def test_a_slot_that_another_process_reads_is_waited_for_and_named(db, monkeypatch):
    monkeypatch.setattr("headwater.capture.postgres.source.SLOT_FREE_WAIT_S", 0.2)
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    other = db.open(source, resume)
    with pytest.raises(SourceUnavailable, match="read by another process, pid") as caught:
        source.open(resume)
    assert "pg_terminate_backend" in caught.value.hint
    other.close()
    db.open(source, resume)


def test_an_older_copy_of_the_server(db):
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    lost_at(source, {**resume, "lsn": lsn_text(lsn_of(resume) + (1 << 40))}, "server_behind")
    lost_at(source, {**resume, "restart": "F/0"}, "slot_older")


def test_another_cluster_and_a_gap_into_it(db, server):
    """As after pg_upgrade, a dump and restore, or a url that leads elsewhere: LSNs of two clusters say nothing of each
    other, so how much is lost is not told, and the tables are known by their names."""
    source, groups = captured(db)
    resume = {**groups[-1].boundary.resume, "system": "1", "lsn": "7/0"}
    resume["tables"] = json.dumps({name: oid + 1000 for name, oid in json.loads(resume["tables"]).items()})
    error = lost_at(source, resume, "other_cluster")
    assert error.lost_bytes is None and "pg_upgrade" in error.message
    reader = db.open_decided(source, resume, Request("1", "accept_gap"))
    first = reader.poll(1)
    assert read_gap(rejects_of([first])[0]["record"]).lost_bytes is None
    db.run("INSERT INTO orders VALUES (11, 'after')")
    assert 11 in [row["id"] for row in rows_of(read_to_marker(reader, db.connection), "orders")]
    reader.close()
    mirror = Mirror().apply(read_snapshot(db.open_decided(source, resume, Request("2", "resnapshot"))))
    assert held(mirror) == expected(db)


def test_a_slot_is_copied_once_that_is_wanted(db):
    source, groups = captured(db)
    resume = groups[-1].boundary.resume
    wanted = db.source(failover=True)
    if db.connection.info.server_version < 170000:
        with pytest.raises(SourceStopped, match="needs PostgreSQL 17"):
            wanted.open(resume)
        return
    assert not slot_state(db.connection, source.slot)["failover"]
    db.open(wanted, resume)
    assert slot_state(db.connection, source.slot)["failover"]


def test_a_budget_that_is_passed_is_an_alarm(db):
    source, groups = captured(db, wal_budget="1 kB")
    watcher = source.watcher()
    db.run("UPDATE orders SET note = repeat('x', 10000)", "SELECT pg_switch_wal()")
    health = watcher.look(groups[-1].boundary.resume)
    assert [alarm.code for alarm in health.alarms] == ["wal_budget"] and health.stop is None
    assert health.figures["wal_kept_bytes"] > health.figures["wal_budget_bytes"] == 1000
    watcher.close()


def test_a_budget_that_stops_lets_the_server_go(db):
    source, groups = captured(db, wal_budget="1 kB", on_wal_budget="stop")
    resume = groups[-1].boundary.resume
    reader = db.open(source, resume)
    watcher = source.watcher()
    db.run("UPDATE orders SET note = repeat('x', 10000)", "SELECT pg_switch_wal()")
    stop = watcher.look(resume).stop
    assert isinstance(stop, PositionLost) and stop.cause == "wal_budget" and "on_wal_budget: stop" in stop.message
    assert slot_state(db.connection, source.slot) is None
    with pytest.raises(SourceUnavailable):
        read_changes(reader, 1000)
    watcher.close()
    reader.close()
    lost_at(source, resume, "slot_missing")


INVALIDATED = {
    "wal_removed": {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"},
    "idle_timeout": {"idle_replication_slot_timeout": "1s"},
}


@pytest.mark.parametrize(("reason", "settings"), INVALIDATED.items(), ids=list(INVALIDATED))
def test_a_slot_that_the_server_gave_up(reason, settings):
    with PostgresServer(settings=settings) as server:
        db = make_database(server)
        source, groups = captured(db)
        resume = groups[-1].boundary.resume
        db.run("INSERT INTO orders VALUES (10, 'lost')")
        await_invalidated(db, source.slot)
        error = lost_at(source, resume, "slot_invalidated")
        assert f"({reason})" in error.message and ("max_slot_wal_keep_size" if reason == "wal_removed" else "idle") in (
            error.hint
        )
        reader = db.open_decided(source, resume, Request("1", "accept_gap"))
        assert rejects_of([reader.poll(1)])
        db.run("INSERT INTO orders VALUES (11, 'after')")
        assert [row["id"] for row in rows_of(read_to_marker(reader, db.connection), "orders")] == [11]
        db.close()


def await_invalidated(db, slot):
    """Makes the server look at its slots until it has given this one up; each turn is a segment of its log."""
    for _ in range(60):
        if slot_state(db.connection, slot)["wal_status"] == "lost":
            return
        db.run("SELECT pg_switch_wal()", "INSERT INTO marker DEFAULT VALUES", "CHECKPOINT", "SELECT pg_sleep(0.1)")
    raise AssertionError(slot_state(db.connection, slot))
