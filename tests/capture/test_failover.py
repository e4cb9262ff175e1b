"""T-PG-11: the primary dies and a standby takes over: with a slot that was copied to it, without one, and with
transactions in our log that the standby never had.

`HEADWATER_FAULT_RUNS` repeats each (1 in the suite; `make faults SIZE=night` more).
"""

import os
import time

import psycopg
import pytest
from replay import DEADLINE_S, Mirror, read_snapshot, read_to_marker, rejects_of, rows_of
from source_database import Database

from headwater.capture.gap import read_gap
from headwater.capture.request import Request
from headwater.errors import PositionLost
from headwater.testing.postgres import PostgresServer

RUNS = int(os.environ.get("HEADWATER_FAULT_RUNS", "1"))
run = pytest.mark.parametrize("run", range(RUNS))
TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    "CREATE TABLE marker (id serial PRIMARY KEY)",
    "INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 50) n",
)


class Pair:
    """A primary, its standby, and a source that reads from whichever is the primary."""

    def __init__(self, **settings):
        self.primary = PostgresServer().start()
        self.standby = self.primary.standby().start()
        self.db = Database(self.primary, "postgres")
        self.db.run(*TABLES)
        self.settings = settings
        self.reader = self.db.open(self.source())
        self.groups = read_snapshot(self.reader)
        self.follow()

    def source(self):
        return self.db.source(self.db.url, heartbeat_s=0.1, **self.settings)

    @property
    def resume(self):
        return self.groups[-1].boundary.resume

    def follow(self):
        self.groups += read_to_marker(self.reader, self.db.connection)

    def write(self, first, last):
        self.db.run(f"INSERT INTO orders SELECT n, 'later' FROM generate_series({first}, {last}) n")

    def await_standby(self):
        """Waits until the standby has everything."""
        (lsn,) = self.db.connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        with psycopg.connect(self.standby.url(), autocommit=True) as there:
            until(lambda: there.execute("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,)).fetchone()[0])

    def await_copied_slot(self):
        """Waits until our slot is at the standby for good, for which ours must move on."""
        slot = self.source().slot
        with psycopg.connect(self.standby.url(), autocommit=True) as there:

            def copied():
                self.db.run("SELECT pg_log_standby_snapshot()")
                self.follow()
                query = "SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = %s"
                return there.execute(query, (slot,)).fetchone() == (True,)

            until(copied)

    def fail_over(self):
        """The primary is gone, the standby is the primary."""
        self.reader.close()
        self.db.connection.close()
        self.primary.pause(immediate=True)
        with psycopg.connect(self.standby.url(), autocommit=True) as there:
            there.execute("SELECT pg_promote()")
        self.db.url = self.standby.url()
        self.db.connect()

    def check(self):
        """The tables of the new primary are what was read."""
        here = {key: row["note"] for (key,), row in Mirror().apply(self.groups).tables["orders"].items()}
        assert here == dict(self.db.connection.execute("SELECT id, note FROM orders").fetchall())

    def close(self):
        self.db.close()
        self.standby.stop(immediate=True)
        self.primary.stop(immediate=True)


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline


@pytest.fixture
def make():
    pairs = []

    def made(**settings):
        pairs.append(Pair(**settings))
        return pairs[-1]

    yield made
    for pair in pairs:
        pair.close()


@run
def test_a_slot_that_was_copied_goes_on_without_loss(make, run):
    pair = make(failover=True)
    pair.db.run("ALTER SYSTEM SET synchronized_standby_slots = 'standby'", "SELECT pg_reload_conf()")
    pair.await_copied_slot()
    pair.write(100, 150)
    pair.await_standby()
    pair.fail_over()
    pair.write(200, 250)
    pair.reader = pair.db.open(pair.source(), pair.resume)
    pair.follow()
    pair.check()
    assert pair.resume["timeline"] == 2
    pair.reader.close()
    pair.db.open(pair.source(), pair.resume).close()


@run
def test_without_a_copied_slot_the_loss_is_named_and_a_snapshot_mends_it(make, run):
    pair = make()
    pair.write(100, 150)
    pair.await_standby()
    pair.fail_over()
    pair.write(200, 250)
    with pytest.raises(PositionLost) as caught:
        pair.source().open(pair.resume)
    assert caught.value.cause == "slot_missing" and "headwater source resnapshot" in caught.value.hint
    pair.reader = pair.db.open_decided(pair.source(), pair.resume, Request("1", "resnapshot"))
    pair.groups += read_snapshot(pair.reader)
    pair.follow()
    pair.check()


@run
@pytest.mark.parametrize("failover", [True, False], ids=["copied", "no copy"])
def test_transactions_that_the_standby_never_had_are_told(make, failover, run):
    """The standby is behind when the primary dies: what our log has beyond never happened on the new primary, even
    when its own log has grown past ours since."""
    pair = make(failover=failover)
    if failover:
        pair.await_copied_slot()
    pair.await_standby()
    pair.standby.pause()
    pair.write(100, 110)
    pair.follow()
    pair.reader.close()
    pair.primary.pause(immediate=True)
    pair.standby.start()
    pair.fail_over()
    for first in range(1000, 6000, 1000):
        pair.write(first, first + 999)
    with pytest.raises(PositionLost) as caught:
        pair.source().open(pair.resume)
    error = caught.value
    assert error.cause == "history_diverged" and error.until and "never" not in error.until
    reader = pair.db.open_decided(pair.source(), pair.resume, Request("1", "accept_gap", cause="history_diverged"))
    first = reader.poll(1)
    assert read_gap(rejects_of([first])[0]["record"]).since == pair.resume["lsn"]
    reader.confirm(first.boundary)
    pair.groups.append(first)
    pair.reader = reader
    pair.write(9000, 9001)
    pair.follow()
    ids = {row["id"] for row in rows_of(pair.groups, "orders")}
    assert ids >= {9000, 9001} and (not failover or ids >= {1000, 5999})
    assert 105 in ids, "the rows that the new primary lacks stay until a snapshot takes them back"


def test_a_standby_is_refused_with_the_reason(make):
    pair = make()
    pair.await_standby()
    source = pair.db.source(pair.standby.url())
    with pytest.raises(Exception, match="standby") as caught:
        source.check()
    assert "target_session_attrs" in caught.value.hint
