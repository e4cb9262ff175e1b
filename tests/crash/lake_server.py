"""A PostgreSQL with a ledger for each case, whose lake has a table of every kind and is kept without a pause."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import psycopg
from tests.crash.evidence import BROKEN, SOURCE, Fault, log_faults, snapshot_faults, whole_log
from tests.crash.lake_evidence import orphan_faults, table_faults
from tests.crash.shop_server import ShopServer

from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.verify import accounting_mismatches
from headwater.project import load
from headwater.runtime.maintenance_runs import MaintenanceRecord

PROJECT = f"""
name: ledger
sources:
  {SOURCE}:
    type: postgres
    url: ${{{URL_VARIABLE}}}
    snapshot_chunk_rows: 500
    streams:
      accounts:
        tables:
          accounts_history: {{kind: history}}
          accounts_changelog: {{kind: changelog}}
          accounts_kept: {{deletes: soft}}
      moves:
        table: {{partition: "bucket(3, account)", sort: account}}
lake:
  warehouse: lake
"""
OFTEN = """
maintenance: {target_file_size: 64 KiB, merge_files: 2, most_deleted: 0.1, keep_snapshots: 3, orphan_age: %s,
  longest_query: 0 s, interval: 100 ms, share: 1.0, longest_wait: 50 ms}
"""
"""Under this there is always something to do; `%s` is how long a commit may take while the project runs."""
SAFE_AGE, NO_AGE = "10 s", "0 s"
BEGIN = (
    "CREATE TABLE accounts (id bigint PRIMARY KEY, branch int, balance numeric(12,2), note text)",
    "CREATE TABLE moves (id bigint PRIMARY KEY, account int, amount numeric(9,2), at timestamptz)",
    "CREATE TABLE notes (account int, text text)",
    "CREATE TABLE stock (id bigint PRIMARY KEY, amount int)",
    "ALTER TABLE notes REPLICA IDENTITY FULL",
    "INSERT INTO accounts SELECT n, n % 7, 100, NULL FROM generate_series(1, 150) AS n",
    "INSERT INTO moves SELECT -n, n, 1, now() FROM generate_series(1, 60) AS n",
    "INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 60) AS n",
    "INSERT INTO stock SELECT n, 0 FROM generate_series(1, 11000) AS n",
)
LARGE_EVERY_S = 2.0
"""Time between two transactions that change a sixth of the stock: more than an epoch takes at once, and enough for the
key index to be kept again at the next checkpoint."""
LARGE = b"UPDATE stock SET amount = amount + 1 WHERE mod(id, 6) = %s"
ASK_EVERY_S = 0.3
JOIN_S = 90.0
MAINTAIN_S = 420.0


class LakeServer(ShopServer):
    """One cluster. See `case.Scene`."""

    everything = "public.accounts"

    def fill(self, url: str) -> None:
        """Makes the ledger."""
        with psycopg.connect(url) as connection:
            for statement in BEGIN:
                connection.execute(statement.encode())

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`; the traffic asks this project for maintenance from now on."""
        folder.mkdir(parents=True)
        (folder / "headwater.yml").write_text(PROJECT + OFTEN % SAFE_AGE + settings, encoding="utf-8")
        self._bookkeeper.record = MaintenanceRecord(folder / ".headwater")

    def traffic(self, url: str, rate: float, seed: int) -> Bookkeeper:  # type: ignore[override]
        """See `Scene.traffic`."""
        self._bookkeeper = Bookkeeper(url, rate, seed)
        return self._bookkeeper

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`. Orphans are removed at the end, without an age."""
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        faults += whole_log(project.state)
        faults += log_faults(project.state, written)
        faults += snapshot_faults(project)
        faults += table_faults(project, url)
        file = folder / "headwater.yml"
        file.write_text(file.read_text(encoding="utf-8").replace(SAFE_AGE, NO_AGE), encoding="utf-8")
        kept = subprocess.run(
            [sys.executable, "-m", "headwater.cli.app", "maintain", "--folder", str(folder)],
            env={**os.environ, URL_VARIABLE: url}, capture_output=True, text=True, timeout=MAINTAIN_S, check=False,
        )  # fmt: skip
        if kept.returncode:
            faults.append(Fault(BROKEN, f"headwater maintain: {kept.stderr[-600:]}"))
        return [*faults, *orphan_faults(project), *table_faults(project, url)]


class Bookkeeper(threading.Thread):
    """Transactions until stopped. It asks the project for all maintenance now and then.

    Attributes:
        record: of the project, once there is one.
    """

    def __init__(self, url: str, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.record: MaintenanceRecord | None = None
        self._url, self._pause_s = url, 1 / rate
        self._chance, self._stopping, self._complaint = random.Random(seed), threading.Event(), ""
        self.start()

    def run(self) -> None:
        clock, at, due_s, large_s = SystemClock(), 0, 0.0, 0.0
        try:
            with psycopg.connect(self._url) as connection:
                while not clock.wait(self._stopping, self._pause_s):
                    at += 1
                    if clock.monotonic_s() >= large_s:
                        connection.execute(LARGE, (at % 6,))
                        large_s = clock.monotonic_s() + LARGE_EVERY_S
                    self._transact(connection, at)
                    if self.record is not None and clock.monotonic_s() >= due_s:
                        self.record.ask("crash", ())
                        due_s = clock.monotonic_s() + ASK_EVERY_S
        except psycopg.Error as error:
            self._complaint = f"{type(error).__name__}: {error}"

    def _transact(self, connection: psycopg.Connection, at: int) -> None:
        account, other = self._chance.randint(1, 150), self._chance.randint(151, 400)
        for statement, values in (
            ("UPDATE accounts SET balance = balance - 1, note = %s WHERE id = ANY(%s)", (f"at {at}", [account, other])),
            ("DELETE FROM accounts WHERE id = %s", (self._chance.randint(151, 400),)),
            ("INSERT INTO accounts VALUES (%s, %s, 0, NULL) ON CONFLICT DO NOTHING", (other, at % 7)),
            ("INSERT INTO moves VALUES (%s, %s, 1, now())", (at, account)),
            ("UPDATE moves SET account = account + 1 WHERE id = %s", (at - self._chance.randint(1, 80),)),
            ("DELETE FROM moves WHERE id = %s", (at - 100,)),
            ("UPDATE notes SET text = %s WHERE account = %s", (f"at {at}", account)),
            ("INSERT INTO notes SELECT %s, 'twice' FROM generate_series(1, 2)", (account,)),
            ("DELETE FROM notes WHERE account = %s", (self._chance.randint(1, 150),)),
        ):
            connection.execute(statement.encode(), values)
        if at % 9 == 0:
            connection.rollback()
        else:
            connection.commit()

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        self.join(JOIN_S)
        return "it does not end" if self.is_alive() else self._complaint

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()
