"""T-PG-12: networks that are slow, cut, half-open or cut in mid-message. What is read at last equals the source, each
change once and in order; and nothing hangs.

`HEADWATER_FAULT_RUNS` says how many random walks of eight faults there are (5 in the suite, which makes 51 faults with
the single ones; `make faults SIZE=night` more).
"""

import os
import random
import threading
import time

import pytest
from replay import Mirror, positions, read_snapshot, rows_of, slot_state
from source_database import make_database

from headwater.errors import SourceUnavailable
from headwater.testing.postgres import PostgresServer
from headwater.testing.proxy import Proxy

WALKS = max(5, int(os.environ.get("HEADWATER_FAULT_RUNS", "1")))
STEPS = 8
DEADLINE_S = 90.0
SETTINGS = {"heartbeat_s": 0.3, "silence_timeout_s": 4.0, "query_timeout_s": 5.0, "connect_timeout_s": 5}


@pytest.fixture(scope="module")
def near():
    """A server that gives a silent reader up after five seconds."""
    with PostgresServer(settings={"wal_sender_timeout": "5s"}) as running:
        yield running


@pytest.fixture
def link(near):
    """A database behind a proxy."""
    database = make_database(near)
    with Proxy(near.port) as proxy:
        database.proxy = proxy
        yield database
        proxy.thaw()
        database.drop()


class Follower:
    """Reads as the runtime does: what was read is kept, an unavailable source is opened again where that ends."""

    def __init__(self, db):
        self.db = db
        self.source = db.source(db.url.replace(f":{db.server.port}/", f":{db.proxy.port}/"), **SETTINGS)
        self.reader = db.open(self.source)
        self.groups = read_snapshot(self.reader)
        self.failures = []

    def follow(self, done):
        """Reads until `done()`; it must be so before the deadline, whatever fails."""
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, f"not done; failed with {self.failures[-3:]}"
            try:
                self.reader = self.reader or self.db.open(self.source, self.groups[-1].boundary.resume)
                group = self.reader.poll(0.1)
                if group is not None:
                    self.groups.append(group)
                    self.reader.confirm(group.boundary)
            except SourceUnavailable as error:
                self.failures.append(error.message)
                if self.reader is not None:
                    self.reader.close()
                self.reader = None

    def follow_to_marker(self):
        """Reads up to a row that is put into `marker` now."""
        number = self.db.connection.execute("INSERT INTO marker DEFAULT VALUES RETURNING id").fetchone()[0]
        seen = len(self.groups)
        self.follow(lambda: any(row["id"] == number for row in rows_of(self.groups[seen:], "marker")))

    def check(self):
        """Everything is here, once, in order."""
        found = positions(self.groups)
        assert len(found) == len(set(found))
        for stream in ("orders", "marker"):
            places = [(row["_commit"], row["_ordinal"]) for row in rows_of(self.groups, stream)]
            assert places == sorted(places)
        here = {key: row["note"] for (key,), row in Mirror().apply(self.groups).tables["orders"].items()}
        assert here == dict(self.db.connection.execute("SELECT id, note FROM orders").fetchall())


@pytest.fixture
def follower(link):
    link.run("CREATE TABLE orders (id int PRIMARY KEY, note text)", "CREATE TABLE marker (id serial PRIMARY KEY)")
    link.run("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 200) n")
    follower = Follower(link)
    follower.follow_to_marker()
    return follower


def write(db, seed=0):
    """Some transactions, one of them larger than what sockets hold."""
    db.run(f"UPDATE orders SET note = 'note {seed} ' || id WHERE id % 3 = {seed % 3}")
    db.run(f"INSERT INTO orders SELECT max(id) + 1, repeat('x', 300000) FROM orders HAVING {seed} % 2 = 0")


def test_latency(follower):
    follower.db.proxy.latency(0.2)
    write(follower.db)
    follower.follow_to_marker()
    assert not follower.failures, "what is slow is not dead"
    follower.check()


def test_down_and_up(follower):
    proxy = follower.db.proxy
    proxy.down()
    write(follower.db)
    follower.follow(lambda: len(follower.failures) >= 2)
    proxy.up()
    follower.follow_to_marker()
    follower.check()


_NOTICED = "has not said a word", "timeout expired", "does not answer", "looking for new tables"
"""Whoever waits for an answer first."""


def test_half_open_is_noticed_and_the_servers_end_too(follower):
    """Nothing comes through and neither end is told: we must notice by ourselves, and so does the server."""
    proxy, slot = follower.db.proxy, follower.source.slot
    proxy.freeze()
    write(follower.db)
    follower.follow(lambda: follower.failures)
    assert any(sign in follower.failures[0] for sign in _NOTICED)
    follower.follow(lambda: not slot_state(follower.db.connection, slot)["active"])
    proxy.thaw()
    follower.follow_to_marker()
    follower.check()


def test_the_server_gives_us_up(follower):
    """wal_sender_timeout: the server ends the connection while our end is held up and knows nothing."""
    slot, deadline = follower.source.slot, time.monotonic() + DEADLINE_S
    follower.db.proxy.freeze()
    write(follower.db)
    while slot_state(follower.db.connection, slot)["active"]:
        assert time.monotonic() < deadline
    follower.db.proxy.thaw()
    follower.follow_to_marker()
    assert follower.failures
    follower.check()


def test_reset(follower):
    follower.db.proxy.reset()
    write(follower.db)
    follower.follow_to_marker()
    assert follower.failures
    follower.check()


@pytest.mark.parametrize("count", [1, 40, 5_000, 200_000])
def test_reset_in_mid_message(follower, count):
    follower.db.proxy.reset_after(count)
    write(follower.db)
    follower.follow_to_marker()
    assert follower.failures
    follower.check()


def test_slow_close(follower):
    proxy, slot = follower.db.proxy, follower.source.slot
    proxy.slow_close(0.7)
    write(follower.db)
    pid = slot_state(follower.db.connection, slot)["active_pid"]
    follower.db.run(f"SELECT pg_terminate_backend({pid})")
    follower.follow_to_marker()
    assert follower.failures
    follower.check()


@pytest.mark.parametrize("seed", range(WALKS))
def test_any_faults_in_any_order(follower, seed):
    """Faults come from a thread of their own, so that they hit opening, asking and starting as well as streaming."""
    chance, proxy, ended = random.Random(seed), follower.db.proxy, threading.Event()

    def fault():
        for _ in range(STEPS):
            action = chance.choice(["latency", "down", "freeze", "reset", "reset_after"])
            pause = chance.uniform(0.05, 0.6)
            if action == "latency":
                proxy.latency(chance.uniform(0, 0.1))
            elif action == "reset":
                proxy.reset()
            elif action == "reset_after":
                proxy.reset_after(chance.randrange(50_000))
            else:
                getattr(proxy, action)()
            ended.wait(pause)
            proxy.up()
            proxy.thaw()
        proxy.latency(0)
        ended.set()

    thread = threading.Thread(target=fault)
    thread.start()
    number = iter(range(1, 1_000_000))

    def written():
        write(follower.db, next(number))
        return ended.is_set()

    follower.follow(written)
    thread.join()
    follower.follow_to_marker()
    assert follower.failures, f"seed {seed} hit nothing"
    follower.check()
