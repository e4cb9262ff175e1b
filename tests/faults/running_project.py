"""A project under `headwater run` in a process of its own, against a real PostgreSQL, with faults at will."""

import json
import os
import signal
import subprocess
import sys
import threading

import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from sqlalchemy.exc import OperationalError

from headwater.clock import SystemClock

DEADLINE_S = 90.0

PROJECT = """
name: bank
sources:
  bank:
    type: postgres
    url: ${BANK_URL}
    tables: [%s]
run: {epoch_interval: 50 ms, checkpoint_interval: 300 ms}
"""
BALANCES = (
    "/*\nkey: [branch]\n*/\nSELECT branch, sum(balance) AS balance, count(*) AS accounts FROM accounts GROUP BY branch"
)


def wait_until(condition, what):
    """Waits for `condition`, which may fail as long as what it looks at is not there yet."""
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic_s() + DEADLINE_S
    while clock.monotonic_s() < end:
        try:
            if condition():
                return
        except (OSError, KeyError, ValueError, IndexError, NoSuchTableError, OperationalError):
            pass
        clock.wait(never, 0.05)
    raise AssertionError(f"{DEADLINE_S:.0f} seconds have gone and it is not so: {what}")


class Bank:
    """A small bank in a database, and a project that mirrors it.

    Args:
        url: an empty database.
        folder: for the project.
        tables: the source's `tables` setting.
    """

    def __init__(self, url, folder, tables="public.*"):
        self.url = url
        self.folder = folder
        (folder / "models").mkdir(parents=True)
        (folder / "headwater.yml").write_text(PROJECT % tables)
        (folder / "models" / "balances.sql").write_text(BALANCES)
        self.process = None
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("CREATE TABLE accounts (id bigint PRIMARY KEY, branch int, balance numeric(12,2))")
        self.connection.execute("CREATE TABLE transfers (at timestamptz DEFAULT now(), amount numeric(12,2))")
        self.open_accounts(1, 100)

    @property
    def state(self):
        """The state folder."""
        return self.folder / ".headwater"

    def open_accounts(self, first, last):
        """Adds accounts with ids first..last."""
        self.connection.execute(
            "INSERT INTO accounts SELECT n, n %% 7, 10 FROM generate_series(%s::bigint, %s::bigint) n", (first, last)
        )

    def transfer(self, times=1):
        """Moves money between accounts, one transaction each."""
        for n in range(times):
            with self.connection.transaction():
                self.connection.execute("UPDATE accounts SET balance = balance - 1 WHERE id = %s", (n % 50 + 1,))
                self.connection.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", (n % 37 + 51,))
                self.connection.execute("INSERT INTO transfers (amount) VALUES (1)")

    def headwater(self, *arguments, prefix=(), url=None, **environment):
        """Runs a command to its end."""
        return subprocess.run(
            [*prefix, sys.executable, "-m", "headwater.cli.app", *arguments],
            env={**os.environ, "BANK_URL": url or self.url, **environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def start(self, *, prefix=(), **environment):
        """Starts `headwater run`."""
        with open(self.folder / "run.log", "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "headwater.cli.app", "run", str(self.folder)],
                env={**os.environ, "BANK_URL": self.url, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self):
        """Stops it gracefully; returns the exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def wait(self):
        """Waits until it ends by itself; returns the exit code."""
        return self.process.wait(DEADLINE_S)

    def log(self):
        """All that it said, as journal entries and other lines."""
        return (self.folder / "run.log").read_text()

    def events(self, name):
        """Journal entries of one kind."""
        entries = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == name]

    def status(self):
        """The status as written."""
        return json.loads((self.state / "status.json").read_text())

    def rows(self, table, folder=None):
        """A table's rows, read by PyIceberg alone."""
        warehouse = (folder or self.folder) / "lake"
        catalog = SqlCatalog("headwater", uri=f"sqlite:///{warehouse}/catalog.db", init_catalog_tables="false")
        return catalog.load_table(("bank", table)).scan().to_arrow().to_pylist()

    def caught_up(self):
        """Whether both mirrors and the model equal the database, which must be at rest."""
        accounts = self.connection.execute("SELECT id, branch, balance FROM accounts ORDER BY id").fetchall()
        landed = sorted((row["id"], row["branch"], row["balance"]) for row in self.rows("accounts"))
        balances = self.connection.execute(
            "SELECT branch, sum(balance), count(*) FROM accounts GROUP BY branch ORDER BY branch"
        ).fetchall()
        kept = sorted((row["branch"], row["balance"], row["accounts"]) for row in self.rows("balances"))
        (transfers,) = self.connection.execute("SELECT count(*) FROM transfers").fetchone()
        return accounts == landed and balances == kept and transfers == len(self.rows("transfers"))

    def wait_caught_up(self):
        """Waits until everything is in the lake and the accounts add up."""
        wait_until(self.caught_up, "the lake equals the database")
        wait_until(lambda: self.status()["accounting"], "the accounting adds up")

    def close(self):
        """Ends everything."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.connection.close()
