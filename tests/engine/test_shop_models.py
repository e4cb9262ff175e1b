"""The models of examples/shop, and the other ways of writing them, against the oracle."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from oracle import Case, History, Input, compare, make, multiset

from headwater.sql.parse import tables_of

FOLDER = Path(__file__).parents[2] / "examples" / "shop" / "models"
MONEY = "decimal(10,2)"


def declared(text: str) -> Input:
    return Input(tuple(tuple(part.split(" ", 1)) for part in text.split(", ")))


INPUTS = {
    "customers": declared("id int, customer_id small, name varchar, city varchar, country varchar"),
    "orders": declared("id int, order_id small, customer_id small, status varchar, ordered_at timestamptz"),
    "order_items": declared(
        f"id int, order_id small, line small, product_id small, quantity small, "
        f"unit_price {MONEY}, ordered_at timestamptz"
    ),
    "payments": declared(
        f"id int, payment_id small, order_id small, amount {MONEY}, status varchar, paid_at timestamptz"
    ),
    "orders_enriched": declared(f"id int, customer_id small, quantity small, amount {MONEY}, ordered_at timestamptz"),
}
OTHER = {
    "unpaid, NOT EXISTS": "SELECT * FROM orders AS o WHERE NOT EXISTS "
    "(SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id)",
    "customer value, every customer": """SELECT c.customer_id, c.name, coalesce(v.value, 0) AS value, v.lines
        FROM customers AS c LEFT JOIN (SELECT customer_id, sum(amount) AS value, count(*) AS lines
        FROM orders_enriched GROUP BY customer_id) AS v ON v.customer_id = c.customer_id""",
    "revenue, settled": """SELECT window_start, sum(amount) AS revenue, count(*) AS payments
        FROM tumble(payments, paid_at, INTERVAL 1 MINUTE) WHERE status = 'x' GROUP BY window_start, window_end""",
    "orders with their items": """SELECT o.id, o.order_id, c.name, i.lines, i.amount
        FROM orders o JOIN customers c ON c.customer_id = o.customer_id
        JOIN (SELECT order_id, count(*) AS lines, sum(quantity * unit_price) AS amount FROM order_items GROUP BY
        order_id) i ON i.order_id = o.order_id""",
}


def cases() -> list[Case]:
    files = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.sql"))}
    return [
        Case(name, sql, {n: i for n, i in INPUTS.items() if reads(sql, n)}) for name, sql in {**files, **OTHER}.items()
    ]


def reads(sql: str, name: str) -> bool:
    return name in tables_of(sql)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_model_equals_duckdb(case: Case, tmp_path: Path) -> None:
    plan = compare(case, 1, tmp_path).explain()
    assert "last resort" not in plan


@pytest.mark.parametrize("name", ["revenue_by_minute", "top_products"])
def test_windowed_models_can_be_final(name: str, tmp_path: Path) -> None:
    (case,) = (replace(case, settings={"emit": "final", "late": "update"}) for case in cases() if case.name == name)
    view, history = make(case), History(case, 3)
    for _ in range(6):
        assert view.apply(history.step()).num_rows == 0
    view.advance({name: datetime(2030, 1, 1) for name in case.inputs})
    assert multiset(view.result()) == history.answer()
