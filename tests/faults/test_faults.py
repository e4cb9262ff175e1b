"""What a user's bad day looks like: each gives the right clear error or recovers, and nothing is lost."""

import os
import threading
from pathlib import Path

import psycopg
import pytest
from running_project import Bank, wait_until

from headwater.clock import SystemClock
from headwater.testing.postgres import PostgresServer

OUTAGE_S = 10.0


def test_postgres_stopped_for_ten_seconds_is_waited_out(tmp_path):
    with PostgresServer() as server:
        bank = Bank(server.url(), tmp_path / "bank")
        try:
            bank.start()
            bank.wait_caught_up()
            bank.transfer(20)
            bank.connection.close()
            server.pause()
            SystemClock().wait(threading.Event(), OUTAGE_S)
            assert bank.process.poll() is None
            assert bank.status()["sources"][0]["state"] == "waiting"
            server.start()
            bank.connection = psycopg.connect(bank.url, autocommit=True)
            bank.transfer(20)
            bank.wait_caught_up()
            assert bank.events("source.waiting")
            assert bank.stop() == 0
        finally:
            bank.close()


def small_disk(state, megabytes):
    """A command prefix that gives the process after it a disk of its own, of this size, as its state folder."""
    state.mkdir(parents=True, exist_ok=True)
    mount = f'mount -t tmpfs -o size={megabytes}m none "{state}" && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-c", mount, "sh"]


def test_a_full_disk_of_the_state_folder_holds_the_source_back_and_nothing_is_lost(bank):
    bank.start(prefix=small_disk(bank.state, 24))
    wait_until(bank.caught_up, "the lake equals the database")
    filler = Path(f"/proc/{bank.process.pid}/root{bank.state}/filler")
    fill(filler)
    bank.transfer(300)
    wait_until(lambda: bank.events("source.waiting") or bank.events("epochs.waiting"), "the full disk is noticed")
    assert bank.process.poll() is None
    told = (bank.events("source.waiting") + bank.events("epochs.waiting"))[0]
    assert "space" in told["error"].lower() or "full" in told["error"].lower()
    assert "space" in told["hint"] or "room" in told["hint"]
    filler.unlink()
    bank.transfer(5)
    wait_until(bank.caught_up, "the lake equals the database again")
    assert bank.stop() == 0


def fill(path):
    """Writes until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_dropped_slot_stops_with_the_ways_out_and_no_silent_gap(bank):
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    (slot,) = bank.connection.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    ).fetchone()
    bank.connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    bank.transfer(3)
    done = bank.headwater("run", str(bank.folder))
    assert done.returncode == 4, done.stderr
    assert slot in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    slots = bank.connection.execute(
        "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    ).fetchone()
    assert slots == (0,)


def test_a_slot_dropped_while_running_stops_too(bank):
    bank.start()
    bank.wait_caught_up()
    bank.connection.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
    )

    def dropped():
        try:
            bank.connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE database = current_database()"
            )
        except psycopg.errors.ObjectInUse:
            bank.connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
            )
            return False
        return True

    wait_until(dropped, "the slot is dropped")
    assert bank.wait() == 4
    assert "slot" in bank.log()


def test_a_wrong_password_is_said_once_without_the_password(tmp_path):
    with PostgresServer() as server:
        bank = Bank(server.url(), tmp_path / "bank")
        bank.connection.execute("CREATE ROLE capture LOGIN REPLICATION PASSWORD 'right'")
        hba = server.folder / "data" / "pg_hba.conf"
        rules = "host all capture 127.0.0.1/32 scram-sha-256\nhost replication capture 127.0.0.1/32 scram-sha-256\n"
        hba.write_text(rules + hba.read_text())
        bank.connection.execute("SELECT pg_reload_conf()")
        url = server.url().replace("postgres@", "capture:wr0ng-s3cret@")
        try:
            done = bank.headwater("run", str(bank.folder), url=url)
            assert done.returncode == 4, done.stderr
            assert "password" in done.stderr
            assert "wr0ng-s3cret" not in done.stderr + done.stdout
            assert "Traceback" not in done.stderr
            state = b"".join(path.read_bytes() for path in bank.state.rglob("*") if path.is_file())
            assert b"wr0ng-s3cret" not in state
        finally:
            bank.close()


def test_a_missing_table_is_named_with_what_was_meant(bank):
    (bank.folder / "headwater.yml").write_text(
        (bank.folder / "headwater.yml").read_text().replace("[public.*]", "[public.acounts]")
    )
    done = bank.headwater("run", str(bank.folder))
    assert done.returncode == 4, done.stderr
    assert "public.acounts" in done.stderr
    assert "accounts" in done.stderr.replace("acounts", "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("sql", "place", "said"),
    [
        ("SELECT branch,\n  sum(balnce) AS b\nFROM accounts GROUP BY branch", "wrong.sql:2:7", "balance"),
        ("SELECT branch + transfers AS x\nFROM accounts", "wrong.sql:1:17", "transfers"),
        ("SELECT id FROM acounts", "wrong.sql:1:16", "accounts"),
        ("SELECT sum(branch) + 'x'::DATE AS x\nFROM accounts", "wrong.sql:1", "DATE"),
        ("SELECT FROM WHERE", "wrong.sql:1", "syntax"),
    ],
)
def test_a_mistake_in_a_model_is_shown_at_its_place_before_anything_runs(bank, command, sql, place, said):
    (bank.folder / "models" / "wrong.sql").write_text(sql)
    done = bank.headwater(command, str(bank.folder))
    assert done.returncode == 3, done.stderr
    assert place in done.stderr
    assert said.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    landed = {path.name for path in bank.folder.glob("lake/*/*")}
    assert "accounts" not in landed


def test_a_second_interrupt_stops_at_once_and_loses_nothing(bank):
    bank.start()
    bank.wait_caught_up()
    bank.transfer(50)
    bank.process.send_signal(2)
    bank.process.send_signal(2)
    assert bank.wait() in (0, 130)
    bank.start()
    bank.wait_caught_up()


def test_query_status_and_tail_answer_while_running_and_stopped(bank):
    bank.start()
    bank.wait_caught_up()
    for _ in ("running", "stopped"):
        total = bank.headwater("query", "SELECT sum(balance) AS total FROM balances", str(bank.folder))
        assert total.returncode == 0, total.stderr
        assert "1000.00" in total.stdout
        assert bank.headwater("status", str(bank.folder)).returncode == 0
        changes = bank.headwater("tail", "balances", str(bank.folder), "--no-follow", "--json")
        assert changes.stdout.count('"weight": 1') >= 7, changes.stderr
        bank.stop()
    unknown = bank.headwater("query", "SELECT * FROM balnces", str(bank.folder))
    assert unknown.returncode == 3
    assert "did you mean 'balances'" in unknown.stderr


def test_a_table_made_while_stopped_is_taken_in_by_the_next_run(bank):
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    bank.connection.execute("CREATE TABLE branches (id int PRIMARY KEY)")
    bank.connection.execute("INSERT INTO branches SELECT generate_series(1, 7)")
    bank.transfer(3)
    assert "branches" in bank.headwater("plan", str(bank.folder)).stdout
    assert bank.headwater("run", "--once", str(bank.folder)).returncode == 0
    assert sorted(row["id"] for row in bank.rows("branches")) == [1, 2, 3, 4, 5, 6, 7]
    assert bank.caught_up()
    assert "branches" not in bank.headwater("plan", str(bank.folder)).stdout
