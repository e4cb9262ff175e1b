"""`headwater mirror` on a database that nobody prepared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from headwater.cli.mirror import project_name
from headwater.demo import shop
from headwater.demo.outside import IcebergFolder, SourceDatabase
from headwater.demo.verify import Mirror, verify
from headwater.errors import UserError


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
