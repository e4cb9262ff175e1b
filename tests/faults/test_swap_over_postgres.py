"""A model over a real PostgreSQL is swapped while its table is written: clients that poll the Iceberg table and the SQL
endpoint see the old version or the new one, whole, over a prefix of the transactions, and never go back."""

import io
import threading

import httpx
import psycopg
import pytest
from polling import FEW, Reader, position
from pyiceberg.catalog.sql import SqlCatalog
from scripted_project import DEADLINE_S, Shop, landed, wait_until
from swapped_shop import FIRST, MORE, NEW, OLD, answers, ask, orders_after, over, unnamed

from headwater.clock import SystemClock
from headwater.console.services import services
from headwater.project import load
from headwater.runtime import prepared as prepared_table
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.runtime.swap.build import Build

ALL = range(1, FIRST + MORE + 1)
REST_S = 0.1
"""Between two answers: whoever asks without a pause takes the processor from what is tested."""

PROJECT = """
name: shop
sources:
  shop: {type: postgres, url: "${SHOP_URL}", tables: [public.orders]}
run: {epoch_interval: 100 ms}
api: {port: 0}
"""


class PostgresShop(Shop):
    """The shop with its orders in a database."""

    def __init__(self, folder, url):
        super().__init__(folder)
        (folder / "headwater.yml").write_text(PROJECT)
        self.url, self.log = url, io.StringIO()

    @property
    def project(self):
        return load(self.folder, environment={"SHOP_URL": self.url})

    def supervisor(self, *, once=False):
        journal = Journal(self.log, as_json=True)
        return Supervisor(self.project, journal, once=once, extend=services, reload=lambda: self.project)


class Traffic(threading.Thread):
    """Writes transactions: an order comes, and each third time one goes; up to the one that it may at the moment."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.connection, self.number, self.last = psycopg.connect(url, autocommit=True), 0, 0
        self.connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, status text)")
        self.ended = threading.Event()

    def one(self):
        self.number += 1
        with self.connection.transaction():
            status = "abc"[self.number % 3]
            self.connection.execute("INSERT INTO orders VALUES (%s, %s)", (self.number, status))
            if self.number % 3 == 0:
                self.connection.execute("DELETE FROM orders WHERE id = %s", (self.number - 2,))

    def run(self):
        clock = SystemClock()
        while self.number < ALL[-1] and not clock.wait(self.ended, 0.03):
            if self.number < self.last:
                self.one()

    def stop(self):
        self.ended.set()
        if self.is_alive():
            self.join()
        self.connection.close()


@pytest.fixture
def traffic(url):
    made = Traffic(url)
    for _ in range(FIRST):
        made.one()
    yield made
    made.stop()


def polled(shop, api_url):
    """One that reads the table as any engine does, and one that asks the SQL endpoint."""
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{shop.folder}/lake/catalog.db", init_catalog_tables="false")
    http = httpx.Client(base_url=api_url, timeout=DEADLINE_S, trust_env=False)

    def asked():
        answer = http.post("/v1/sql", json={"sql": "SELECT * FROM by_status"})
        assert answer.status_code == 200, answer.text
        names = [column["name"] for column in answer.json()["columns"]]
        return [dict(zip(names, row, strict=True)) for row in answer.json()["rows"]]

    table = Reader(lambda: catalog.load_table(("shop", "by_status")).scan().to_arrow().to_pylist(), REST_S)
    return {"iceberg": table, "sql": Reader(asked, REST_S)}


def test_every_answer_is_the_old_or_the_new_model_over_a_prefix(tmp_path, url, traffic, monkeypatch):
    go, prepared, prepare = threading.Event(), threading.Event(), Build._prepare

    def held(build):  # so that transactions come while it is built, and after its rows were written
        prepare(build)
        prepared.set()
        go.wait(DEADLINE_S)

    monkeypatch.setattr(Build, "_prepare", held)
    monkeypatch.setattr(prepared_table, "FILE_ROWS", 2)  # several files at first,
    monkeypatch.setattr(prepared_table, "WRITE_ROWS", 5)  # and files on top of them with rows that take others back
    shop = PostgresShop(tmp_path / "shop", url)
    shop.model("by_status", OLD)
    with shop.running() as running:
        landed(shop, "orders", len(orders_after(FIRST)))
        readers = polled(shop, running.api_url)
        traffic.start()
        traffic.last = FIRST + 2 * FEW
        for reader in readers.values():
            reader.wait_for_more()
        shop.model("by_status", NEW)
        ask(shop)
        assert prepared.wait(DEADLINE_S) and unnamed(shop, "by_status")
        traffic.last = ALL[-1] - FEW
        wait_until(lambda: traffic.number > FIRST + 3 * FEW)
        for reader in readers.values():
            reader.wait_for_more()
        go.set()
        status = over(shop)
        assert (status.state, status.error) == ("done", "")
        traffic.last = ALL[-1]
        traffic.join()
        landed(shop, "orders", len(orders_after(ALL[-1])))
        for reader in readers.values():
            reader.wait_for_more()
            reader.stop()
    assert running.error is None
    known = {"old": answers(OLD, ALL), "new": answers(NEW, ALL)}
    for name, reader in readers.items():
        versions = [version for version, _ in position(reader.told, known)]
        assert versions.count(0) >= FEW and versions.count(1) >= 1, f"{name} has not seen both"
        assert ALL[-1] in known["new"][reader.told[-1]]
    epochs = shop.epochs("by_status")
    assert epochs == sorted(set(epochs)) and epochs.count(status.epoch) == 1
    assert not unnamed(shop, "by_status")
