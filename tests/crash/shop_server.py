"""A PostgreSQL with a shop for each case, and a second replication slot that keeps the books for the oracle."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from tests.crash.evidence import Fault, judge

from headwater.clock import SystemClock
from headwater.demo import shop
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE, copy_example
from headwater.project import load
from headwater.testing.postgres import PostgresServer

SMALL_CHUNKS = "snapshot_chunk_rows: 25\n    snapshot_connections: 3"
TEMPLATE = "shop_template"
PUBLICATION = "everything"
RELEASE_DEADLINE_S = 90.0
TRAFFIC_LIMIT_S = 900.0
_BEGIN, _ROWS = ord("B"), tuple(b"IUD")

CLERK_FIRST = -1_000_000_000
CLERK_PAUSE_S = 0.02
CLERK_GAP_S = 0.008
"""Between two commits; long enough that a group of changes often ends there."""
_CUSTOMER = "INSERT INTO customers VALUES (%s, %s, 'Clerk', 'Cork', 'IE', '{}', '{}', now())"
_ORDER = "INSERT INTO orders VALUES (%s, %s, 'placed', now(), NULL)"

_PEEK = """
SELECT get_byte(data, 0), CASE WHEN get_byte(data, 0) = %s THEN substring(data FROM 2 FOR 8) END
FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)
"""


class ShopServer:
    """One cluster. See `case.Scene`."""

    everything = "public.*"

    def __init__(self) -> None:
        self._server = PostgresServer()
        self._server.start()
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        self.fill(self._server.url(TEMPLATE))
        with psycopg.connect(self._server.url(TEMPLATE), autocommit=True) as connection:
            connection.execute(f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES".encode())

    def fill(self, url: str) -> None:
        """Makes what every case begins with."""
        shop.create(url, customers=40, products=20, orders=120)

    def open(self, name: str) -> str:
        """Makes a fresh shop in a database `name`, with a slot that remembers all that is written; returns its URL."""
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        with psycopg.connect(self._server.url(name), autocommit=True) as connection:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        return self._server.url(name)

    def written(self, name: str) -> dict[int, int]:
        """What was committed since `open`, by PostgreSQL's own account: rows written, by commit LSN."""
        counts: Counter[int] = Counter()
        commit = 0
        with psycopg.connect(self._server.url(name), autocommit=True) as connection:
            for kind, lsn in connection.execute(_PEEK, (_BEGIN, name, PUBLICATION)):
                if kind == _BEGIN:
                    commit = int.from_bytes(lsn)
                elif kind in _ROWS:
                    counts[commit] += 1
        return dict(counts)

    def prepare(self, folder: Path, settings: str) -> None:
        """The example project, with many chunks in its snapshots: the initial one, and one asked for before the first
        start, which reads every table once more beside the stream."""
        copy_example(folder)
        file = folder / "headwater.yml"
        text = file.read_text(encoding="utf-8").replace("type: postgres", f"type: postgres\n    {SMALL_CHUNKS}", 1)
        file.write_text(text + settings, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Traffic:
        """The shop's and the clerk's."""
        return Traffic(url, rate, seed)

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `evidence.judge`."""
        return judge(load(folder, environment={URL_VARIABLE: url}), url, status, written)

    def drop(self, name: str) -> None:
        """Removes the database with its slots."""
        clock, never = SystemClock(), threading.Event()
        end = clock.monotonic_s() + RELEASE_DEADLINE_S
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            query = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = %s"
            while connection.execute(query, (name,)).fetchall() and clock.monotonic_s() < end:
                clock.wait(never, 0.05)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stops the server and removes its folder."""
        self._server.stop(immediate=True)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            connection.execute(statement)


class Clerk(threading.Thread):
    """Two connections whose transactions overlap and commit one right after the other, as the traffic's never do.

    So a commit record may begin at the very byte at which the one before ends, where a reader's resume point lies.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._clock = SystemClock()
        self._stopping = threading.Event()
        self.complaint = ""

    def run(self) -> None:
        try:
            with psycopg.connect(self._url) as one, psycopg.connect(self._url) as other:
                for customer in itertools.count(CLERK_FIRST, 2):
                    if self._clock.wait(self._stopping, CLERK_PAUSE_S):
                        return
                    self._overlap(one, other, customer)
        except psycopg.Error as error:
            self.complaint = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Ends it between two transactions."""
        self._stopping.set()
        self.join(RELEASE_DEADLINE_S)

    def _overlap(self, one: psycopg.Connection, other: psycopg.Connection, customer: int) -> None:
        """Two new customers, one with an order; the order before goes.

        An order's deferred foreign key writes to the log at its commit, so only the first to commit has one.
        """
        one.execute(_CUSTOMER, (customer, f"{customer}@example.org"))
        other.execute(_CUSTOMER, (customer + 1, f"{customer + 1}@example.org"))
        other.execute(_ORDER, (customer + 1, customer + 1))
        other.execute("DELETE FROM orders WHERE order_id = %s", (customer - 1,))
        other.commit()
        self._clock.wait(self._stopping, CLERK_GAP_S)
        one.commit()


class Traffic:
    """The shop's traffic in its own process, and the clerk's, until `stop`."""

    def __init__(self, url: str, rate: float, seed: int) -> None:
        command = [sys.executable, "-m", "headwater.demo.traffic", url]
        options = ["--rate", str(rate), "--seconds", str(TRAFFIC_LIMIT_S), "--seed", str(seed)]
        self._process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._clerk = Clerk(url)
        self._clerk.start()

    def stop(self) -> str:
        """Ends it; returns what went wrong with it, "" if nothing did."""
        self._clerk.stop()
        self._process.terminate()
        _, said = self._process.communicate(timeout=RELEASE_DEADLINE_S)
        started = self._process.returncode != -15
        return self._clerk.complaint or (said.strip() if started and self._process.returncode else "")

    def kill(self) -> None:
        """Makes sure that it is gone."""
        self._clerk.stop()
        self._process.kill()
        self._process.communicate()
