"""Who changed it and why, end to end: what the documentation's SELECT says, from a real PostgreSQL."""

from __future__ import annotations

import io
import re
from pathlib import Path

import psycopg
import pytest

from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.serve.query import query

PAGE = Path(__file__).parents[2] / "docs" / "audit-trail.md"
PROJECT = """
name: shop
sources:
  shop: {type: postgres, url: "${SHOP_URL}", tables: [orders], audit: [orders]}
"""


def run(folder: Path, url: str) -> None:
    project = load(folder, environment={"SHOP_URL": url})
    error = Supervisor(project, Journal(io.StringIO()), once=True).run()
    assert error is None, error


@pytest.mark.postgres
def test_the_documented_select_says_who_did_it_and_why(url: str, tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    transaction, question = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    (tmp_path / "headwater.yml").write_text(PROJECT, encoding="utf-8")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, status text)")
        connection.execute("INSERT INTO orders VALUES (1, 'read by the snapshot'), (17, 'paid')")
        run(tmp_path, url)
        connection.execute(transaction.encode())
        connection.execute("DELETE FROM orders WHERE id = 17")
        run(tmp_path, url)
    project = load(tmp_path, environment={"SHOP_URL": url})
    found = query(project, question).to_pylist()
    assert [(row["change_op"], row["status"], row["who"], row["why"]) for row in found] == [
        ("update", "refunded", "ann", "refund 4711"),
        ("delete", None, None, None),
    ]
    every = query(project, "SELECT count(*) AS n, count(DISTINCT transaction_id) AS ids FROM shop_transactions")
    assert every.to_pylist() == [{"n": 2, "ids": 2}]
