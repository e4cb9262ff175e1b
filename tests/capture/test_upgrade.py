"""T-PG-05, major upgrade: pg_upgrade gives the new cluster another system identifier, and copies the slot over (from 17
on). The source stops and says so; a gap accepted then goes on from the copied slot and misses nothing."""

import subprocess

import psycopg
import pytest
from replay import Mirror, read_snapshot, read_to_marker, rejects_of, slot_state
from source_database import Database

from headwater.capture.request import Request
from headwater.errors import PositionLost
from headwater.testing.postgres import PostgresServer, _server_user


def upgrade(old, new):
    """Runs pg_upgrade between two stopped clusters."""
    options = "-c wal_level=logical -c max_replication_slots=20 -c fsync=off"
    programs = str(old.bin)
    command = [f"{programs}/pg_upgrade", "-b", programs, "-B", programs, "-U", "postgres", "-o", options, "-O", options]
    command += ["-d", str(old.folder / "data"), "-D", str(new.folder / "data"), "-s", str(new.folder), "--no-sync"]
    ports = ["-p", str(old.port), "-P", str(new.port)]
    done = subprocess.run([*command, *ports], cwd=new.folder, user=_server_user(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_an_upgraded_server_is_another_cluster_and_the_gap_into_it_is_empty():
    old, new = PostgresServer(), PostgresServer()
    try:
        with psycopg.connect(new.start().url()):
            new.pause()
        db = Database(old.start(), "postgres")
        db.run("CREATE TABLE orders (id int PRIMARY KEY, note text)", "CREATE TABLE marker (id serial PRIMARY KEY)")
        source = db.source(heartbeat_s=0.1)
        reader = db.open(source)
        groups = read_snapshot(reader)
        db.run("INSERT INTO orders SELECT n, 'before' FROM generate_series(1, 20) n")
        groups += read_to_marker(reader, db.connection)
        reader.close()
        db.connection.close()
        old.pause()
        upgrade(old, new)
        db.url = new.start().url()
        db.connect()
        slot = slot_state(db.connection, source.slot)
        assert slot is not None, "pg_upgrade has copied the slot"
        db.run("INSERT INTO orders VALUES (100, 'after')")
        source = db.source(db.url, heartbeat_s=0.1)
        resume = groups[-1].boundary.resume
        with pytest.raises(PositionLost) as caught:
            source.open(resume)
        assert caught.value.cause == "other_cluster" and "pg_upgrade" in caught.value.message
        reader = db.open_decided(source, resume, Request("1", "accept_gap", cause="other_cluster"))
        groups.append(reader.poll(1))
        assert rejects_of(groups[-1:])
        groups += read_to_marker(reader, db.connection)
        here = {key: row["note"] for (key,), row in Mirror().apply(groups).tables["orders"].items()}
        assert here == dict(db.connection.execute("SELECT id, note FROM orders").fetchall())
        reader.close()
        db.close()
    finally:
        old.stop(immediate=True)
        new.stop(immediate=True)
