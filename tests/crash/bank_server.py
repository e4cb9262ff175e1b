"""A MariaDB with a bank for each case; every transaction says itself how many rows of keyed tables it has changed.

Of a table without a key, changes that a reading of all of it holds already are left out of the log.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pymysql
from tests.crash.evidence import (
    BROKEN,
    DOUBLED,
    LOST,
    SOURCE,
    Fault,
    faults_in_itself,
    read_log,
    snapshot_faults,
    whole_log,
)

from headwater.change import Op
from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.outside import IcebergFolder
from headwater.demo.verify import accounting_mismatches
from headwater.log.view import open_for_reading
from headwater.project import load
from headwater.testing.mariadb import MariaDbServer

PROJECT = f"""
name: bank
sources:
  {SOURCE}:
    type: mysql
    url: ${{{URL_VARIABLE}}}
    snapshot_chunk_rows: 25
    snapshot_connections: 3
"""
BALANCES = "/*\nkey: [branch]\n*/\nSELECT branch, sum(balance) AS total FROM accounts GROUP BY branch"
TABLES = ("accounts", "moves", "notes", "tally")
BEGIN = (
    "CREATE TABLE accounts (id int PRIMARY KEY, branch int, balance decimal(12,2), note varchar(40))",
    "CREATE TABLE moves (id bigint PRIMARY KEY AUTO_INCREMENT, account int, amount decimal(9,2), at datetime(6))",
    "CREATE TABLE notes (account int, text varchar(40))",
    "CREATE TABLE tally (id bigint PRIMARY KEY AUTO_INCREMENT, changed int)",
    "INSERT INTO accounts SELECT seq, seq % 7, 100, NULL FROM seq_1_to_200",
    "INSERT INTO notes SELECT seq, concat('note ', seq) FROM seq_1_to_100",
)
REDEFINITIONS = (
    "ALTER TABLE moves ADD COLUMN IF NOT EXISTS extra int DEFAULT 7 AFTER account",
    "ALTER TABLE accounts MODIFY note varchar(60)",
    "ALTER TABLE moves ADD COLUMN IF NOT EXISTS due datetime DEFAULT now()",
    "ALTER TABLE moves DROP COLUMN IF EXISTS extra",
    "ALTER TABLE accounts MODIFY balance decimal(14,3)",
)
JOIN_S = 90.0
REDEFINE_EVERY = 60


class BankServer:
    """One server. See `case.Scene`."""

    everything = "*"

    def __init__(self) -> None:
        self._server = MariaDbServer()
        self._server.start()

    def open(self, name: str) -> str:
        """See `Scene.open`."""
        with self._server.connect() as connection, connection.cursor() as cursor:
            for statement in (f"CREATE DATABASE {name}", f"USE {name}", *BEGIN):
                cursor.execute(statement)
        return self._server.url(name)

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`."""
        (folder / "models").mkdir(parents=True)
        (folder / "headwater.yml").write_text(PROJECT + settings, encoding="utf-8")
        (folder / "models" / "balances.sql").write_text(BALANCES, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Teller:
        """See `Scene.traffic`."""
        return Teller(self._server, url.rpartition("/")[2], rate, seed)

    def written(self, name: str) -> dict[int, int]:
        """What the tally says, by its number: the transactions' own account."""
        with self._server.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, changed FROM tally")
            return dict(cursor.fetchall())

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`."""
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        lake = IcebergFolder(folder / "lake", "bank")
        with self._server.connect(url.rpartition("/")[2]) as connection:
            for table in TABLES:
                faults += _difference(table, _there(connection, f"SELECT * FROM {table}"), lake)
            balances = _there(connection, "SELECT branch, sum(balance) AS total FROM accounts GROUP BY branch")
            faults += _difference("balances", balances, lake)
        lake.close()
        faults += whole_log(project.state)
        faults += faults_in_itself(read_log(project.state))
        faults += _against_tally(project.state, written)
        faults += list(snapshot_faults(project))
        return faults

    def drop(self, name: str) -> None:
        """See `Scene.drop`."""
        with self._server.connect() as connection:
            connection.cursor().execute(f"DROP DATABASE {name}")

    def stop(self) -> None:
        """See `Scene.stop`."""
        self._server.stop()


class Teller(threading.Thread):
    """Transactions until stopped; now and then a table is changed."""

    def __init__(self, server: MariaDbServer, database: str, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._server, self._database, self._pause_s = server, database, 1 / rate
        self._chance, self._stopping, self._complaint = random.Random(seed), threading.Event(), ""
        self.start()

    def run(self) -> None:
        clock, at = SystemClock(), 0
        try:
            with self._server.connect(self._database) as connection, connection.cursor() as cursor:
                while not clock.wait(self._stopping, self._pause_s):
                    at += 1
                    self._transact(cursor, at)
        except pymysql.MySQLError as error:
            self._complaint = f"{type(error).__name__}: {error}"

    def _transact(self, cursor: pymysql.cursors.Cursor, at: int) -> None:
        chance, changed = self._chance, 1
        account, other = chance.randint(1, 200), chance.randint(201, 500)
        cursor.execute("START TRANSACTION")
        for statement in (
            f"UPDATE notes SET text = concat('at ', {at}) WHERE account = {account} LIMIT 1",
            f"INSERT INTO notes VALUES ({account}, 'twice')",
            f"DELETE FROM notes WHERE account = {chance.randint(1, 200)} LIMIT 1",
        ):
            cursor.execute(statement)
        for statement in (
            f"UPDATE accounts SET balance = balance - 1 WHERE id IN ({account}, {account % 200 + 1})",
            f"INSERT INTO moves (account, amount, at) VALUES ({account}, 1, NOW(6))",
            f"UPDATE IGNORE accounts SET id = id + 1000 WHERE id = {chance.randint(201, 900)}",
        ):
            changed += cursor.execute(statement)
        if cursor.execute(f"SELECT 1 FROM accounts WHERE id = {other}") == 0:
            changed += cursor.execute(f"INSERT INTO accounts (id, branch, balance) VALUES ({other}, {at % 7}, 0)")
        cursor.execute(f"INSERT INTO tally (changed) VALUES ({changed})")
        cursor.execute("ROLLBACK" if at % 9 == 0 else "COMMIT")
        if at % 37 == 0:
            cursor.execute("FLUSH BINARY LOGS")
        if at % REDEFINE_EVERY == 0:
            cursor.execute(REDEFINITIONS[at // REDEFINE_EVERY % len(REDEFINITIONS)])

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        self.join(JOIN_S)
        return "it does not end" if self.is_alive() else self._complaint

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()


def _there(connection: pymysql.Connection, query: str) -> tuple[list[str], Counter]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [column[0] for column in cursor.description], Counter(cursor.fetchall())


def _difference(table: str, there: tuple[list[str], Counter], lake: IcebergFolder) -> list[Fault]:
    names, rows = there
    if table not in lake.names():
        return [Fault(LOST, f"{table}: the lake has no such table")]
    here = Counter(tuple(row[name] for name in names) for row in lake.rows(table).to_pylist())
    faults = []
    for kind, more, what in ((LOST, rows - here, "missing from"), (DOUBLED, here - rows, "too much in")):
        if more:
            faults.append(Fault(kind, f"{table}: {sum(more.values())} rows {what} the lake: {list(more)[:3]}"))
    return faults


def _against_tally(state: Path, written: Mapping[int, int]) -> list[Fault]:
    """Every transaction of the log has as many changes as it says itself, and every one is there."""
    log = open_for_reading(state / "log" / SOURCE)
    places: dict[int, set[int]] = {}
    told: dict[int, int] = {}
    seen: set[int] = set()
    for record in log.read(log.base, log.head):
        if record.stream is None or record.stream.name == "notes":
            continue
        rows = record.rows
        ops = rows.column("_op").to_numpy()
        streamed = np.isin(ops, [Op.INSERT, Op.UPDATE, Op.DELETE])
        for commit, ordinal in zip(*(rows.column(n).to_numpy()[streamed].tolist() for n in ("_commit", "_ordinal"))):  # noqa: B905
            places.setdefault(commit, set()).add(ordinal)
        if record.stream.name == "tally":
            for row in rows.select(["_op", "_commit", "id", "changed"]).to_pylist():
                seen.add(row["id"])
                if row["_op"] == Op.INSERT:
                    told[row["_commit"]] = row["changed"]
    wrong = [
        (commit, len(there), told.get(commit)) for commit, there in places.items() if len(there) != told.get(commit)
    ]
    faults = [Fault(BROKEN, f"log: transactions whose changes are not what they tally: {wrong[:3]}")] if wrong else []
    lost = set(written) - seen
    if lost and log.base == 0:
        faults.append(Fault(LOST, f"log: {len(lost)} of {len(written)} transactions are missing"))
    return faults
