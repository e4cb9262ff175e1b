"""Mistakes: each with its place and a way out."""

from __future__ import annotations

import pyarrow as pa
import pytest

from headwater.sql.check import Analysis, check
from headwater.sql.fast_paths import Options
from headwater.sql.last_resort import last_resorts

INPUTS = {
    "orders": pa.schema([("order_id", pa.int64()), ("amount", pa.decimal128(10, 2)), ("at_", pa.timestamp("us"))]),
    "customers": pa.schema([("customer_id", pa.int64()), ("name", pa.string())]),
}


def found(sql: str, **settings: object) -> list[tuple[str, str]]:
    return [(str(mistake), mistake.hint) for mistake in analyse(sql, **settings).mistakes]


def analyse(sql: str, **settings: object) -> Analysis:
    return check(sql, INPUTS, file="models/m.sql", first_line=4, **settings)


@pytest.mark.parametrize(
    ("sql", "place", "message", "hint"),
    [
        ("SELECT amuont\nFROM orders", "4:8", "amuont", "did you mean amount?"),
        ("SELECT o.order_id,\n  o.amonut FROM orders o", "5:3", "amonut", "did you mean amount?"),
        ("SELECT * FROM\n  ordres", "5:3", "no stream or model 'ordres'", "did you mean orders?"),
        ("SELECT * FROM tumble(oders, at_, INTERVAL 1 MINUTE)", "4:22", "'oders'", "did you mean orders?"),
        ("SELECT uper(name) FROM customers", "4:8", "uper does not exist", "upper"),
        ("SELECT sum(name) FROM customers", "4:8", "sum(VARCHAR)", "CAST"),
        ("SELECT amount + at_ FROM orders", "4:15", "TIMESTAMP", "cast the arguments"),
        ("SELECT name FROM public.customers", "4:18", "public", "without a schema"),
        ("SELECT name, count(*) FROM customers", "4:8", "GROUP BY", ""),
        ("SELECT FROM WHERE", "4:13", "syntax error", ""),
        ("SELECT name\nFROM customers WHERE now() > DATE '2024-01-01'", "5:22", "now()", "TUMBLE"),
        ("SELECT random() AS r FROM customers", "4:8", "random()", "hash"),
        ("SELECT gen_random_uuid() AS r FROM customers", "4:8", "uuid()", "md5"),
        ("SELECT name FROM customers\nLIMIT 3", "5:", "LIMIT without ORDER BY", "ORDER BY"),
        ("SELECT name FROM customers USING SAMPLE 10", "4:", "sample", "hash"),
        ("SELECT name FROM customers POSITIONAL JOIN orders", "4:", "POSITIONAL", "key"),
        ("SELECT * FROM read_csv('x.csv')", "4:15", "reads from outside", "source"),
        ("SELECT name ~ 'a' AS m FROM customers", "4:13", "operator ~", "regexp_full_match"),
        ("SELECT name, customer_id AS NAME FROM customers", "4:1", "two columns", "AS other_"),
        ("SELECT union_value(n := order_id) AS u FROM orders", "4:1", "type that cannot be kept", "struct"),
        ("SELECT proctime() AS p FROM orders", "4:8", "proctime", "TUMBLE"),
        ("PIVOT orders ON amount USING sum(order_id)", "4:", "PIVOT", "IN ("),
        ("SELECT * FROM orders, tumble(orders, at_, INTERVAL 1 MINUTE)", "4:23", "query_table", "first in FROM"),
    ],
)
def test_mistakes_have_a_place_and_a_hint(sql: str, place: str, message: str, hint: str) -> None:
    ((text, given_hint),) = found(sql)
    assert text.startswith(f"models/m.sql:{place}")
    assert message.lower() in text.lower()
    assert hint in given_hint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT order_id, row_number() OVER (PARTITION BY amount ORDER BY order_id) AS n FROM orders",
        "SELECT order_id FROM orders QUALIFY row_number() OVER (ORDER BY order_id) <= 3",
        "SELECT order_id FROM orders ORDER BY order_id LIMIT 3",
        "SELECT a.order_id FROM orders AS a JOIN orders AS b ON a.order_id < b.order_id",
        "SELECT order_id FROM orders CROSS JOIN (VALUES (1), (2)) AS x(n)",
        "SELECT order_id FROM orders WHERE order_id NOT IN (SELECT order_id FROM orders WHERE amount > 3)",
        "SELECT order_id FROM orders WHERE EXISTS (SELECT 1 FROM orders WHERE amount > 3)",
        "SELECT order_id, (SELECT max(amount) FROM orders) AS most FROM orders",
    ],
)
def test_what_has_an_order_or_one_row_is_no_last_resort(sql: str) -> None:
    assert not found(sql, options=Options(recompute="refused"))


def test_all_unknown_tables_and_unstable_functions_are_told_at_once() -> None:
    mistakes = found("SELECT random() AS r, uuid() AS u FROM ordres JOIN custmers ON true")
    assert len(mistakes) == 4


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT order_id FROM orders", "there is none"),
        ("SELECT * FROM tumble(orders, at_, INTERVAL 1 MINUTE)", "grouped by their time window"),
        ("SELECT order_id, count(*) AS n FROM tumble(orders, at_, INTERVAL 1 MINUTE) GROUP BY order_id", "grouped"),
    ],
)
def test_final_needs_a_grouped_window(sql: str, message: str) -> None:
    ((text, hint),) = found(sql, options=Options("final"))
    assert message in text
    assert "window_start" in hint


@pytest.mark.parametrize(
    ("sql", "place", "why"),
    [
        ("SELECT * FROM orders,\n  (WITH RECURSIVE r(n) AS (SELECT min(order_id) FROM orders UNION ALL"
         " SELECT n + 1 FROM r"
         " WHERE n < 9) SELECT n FROM r) AS x", "5:19", "WITH RECURSIVE"),
        ("WITH RECURSIVE r(n) AS (SELECT min(order_id) FROM orders UNION ALL SELECT n + 1 FROM r WHERE n < 9)\n"
         "SELECT n FROM r", "4:16", "WITH RECURSIVE"),
        ("SELECT order_id, row_number() OVER (ORDER BY order_id) AS n FROM orders", "4:8", "row_number() OVER all"),
        ("SELECT row_number() OVER () AS n, order_id FROM orders", "4:8", "row_number() OVER all"),
        ("SELECT order_id, sum(amount) OVER () AS s FROM orders", "4:8", "sum OVER"),
        ("SELECT a.order_id FROM orders AS a CROSS JOIN orders AS b", "4:8", "CROSS JOIN without an equality"),
        ("SELECT a.order_id FROM orders AS a LEFT JOIN orders AS b ON a.order_id <> b.order_id", "4:8", "LEFT JOIN"),
    ],
)  # fmt: skip
def test_a_last_resort_must_be_allowed(sql: str, place: str, why: str) -> None:
    ((text, hint), *_) = found(sql, options=Options(recompute="refused"))
    assert text.startswith(f"models/m.sql:{place}")
    assert why in text and text.endswith("rows of orders")
    assert "recompute: allowed" in hint
    assert not found(sql)


def test_a_key_must_be_a_column() -> None:
    ((text, hint),) = found("SELECT order_id FROM orders", key=["oder_id"])
    assert "'oder_id'" in text
    assert "order_id" in hint


def test_reserved_columns_are_refused() -> None:
    analysis = check("SELECT 1 AS x FROM t", {"t": pa.schema([("_weight", pa.int64())])})
    assert "_weight" in str(analysis.mistakes[0])


def test_a_sound_model_has_columns_plan_and_key() -> None:
    analysis = analyse("SELECT order_id AS o, sum(amount) AS s FROM orders GROUP BY order_id;  -- as of now()")
    assert not analysis.mistakes
    assert analysis.columns == pa.schema([("o", pa.int64()), ("s", pa.decimal128(38, 2))])
    assert analysis.key == ("o",)
    assert analysis.plan is not None and not last_resorts(analysis.plan)
