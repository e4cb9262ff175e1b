"""`headwater mirror` on a database that nobody prepared."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from headwater.cli.mirror import project_name
from headwater.demo import shop
from headwater.demo.child import last_status
from headwater.demo.demonstration import reached
from headwater.demo.live import Status
from headwater.demo.outside import IcebergFolder, SourceDatabase
from headwater.demo.verify import Mirror, accounting_mismatches, verify
from headwater.errors import UserError
from headwater.testing.postgres import PostgresServer


def mirror(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater.cli.app", "mirror", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def check(url: str, folder: Path, tables: list[str]) -> tuple[str, ...]:
    source = SourceDatabase(url)
    try:
        lake = IcebergFolder(folder / "lake", project_name(url))
        found = verify(lake, source, [Mirror(table, f"public.{table}") for table in tables])
        assert sorted(lake.names()) == sorted(tables)
    finally:
        source.close()
    return found.mismatches


def test_all_tables_are_mirrored_and_go_on_later(shop_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "lake of mine"
    done = mirror(shop_url, "--to", str(folder), "--once")
    assert done.returncode == 0, done.stderr
    assert "headwater query" in done.stderr
    assert check(shop_url, folder, list(shop.TABLES)) == ()
    with psycopg.connect(shop_url) as connection:
        connection.execute("UPDATE customers SET city = 'Oslo', country = 'NO' WHERE customer_id % 2 = 0")
        connection.execute("DELETE FROM payments WHERE order_id % 5 = 0")
    again = mirror(shop_url, "--to", str(folder), "--once")
    assert again.returncode == 0, again.stderr
    assert check(shop_url, folder, list(shop.TABLES)) == ()


def test_a_pattern_chooses_tables_and_no_password_is_written(shop_url: str, tmp_path: Path) -> None:
    url = shop_url.replace("postgres@", "postgres:hunter2@")
    done = mirror(url, "--to", str(tmp_path / "some"), "--tables", "public.order*", "--once")
    assert done.returncode == 0, done.stderr
    assert check(shop_url, tmp_path / "some", ["orders", "order_items"]) == ()
    assert "hunter2" not in done.stderr + done.stdout
    assert "hunter2" not in (tmp_path / "some" / "headwater.yml").read_text(encoding="utf-8")
    other = mirror(url, "--to", str(tmp_path / "some"), "--tables", "public.payments", "--once")
    assert other.returncode == 1
    assert "other tables" in other.stderr


def test_nothing_to_mirror_is_said(database: str, tmp_path: Path) -> None:
    done = mirror(database, "--to", str(tmp_path / "none"), "--once")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_an_unreachable_database_is_exit_code_4(tmp_path: Path) -> None:
    done = mirror("postgresql://nobody:hunter2@127.0.0.1:1/shop", "--to", str(tmp_path / "none"), "--once")
    assert done.returncode == 4, done.stderr
    assert "hunter2" not in done.stderr


def test_a_foreign_folder_is_left_alone(shop_url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    done = mirror(shop_url, "--to", str(tmp_path), "--once")
    assert done.returncode == 1
    assert "not an empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://localhost/shop", "shop"),
        ("postgresql://localhost/My-Shop.2", "my_shop_2"),
        ("postgresql://localhost/2024", "mirror_2024"),
        ("postgresql://localhost", "mirror"),
        ("dbname=shop host=localhost", "shop"),
    ],
)
def test_the_project_is_named_after_the_database(url: str, name: str) -> None:
    assert project_name(url) == name


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(UserError, match="not a connection URL"):
        project_name("the shop")


class LiveMirror:
    """`headwater mirror` running on a database until stopped."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        command = [sys.executable, "-m", "headwater.cli.app", "mirror", url, "--to", str(folder)]
        self._words = open(folder.parent / "mirror.log", "w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(command, stdout=self._words, stderr=self._words)

    def wait_for(self, holds: Callable[[Status], bool]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status = last_status(self._folder)
            if status is not None and holds(status):
                return
            assert self._process.poll() is None, self.words()
        raise AssertionError(f"not in time: {last_status(self._folder)}\n{self.words()}")

    def wait_for_the_end(self) -> None:
        """Until the lake holds all that the database holds now."""
        source = SourceDatabase(self._url)
        end = source.lsn()
        source.close()
        with psycopg.connect(self._url) as connection:
            connection.execute("UPDATE pgbench_branches SET bbalance = bbalance WHERE bid = 1")
        self.wait_for(lambda status: reached(status, end))

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)

    def words(self) -> str:
        self._words.seek(0)
        return self._words.read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._words.close()


def test_pgbench_under_load_equals_its_mirror(server: PostgresServer, database: str, tmp_path: Path) -> None:
    """Snapshot under load; a table without a key; and pgbench's own TRUNCATE of it when the second load begins."""
    pgbench = str(server.bin / "pgbench")
    subprocess.run([pgbench, "-i", "-s", "1", "-q", database], check=True, capture_output=True)
    load = subprocess.Popen([pgbench, "-T", "4", "-R", "100", "-c", "2", database], stdout=subprocess.DEVNULL)
    live = LiveMirror(database, tmp_path / "lake of pgbench")
    try:
        assert load.wait(60) == 0
        live.wait_for_the_end()
        with psycopg.connect(database) as connection:
            connection.execute("DELETE FROM pgbench_accounts WHERE aid % 7 = 0")
        done = subprocess.run([pgbench, "-t", "20", "-c", "2", database], check=True, capture_output=True, text=True)
        assert "number of transactions actually processed: 40/40" in done.stdout
        live.wait_for_the_end()
        assert live.stop() == 0, live.words()
    finally:
        live.close()
        load.kill()
    tables = ["pgbench_accounts", "pgbench_branches", "pgbench_history", "pgbench_tellers"]
    assert check(database, tmp_path / "lake of pgbench", tables) == ()
    status = last_status(tmp_path / "lake of pgbench")
    assert status is not None
    assert accounting_mismatches(status) == []
