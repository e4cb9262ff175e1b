"""T-PG-04: the captured database is idle, its neighbour in the cluster is busy, and the role may write nothing: the
server may let go of its log all the same.

`HEADWATER_SIZE` says how much the neighbour writes (`make faults SIZE=night`).
"""

import os
import time

import psycopg
import pytest
from replay import DEADLINE_S, read_snapshot, slot_state
from source_database import make_database

from headwater.capture.postgres.lsn import parse_lsn
from headwater.testing.postgres import PostgresServer

NEIGHBOUR_MB = {"pr": 200, "night": 20_000, "release": 200_000}[os.environ.get("HEADWATER_SIZE", "pr")]
LEAST_KEPT = 64 * 2**20
KEPT = (
    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name = %s"
)


@pytest.fixture(scope="module")
def cluster():
    with PostgresServer(settings={"max_wal_size": "48MB", "min_wal_size": "32MB"}) as running:
        yield running


@pytest.fixture
def idle(cluster):
    database = make_database(cluster)
    database.run("CREATE TABLE orders (id int PRIMARY KEY)", "CREATE ROLE reads LOGIN REPLICATION")
    database.run(
        "GRANT SELECT ON orders TO reads", f"CREATE PUBLICATION headwater_{database.name}_shop FOR TABLE orders"
    )
    yield database
    database.run("DROP OWNED BY reads")
    database.drop()


def test_the_log_is_let_go_of(cluster, idle):
    source = idle.source(idle.url.replace("postgres@", "reads@"), heartbeat_s=0.1)
    reader = idle.open(source)
    read_snapshot(reader)
    watcher, resume, confirmed, deadline = source.watcher(), None, [], None
    with psycopg.connect(cluster.url(), autocommit=True) as neighbour:
        neighbour.execute("CREATE TABLE IF NOT EXISTS busy (x text); ALTER TABLE busy ALTER x SET STORAGE EXTERNAL")
        for written in range(NEIGHBOUR_MB + 1):
            neighbour.execute("INSERT INTO busy SELECT repeat('x', 500000) FROM generate_series(1, 2)")
            neighbour.execute("TRUNCATE busy") if written % 50 == 0 else None
            resume = poll(reader, confirmed) or resume
        deadline = time.monotonic() + DEADLINE_S
        while kept(idle, source) > LEAST_KEPT:
            assert time.monotonic() < deadline, f"{kept(idle, source):,} bytes are kept for an idle database"
            resume = poll(reader, confirmed) or resume
            neighbour.execute("CHECKPOINT")
    assert confirmed == sorted(confirmed), "what was confirmed never goes back"
    written = parse_lsn(slot_state(idle.connection, source.slot)["restart_lsn"])
    assert written > NEIGHBOUR_MB * 2**20 / 2
    figures = watcher.look(resume).figures
    assert 0 <= figures["wal_kept_bytes"] <= LEAST_KEPT and figures["wal_status"] == "reserved"
    watcher.close()


def kept(db, source):
    return db.connection.execute(KEPT, (source.slot,)).fetchone()[0]


def poll(reader, confirmed):
    """One turn of the runtime's loop; the resume point, if it moved."""
    group = reader.poll(0.005)
    if group is None:
        return None
    assert len(group) == 0, "heartbeats only"
    reader.confirm(group.boundary)
    confirmed.append(parse_lsn(group.boundary.resume["lsn"]))
    return group.boundary.resume
