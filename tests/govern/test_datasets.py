"""What streams are called at their source, for lineage services: OpenLineage's own naming classes say the same."""

import pytest
from openlineage.client.naming import dataset as naming

from headwater.govern.datasets import datasets_of
from headwater.project import load

SOURCES = """
name: shop
sources:
  pg: {type: postgres, url: 'postgresql://me:canary@db:6432/shop', tables: [public.*, sales.orders, '!public.secret']}
  bare: {type: postgres, url: 'postgresql://me:canary@/shop', tables: ['*.*']}
  my: {type: mysql, url: 'mysql://me:canary@my/shop', tables: [orders, 'sales.*'], }
  kf: {type: kafka, servers: 'one:9093,two:9092', topics: {Shop.Orders: {}, paid: {stream: payments}, 'x.*': {}}}
  mq: {type: rabbitmq, url: 'amqp://me:canary@rabbit/vh', queues: {New.Orders: {}}}
  ff: {type: files, files: {access: {paths: ['logs/a*', '/var/b'], format: lines}}}
  http: {type: http, streams: {clicks: {columns: {id: int64}}}}
"""


@pytest.mark.parametrize(
    ("source", "stream", "told"),
    [
        ("pg", "orders", [naming.Postgres("db", "6432", "shop", "public", "orders")]),
        ("pg", "sales_orders", [naming.Postgres("db", "6432", "shop", "sales", "orders")]),
        ("pg", "order_lines", [naming.Postgres("db", "6432", "shop", "public", "order_lines")]),
        ("pg", "secret", []),
        ("bare", "orders", [naming.Postgres("localhost", "5432", "shop", "public", "orders")]),
        ("bare", "sales_orders", []),  # public.sales_orders or sales.orders: nobody knows
        ("my", "orders", [naming.MySQL("my", "3306", "shop", "orders")]),
        ("my", "sales_lines", [naming.MySQL("my", "3306", "sales", "lines")]),
        ("kf", "shop_orders", [naming.Kafka("one", "9093", "Shop.Orders")]),
        ("kf", "payments", [naming.Kafka("one", "9093", "paid")]),
        ("kf", "x_y", []),
        ("http", "clicks", []),
    ],
)
def test_datasets_are_named_as_openlineage_names_them(tmp_path, source, stream, told):
    assert named(tmp_path, source, stream) == [(one.get_namespace(), one.get_name()) for one in told]


def test_queues_and_files(tmp_path):
    assert named(tmp_path, "mq", "new_orders") == [("amqp://rabbit:5672", "New.Orders")]
    assert named(tmp_path, "ff", "access") == [("file", f"{tmp_path}/logs/a*"), ("file", "/var/b")]


def test_what_the_audit_trail_adds_is_not_taken_for_tables(tmp_path):
    for stream in ("pg_transactions", "orders_audit"):
        assert not named(tmp_path, "pg", stream, "{audit: [orders], type: postgres, url: 'postgresql://db/shop'}")


def named(folder, source, stream, instead=None):
    text = f"name: shop\nsources:\n  {source}: {instead}\n" if instead else SOURCES
    (folder / "headwater.yml").write_text(text)
    (definition,) = [one for one in load(folder, environment={}).sources if one.name == source]
    return datasets_of(definition, stream)
