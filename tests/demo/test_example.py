"""The example project is read without a mistake, and its models are plain DuckDB that says something over the shop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from headwater.demo import shop
from headwater.demo.outside import SourceDatabase
from headwater.project.definition import Project
from headwater.project.folder import load
from headwater.sql.prelude import install

EXAMPLE = Path(__file__).parents[2] / "examples" / "shop"
TYPES = {
    "customers": {"customer_id": "BIGINT"},
    "products": {"product_id": "INTEGER", "price": "DECIMAL(12,2)"},
    "orders": {"order_id": "BIGINT", "customer_id": "BIGINT", "ordered_at": "TIMESTAMPTZ"},
    "order_items": {
        "order_id": "BIGINT",
        "line": "INTEGER",
        "product_id": "INTEGER",
        "quantity": "INTEGER",
        "unit_price": "DECIMAL(12,2)",
        "ordered_at": "TIMESTAMPTZ",
    },
    "payments": {"order_id": "BIGINT", "amount": "DECIMAL(12,2)", "paid_at": "TIMESTAMPTZ"},
}


@pytest.fixture
def project() -> Project:
    return load(EXAMPLE, environment={"SHOP_URL": "postgresql://nobody@localhost/shop"})


@pytest.fixture
def answers(project: Project, shop_url: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the shop's tables and every model's answer as a table."""
    source = SourceDatabase(shop_url)
    with duckdb.connect() as connection:
        install(connection)
        for table in shop.TABLES:
            connection.register("text", source.rows(f"public.{table}", source.columns(f"public.{table}")))
            casts = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column, kind in TYPES[table].items())
            connection.execute(f"CREATE TABLE {table} AS SELECT * REPLACE ({casts}) FROM text")
        for model in project.models:
            connection.execute(f"CREATE TABLE {model.name} AS {model.sql}")
        yield connection
    source.close()


def test_the_project_is_read(project: Project) -> None:
    names = [model.name for model in project.models]
    assert sorted(names) == ["customer_value", "orders_enriched", "revenue_by_minute", "top_products", "unpaid_orders"]
    assert names.index("orders_enriched") < names.index("customer_value")
    assert {m.name: m.settings.emit for m in project.models}["revenue_by_minute"] == "final"
    assert all(model.settings.description and model.settings.key for model in project.models)


def test_declared_keys_are_keys(project: Project, answers: duckdb.DuckDBPyConnection) -> None:
    for model in project.models:
        key = ", ".join(model.settings.key)
        ((rows, keys),) = answers.execute(f"SELECT count(*), count(DISTINCT ({key})) FROM {model.name}").fetchall()
        assert rows == keys > 0, model.name


def test_answers_agree_with_the_shop(answers: duckdb.DuckDBPyConnection) -> None:
    def scalar(query: str) -> object:
        ((value,),) = answers.execute(query).fetchall()
        return value

    assert scalar("SELECT sum(revenue) FROM revenue_by_minute") == scalar("SELECT sum(amount) FROM payments")
    assert scalar("SELECT count(*) FROM orders_enriched") == scalar("SELECT count(*) FROM order_items")
    assert scalar("SELECT sum(value) FROM customer_value") == scalar(
        "SELECT sum(quantity * unit_price) FROM order_items"
    )
    assert scalar("SELECT count(*) FROM unpaid_orders") == scalar("SELECT count(*) FROM orders WHERE status = 'placed'")
    assert scalar("SELECT max(place) FROM top_products") == 5
