"""Readers poll while a model is swapped under load: each answer is one version's, whole, over a prefix of the input."""

import sys
import threading

import pytest
from polling import FEW, Reader, position
from pyiceberg.catalog.sql import SqlCatalog
from scripted_project import DEADLINE_S, landed, wait_until
from swapped_shop import FIRST, MORE, NEW, OLD, answers, ask, orders_after, over, swapped_shop, text, transaction

from headwater.clock import SystemClock
from headwater.runtime.swap.build import Build
from headwater.runtime.swap.requests import Applies
from headwater.serve.query import query

ALL = range(1, FIRST + MORE + 1)


class Traffic(threading.Thread):
    """Adds transactions, up to the one that it may at the moment."""

    def __init__(self, shop, last):
        super().__init__(daemon=True)
        self.shop, self.ended, self.number, self.last = shop, threading.Event(), FIRST, last
        self.start()

    def run(self):
        clock = SystemClock()
        while self.number < ALL[-1] and not clock.wait(self.ended, 0.03):
            if self.number < self.last:
                self.number += 1
                self.shop.source.add(transaction(self.number))

    def until(self, last):
        """Waits until these transactions have landed, while the next come already."""
        self.last = last + FEW
        wait_until(lambda: self.number >= last)
        landed_since(self.shop, last)


def landed_since(shop, number):
    """Waits until a transaction is in the tables; others may be."""
    events = shop.status
    wait_until(lambda: next(one["rows"] for one in events()["tables"] if one["name"] == "other") >= len(
        orders_after(number)))  # fmt: skip


@pytest.fixture
def slow_build(monkeypatch):
    """A build that goes on to be built until the event is set."""
    go, write = threading.Event(), Build._write

    def held(build):
        go.wait(DEADLINE_S)
        write(build)

    monkeypatch.setattr(Build, "_write", held)
    yield go
    go.set()


def test_every_answer_is_the_old_or_the_new_model_over_a_prefix(tmp_path, slow_build, capsys):
    shop = swapped_shop(tmp_path / "shop")
    shop.source.add(*map(transaction, range(1, FIRST + 1)))
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{shop.folder}/lake/catalog.db", init_catalog_tables="false")
    project = shop.project
    with shop.running() as running:
        landed(shop, "other", len(orders_after(FIRST)))
        readers = {
            "iceberg": Reader(lambda: catalog.load_table(("shop", "by_status")).scan().to_arrow().to_pylist()),
            "query": Reader(lambda: query(project, "SELECT * FROM by_status", fresh=False).to_pylist()),
        }
        traffic = Traffic(shop, FIRST + FEW)
        for reader in readers.values():
            reader.wait_for_more()
        shop.model("by_status", NEW)
        ask(shop)
        wait_until(lambda: Applies(shop.state).status().rows, "the picture is fed")
        before = shop.status()["epoch"]
        traffic.until(FIRST + 2 * FEW)  # the other tables follow while it is built
        assert shop.status()["epoch"] > before
        for reader in readers.values():
            reader.wait_for_more()
        traffic.last = ALL[-1] - FEW
        slow_build.set()
        status = over(shop)
        assert (status.state, status.error) == ("done", "")
        for reader in readers.values():
            reader.wait_for_more()
        traffic.last = ALL[-1]
        traffic.join()
        landed(shop, "other", len(orders_after(ALL[-1])))
        for reader in readers.values():
            reader.wait_for_more()
            reader.stop()
    assert running.error is None
    known = {"old": answers(OLD, ALL), "new": answers(NEW, ALL)}
    for name, reader in readers.items():
        found = position(reader.told, known)
        versions = [version for version, _ in found]
        assert versions.count(0) >= FEW and versions.count(1) >= FEW, f"{name} has not seen both"
        assert found[-1][0] == 1 and ALL[-1] in known["new"][reader.told[-1]]  # DuckDB's over the whole input
    epochs = shop.epochs("by_status")
    assert epochs == sorted(set(epochs)) and epochs.count(status.epoch) == 1
    polled = {name: len(reader.told) for name, reader in readers.items()}
    with capsys.disabled():
        sys.stdout.write(f"\nanswers polled {polled}; epochs waited {status.pause_ms} ms for the swap at most\n")


def test_the_reader_finds_a_torn_answer():
    """The test above can fail: an answer of half of each version is found, and so is a step back."""
    known = {"old": answers(OLD, ALL[:9]), "new": answers(NEW, ALL[:9])}
    old, new = next(iter(known["old"])), list(known["new"])
    for told in ([old, text([])], [new[-1], old], [new[3], new[2]], [old[:-1] + new[-1][1:]]):
        with pytest.raises(AssertionError, match="no version's answer"):
            position(told, known)
