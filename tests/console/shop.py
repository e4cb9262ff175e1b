"""A small shop that runs as `headwater run` has it, in this process: orders come over HTTP, visits by themselves."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg

from headwater.clock import SystemClock
from headwater.console.services import services
from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.testing.postgres import PostgresServer

DEADLINE_S = 60.0
PROJECT = """\
name: shop
api: {port: 0%(api)s}
sources:
  web:
    type: http
    streams:
      orders:
        key: [id]
        columns: {id: BIGINT, customer: VARCHAR, amount: "DECIMAL(10,2)", ordered_at: TIMESTAMPTZ}
        watermark: {column: ordered_at, delay: 2 seconds}
  till:
    type: postgres
    url: %(till)s
    tables: [public.receipts]
    snapshot: schema_only
    snapshot_chunk_rows: 1
  visits:
    type: python
    file: sources/visits.py
    key: [id]
    columns: {id: BIGINT, page: VARCHAR, ms: BIGINT}
syncs:
  big_spenders:
    type: files
    model: revenue_by_customer
    folder: out/spenders
run: {epoch_interval: 200 ms, checkpoint_interval: 1 second}
"""
VISITS = """\
import time

import headwater

PAGES = ("home", "search", "basket", "pay")


@headwater.source
def visits(position):
    at = position or 0
    while True:
        rows = [{"id": at + i, "page": PAGES[(at + i) % 4], "ms": (at + i) * 37 % 900} for i in range(10)]
        at += len(rows)
        yield rows, at
        time.sleep(1)
"""
MODELS = {
    "revenue_by_customer": "SELECT customer, count(*) AS orders, sum(amount) AS revenue FROM orders GROUP BY customer",
    "large_orders": "SELECT id, customer, amount FROM orders WHERE amount > 100",
    "visits_by_page": "SELECT page, count(*) AS visits, avg(ms) AS ms FROM visits GROUP BY page",
    "orders_by_desk": "SELECT id, desk(customer) AS desk FROM orders",
    "best_customers": "SELECT customer, revenue FROM revenue_by_customer WHERE revenue > 500",
}
FUNCTIONS = """\
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import headwater

STRIKE = Path(__file__).parents[1] / "strike"


@headwater.udf(["VARCHAR"], "VARCHAR")
def desk(customers: pa.ChunkedArray) -> pa.ChunkedArray:
    if STRIKE.exists() and "Zoe" in customers.to_pylist():
        raise RuntimeError("nobody is at the desk")
    return pc.utf8_upper(customers)
"""
"""Fails for one customer's orders as long as there is a file `strike`: such rejects go through when it is gone."""
CUSTOMERS = ("Ana", "Bruno", "Carla", "Duarte", "Eva")


class Shop:
    """The running project.

    Attributes:
        folder: the project's.
        url: of the console, without a slash at its end.
        client: speaks to the API.
    """

    def __init__(self, folder: Path, url: str, token: str = "") -> None:
        self.folder = folder
        self.url = url
        self.orders = 0
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE_S, headers=headers)

    def order(self, rows: Sequence[dict[str, object]]) -> None:
        """Takes orders (or what cannot be one) in, and returns when they are in the log."""
        self.client.post("/v1/streams/orders", json=list(rows)).raise_for_status()

    def orders_of(self, count: int) -> list[dict[str, object]]:
        """That many new orders, ever with numbers of their own."""
        first, self.orders = self.orders, self.orders + count
        return [
            {"id": n, "customer": CUSTOMERS[n % 5], "amount": f"{n * 7919 % 30000 / 100:.2f}",
             "ordered_at": f"2026-03-01T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z"}
            for n in range(first, first + count)
        ]  # fmt: skip

    def bad_orders(self, count: int) -> None:
        """Takes in orders whose amount is no number; each becomes a reject."""
        self.order([{**order, "amount": "twelve"} for order in self.orders_of(count)])

    def get(self, path: str) -> dict[str, object]:
        """What the API answers."""
        answer = self.client.get(path)
        answer.raise_for_status()
        return dict(answer.json())

    def table_rows(self, table: str) -> int:
        """Rows of a table as the overview has them; -1 if it is not there."""
        tables = {entry["name"]: entry["rows"] for entry in self.get("/v1/overview")["tables"]}  # type: ignore[attr-defined]
        return int(tables.get(table, -1))


@contextmanager
def till_server() -> Iterator[str]:
    """The URL of a PostgreSQL with the till's receipts: as many as take minutes to be read one by one."""
    with PostgresServer() as server, psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE receipts (id bigint PRIMARY KEY, total numeric(10,2))")
        connection.execute("INSERT INTO receipts SELECT n, n / 10.0 FROM generate_series(1, 50000) AS n")
        yield server.url()


@contextmanager
def running_shop(folder: Path, till: str, token: str = "") -> Iterator[Shop]:
    """The shop in `folder`, begun with 200 orders and three bad ones, until the block ends."""
    (folder / "models").mkdir(parents=True)
    (folder / "sources").mkdir()
    (folder / "headwater.yml").write_text(PROJECT % {"api": f", token: {token}" if token else "", "till": till})
    (folder / "functions").mkdir()
    (folder / "sources" / "visits.py").write_text(VISITS)
    (folder / "functions" / "desk.py").write_text(FUNCTIONS)
    for name, sql in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(f"{sql}\n")
    supervisor = Supervisor(load(folder, environment={}), Journal(io.StringIO(), as_json=True), extend=services)
    ended: list[Exception | None] = []
    thread = threading.Thread(target=lambda: ended.append(supervisor.run()))
    thread.start()
    shop = Shop(folder, supervisor.api_url or "", token)
    try:
        wait_until(lambda: answers(shop))
        shop.order(shop.orders_of(200))
        shop.bad_orders(3)
        wait_until(lambda: shop.table_rows("orders") >= 200 and shop.table_rows("best_customers") > 0)
        yield shop
    finally:
        shop.client.close()
        supervisor.stop()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert ended == [None]


def answers(shop: Shop) -> bool:
    """Whether the server is there and the source of orders takes them."""
    try:
        return shop.client.post("/v1/streams/orders", json=[]).status_code == 202
    except httpx.TransportError:
        return False


def wait_until(true: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Asks again and again until it is so.

    Raises:
        TimeoutError: it was not, in all that time.
    """
    clock = SystemClock()
    end = clock.monotonic_s() + deadline_s
    while not true():
        if clock.monotonic_s() > end:
            raise TimeoutError
        clock.wait(threading.Event(), 0.05)
