"""The traffic generator against a real server: what it says it wrote is what the server saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from headwater.clock import SystemClock
from headwater.demo import shop
from headwater.demo.purchases import PAYMENT_JITTER_US, Purchases, Shelf
from headwater.demo.traffic import Tally, carry_out, run

COUNTERS = """
CREATE TABLE counted (verb text, id bigserial);
CREATE FUNCTION count_row() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO counted (verb) VALUES (lower(TG_OP)); RETURN NULL; END $$;
"""


def count_with_triggers(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(COUNTERS)
        for table in shop.TABLES:
            connection.execute(
                f"CREATE TRIGGER counting AFTER INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION count_row()".encode()
            )


def counted(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT verb, count(*) FROM counted GROUP BY verb").fetchall())


def test_counts_match_what_triggers_saw(shop_url: str) -> None:
    count_with_triggers(shop_url)
    tally = Tally()
    with psycopg.connect(shop_url, autocommit=True) as connection:
        purchases = Purchases(Shelf.read(connection), SystemClock(), seed=7)
        for _ in range(8):
            carry_out(connection, [purchases.next() for _ in range(50)], tally)
    assert tally.transactions + tally.rolled_back == 400
    assert dict(tally.rows) == counted(shop_url)
    assert set(tally.kinds) >= {"order", "payment", "shipment", "address", "price", "cancellation", "key change"}
    assert tally.rolled_back > 0


def test_event_times_stay_within_the_watermark_delay(shop_url: str) -> None:
    with psycopg.connect(shop_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE arrivals (n bigserial, paid_at timestamptz)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO arrivals (paid_at) VALUES (NEW.paid_at); RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER noting AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION note()")
        purchases = Purchases(Shelf.read(connection), SystemClock(), seed=3)
        for _ in range(10):
            carry_out(connection, [purchases.next() for _ in range(30)], Tally())
        lateness = connection.execute(
            "SELECT max(seen - paid_at), count(*) FROM (SELECT paid_at, max(paid_at) OVER (ORDER BY n) AS seen"
            " FROM arrivals) AS ordered"
        ).fetchone()
    assert lateness is not None and lateness[1] > 20
    assert 0 < lateness[0].total_seconds() <= PAYMENT_JITTER_US / 1e6


def test_a_second_run_goes_on_where_the_first_ended(shop_url: str) -> None:
    for _ in range(2):
        report = run(
            shop_url, rate=300, seconds=0.5, seed=1, stop=threading.Event(), stop_file=None, clock=SystemClock()
        )
        assert isinstance(report["transactions"], int) and report["transactions"] > 0


def process(url: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "headwater.demo.traffic", url, "--rate", "100", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_traffic(url: str) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM orders").fetchone()
            if row is not None and row[0] > 125:
                return
    raise AssertionError("no traffic came")


@pytest.mark.parametrize("how", ["SIGTERM", "stop file"])
def test_it_ends_gracefully_when_told(shop_url: str, tmp_path: Path, how: str) -> None:
    stop_file = tmp_path / "stop"
    traffic = process(shop_url, "--seconds", "60", "--stop-file", str(stop_file))
    wait_for_traffic(shop_url)
    if how == "SIGTERM":
        os.kill(traffic.pid, signal.SIGTERM)
    else:
        stop_file.touch()
    output, _ = traffic.communicate(timeout=60)
    assert traffic.returncode == 0
    report = json.loads(output)
    assert report["transactions"] > 0
    assert report["rows"]["insert"] > 0


def test_a_lost_database_is_an_error_in_a_sentence(database: str) -> None:
    url = database.rpartition("/")[0] + "/nowhere"
    done = subprocess.run(
        [sys.executable, "-m", "headwater.demo.traffic", url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "went away" in done.stderr
    assert "Traceback" not in done.stderr
