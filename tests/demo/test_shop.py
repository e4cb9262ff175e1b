"""The shop's history has what the example project needs."""

from __future__ import annotations

import psycopg

from headwater.demo import shop


def scalar(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_every_table_has_rows(shop_url: str) -> None:
    for table in shop.TABLES:
        assert scalar(shop_url, f"SELECT count(*) > 20 OR '{table}' = 'products' FROM {table}") is True
    assert scalar(shop_url, "SELECT count(*) FROM orders") == 120


def test_descriptions_are_stored_out_of_line(shop_url: str) -> None:
    toasted = "SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE relname = 'products'"
    assert scalar(shop_url, toasted) is True


def test_no_event_time_is_in_the_future(shop_url: str) -> None:
    assert scalar(shop_url, "SELECT max(paid_at) < now() - interval '5 seconds' FROM payments") is True
    assert scalar(shop_url, "SELECT max(ordered_at) < now() - interval '5 seconds' FROM order_items") is True


def test_payments_match_their_orders(shop_url: str) -> None:
    odd = """SELECT count(*) FROM payments JOIN (
        SELECT order_id, sum(quantity * unit_price) AS total FROM order_items GROUP BY order_id
    ) AS totals USING (order_id) WHERE amount <> total"""
    assert scalar(shop_url, odd) == 0
    assert scalar(shop_url, "SELECT count(*) FROM orders WHERE status = 'paid'") == scalar(
        shop_url, "SELECT count(*) FROM payments"
    )
