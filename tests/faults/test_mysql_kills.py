"""A MariaDB under traffic is mirrored into the lake by a process that is killed again and again: the tables end equal.

PR size is one case; `make faults SIZE=night` runs many, each with other kills (`HEADWATER_FAULT_RUNS`).
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from headwater.clock import SystemClock
from headwater.demo.outside import IcebergFolder
from headwater.testing.mariadb import MariaDbServer

RUNS = int(os.environ.get("HEADWATER_FAULT_RUNS", "1"))
KILLS = 4
REACH_S = 12.0
FINISH_S = 120.0
POINTS = (
    "capture.snapshot.after_chunk",
    "capture.snapshot.after_table",
    "capture.confirm.before",
    "capture.confirm.after",
    "log.append.before",
    "log.append.after_write",
    "log.append.after_fsync",
    "epoch.plan.after",
    "epoch.models.after",
    "lake.commit.after_data_file",
    "lake.commit.after_catalog",
    "epoch.done.before",
    "checkpoint.after_rename",
)
TABLES = ("accounts", "moves", "notes")
BEGIN = (
    "CREATE TABLE accounts (id int PRIMARY KEY, balance decimal(12,2), note varchar(40))",
    "CREATE TABLE moves (id bigint PRIMARY KEY AUTO_INCREMENT, account int, amount decimal(9,2), at datetime(6))",
    "CREATE TABLE notes (account int, text varchar(40))",
    "INSERT INTO accounts SELECT seq, 100, NULL FROM seq_1_to_3000",
    "INSERT INTO notes SELECT seq, concat('note ', seq) FROM seq_1_to_2000",
)


class Traffic:
    """Transactions in a thread of their own, until stopped; now and then a table is changed."""

    def __init__(self, server, seed):
        self._server, self._chance = server, random.Random(seed)
        self._stop = threading.Event()
        self.failed = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        assert self.failed is None, self.failed

    def _run(self):
        try:
            with self._server.connect("bank") as connection, connection.cursor() as cursor:
                at = 0
                while not self._stop.wait(0.01):
                    at += 1
                    for statement in self._statements(at):
                        cursor.execute(statement)
        except Exception as error:  # noqa: BLE001 the test tells of it
            self.failed = error

    def _statements(self, at):
        chance = self._chance
        account, other = chance.randint(1, 3000), chance.randint(3001, 9000)
        yield "START TRANSACTION"
        yield f"UPDATE accounts SET balance = balance - 1 WHERE id IN ({account}, {account % 3000 + 1})"
        yield f"INSERT INTO moves (account, amount, at) VALUES ({account}, 1, NOW(6))"
        yield f"INSERT INTO accounts (id, balance) VALUES ({other}, 0) ON DUPLICATE KEY UPDATE balance = balance + 1"
        yield f"INSERT INTO notes VALUES ({account}, 'at {at}')"
        yield f"DELETE FROM notes WHERE account = {chance.randint(1, 3000)} LIMIT 1"
        yield "ROLLBACK" if at % 9 == 0 else "COMMIT"
        if at % 50 == 0:
            yield "FLUSH BINARY LOGS"
        if at % 120 == 0:
            yield f"ALTER TABLE moves ADD COLUMN IF NOT EXISTS extra{at // 120 % 3} int DEFAULT 7 AFTER account"


@pytest.fixture(scope="module")
def mariadb():
    with MariaDbServer() as running:
        yield running


def mirror(server, folder, *arguments, failpoint=""):
    command = [sys.executable, "-m", "headwater.cli.app", "mirror", server.url("bank"), "--to", str(folder), *arguments]
    environment = {**os.environ, "HEADWATER_FAILPOINT": failpoint}
    with open(folder.parent / "mirror.log", "ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def die(process, seconds):
    """Lets the process come to its failpoint, or kills it from outside."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("seed", range(RUNS))
def test_killed_again_and_again_the_tables_end_equal(mariadb, tmp_path, seed):
    chance, folder = random.Random(f"mysql {seed}"), tmp_path / "bank"
    with mariadb.connect() as connection, connection.cursor() as cursor:
        for statement in ("DROP DATABASE IF EXISTS bank", "CREATE DATABASE bank", "USE bank", *BEGIN):
            cursor.execute(statement)
    with Traffic(mariadb, seed):
        for kill in range(KILLS):
            points = POINTS[:2] if kill == 0 else POINTS[2:]
            failpoint = f"{chance.choice(points)}:{chance.randint(1, 4)}"
            die(mirror(mariadb, folder, failpoint=failpoint), chance.uniform(4.0, REACH_S))
    clock = SystemClock()
    began = clock.monotonic_s()
    last = mirror(mariadb, folder, "--once")
    assert last.wait(FINISH_S) == 0, (tmp_path / "mirror.log").read_text()[-3000:]
    assert clock.monotonic_s() - began < FINISH_S
    assert differences(mariadb, folder) == {}


def differences(server, folder):
    """Rows that the lake and the database do not share, by table."""
    lake, found = IcebergFolder(folder / "lake", "bank"), {}
    with server.connect("bank") as connection, connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            there = Counter(map(tuple, cursor.fetchall()))
            here = Counter(tuple(row[name] for name in names) for row in lake.rows(table).to_pylist())
            if here != there:
                found[table] = (list((there - here).items())[:3], list((here - there).items())[:3])
    lake.close()
    return found
