"""An epoch that is taken in slices says the same as one that is taken whole."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_project import EVENTS, ORDERS, PROJECT, Shop, order, wait_until

from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.errors import StorageFailed
from headwater.lake.iceberg.table import IcebergTable
from headwater.log.partition import Partition
from headwater.position import Boundary, Position
from headwater.runtime import recovery
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.intake import Slicing, take_in
from headwater.runtime.memory_plan import plan_memory
from headwater.runtime.state_store import EpochPlan
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group

BY_STATUS = "SELECT status, count(*) AS n, sum(CAST(amount AS INTEGER)) AS total FROM orders GROUP BY status"
BY_SECOND = """/*
emit: final
late: reject
*/
SELECT window_start, count(*) AS n FROM tumble(events, happened, INTERVAL '5 seconds') GROUP BY window_start"""
SECOND = 1_000_000


@pytest.fixture(autouse=True)
def slicing_as_it_was(monkeypatch):
    """What a shop sets is put back."""
    monkeypatch.setattr(recovery, "plan_memory", recovery.plan_memory)


class SlicedShop(Shop):
    """A shop with an epoch for each transaction, cut into slices of `records`."""

    def __init__(self, folder, records):
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.records = records
        settings = "epoch_max_records: 1, "
        (folder / "headwater.yml").write_text(PROJECT.replace("run: {", "run: {" + settings))
        self.model("by_status", BY_STATUS)
        self.model("by_second", BY_SECOND)

    def supervisor(self, *, once=False):
        slicing = Slicing(self.records)
        recovery.plan_memory = lambda project: replace(plan_memory(project), slicing=slicing)
        return super().supervisor(once=once)

    def picture(self):
        """All that the tables and accounts say."""
        tables = {name: self.rows(name) for name in ("orders", "events", "by_status", "by_second")}
        accounts = {name: self.account(name) for name in ("orders", "events", "by_second")}
        kept = ("read", "landed", "rejected", "filtered", "late")
        return tables, {name: {key: account[key] for key in kept} for name, account in accounts.items()}


def transaction(commit, changes, held, number):
    """One transaction of random upserts, deletes and events; `held` are the orders there are."""
    dice, entries = random.Random(number), []
    for _ in range(changes):
        if dice.random() < 0.3:
            happened = (commit * 3 + dice.randint(-8, 4)) * SECOND
            entries.append((EVENTS, Op.INSERT, {"happened": max(happened, 0), "n": commit}))
            continue
        row = order(dice.randint(1, 6), dice.choice(["new", "paid", "sent"]), str(dice.randint(1, 9)))
        if row["id"] in held and dice.random() < 0.4:
            held.remove(row["id"])
            entries.append((ORDERS, Op.DELETE, {"id": row["id"]}))
        else:
            entries.append((ORDERS, Op.UPDATE if row["id"] in held else Op.INSERT, row))
            held.add(row["id"])
    return scripted_group(commit, entries, time_us=commit * SECOND)


def script(sizes, seed):
    held = set()
    return [transaction(commit, size, held, seed + commit) for commit, size in enumerate(sizes, start=1)]


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4), seed=st.integers(0, 10**6), records=st.integers(1, 7)
)
def test_slices_say_what_the_whole_says(tmp_path_factory, sizes, seed, records):
    folder = tmp_path_factory.mktemp("slices")
    pictures = []
    for most in (100_000, records):
        shop = SlicedShop(folder / str(most), most)
        shop.source.add(*script(sizes, seed))
        for _ in range(2):
            shop.run_once()
        pictures.append(shop.picture())
    assert pictures[0] == pictures[1]


def test_an_epoch_never_ends_inside_a_transaction(tmp_path):
    """One table snapshot per epoch, each with whole transactions, however small the slices."""
    shop = SlicedShop(tmp_path / "shop", 3)
    entries = [(ORDERS, Op.INSERT, order(number)) for number in range(10)]
    shop.source.add(scripted_group(1, entries), scripted_group(2, [(ORDERS, Op.DELETE, {"id": n}) for n in range(10)]))
    seen = []
    staged = IcebergTable.stage

    def watched(self, epoch, delta, *, replace=False):
        staged(self, epoch, delta, replace=replace)
        seen.append((epoch, self.spec.name, self.read().num_rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IcebergTable, "stage", watched)
        shop.run_once()
    assert shop.epochs("orders") == [1, 2]
    assert [entry for entry in seen if entry[1] == "orders"] == [(1, "orders", 0)] * 4 + [(2, "orders", 10)] * 4
    assert shop.rows("orders") == []


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_an_epoch_that_fails_between_slices_is_run_again(tmp_path, fails_at):
    shop = SlicedShop(tmp_path / "shop", 3)
    shop.source.add(*script([10, 12], 7))
    calls, staged = [], IcebergTable.stage

    def failing(self, epoch, delta, *, replace=False):
        calls.append(epoch)
        if len(calls) == fails_at:
            raise StorageFailed("the disk is full")
        staged(self, epoch, delta, replace=replace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IcebergTable, "stage", failing)
        with shop.running():
            wait_until(lambda: 0 < shop.account("orders")["read"] == shop.account("orders")["landed"])
    shop.run_once()
    whole = SlicedShop(tmp_path / "whole", 1000)
    whole.source.add(*script([10, 12], 7))
    whole.run_once()
    assert shop.picture() == whole.picture()


def test_event_time_stands_still_inside_an_epoch(tmp_path):
    """Rows of one transaction are late only by what came before it."""
    shop = SlicedShop(tmp_path / "shop", 2)
    times = [100, 3, 90, 2, 1]
    events = [(EVENTS, Op.INSERT, {"happened": t * SECOND, "n": t}) for t in times]
    shop.source.add(
        scripted_group(1, events), scripted_group(2, [(EVENTS, Op.INSERT, {"happened": 4 * SECOND, "n": 0})])
    )
    shop.run_once()
    assert shop.account("by_second")["rejected"] + shop.account("by_second")["late"] == 1
    assert [row["n"] for row in shop.rows("by_second")] == [3, 1]


def test_slices_are_cut_by_records_and_bytes(tmp_path):
    log = Partition.open(tmp_path)
    group = scripted_group(1, [(ORDERS, Op.UPDATE, order(n, amount="x" * 100)) for n in range(40)])
    log.append([group, scripted_group(2, [(ORDERS, Op.INSERT, order(1))])])
    plan, logs = EpochPlan(1, {"shop": (0, 41)}), {"shop": log}
    by_records = [intake.changes("orders") for intake in take_in(plan, logs, None, Slicing(15))]
    assert sum(by_records) == 41 and max(by_records) <= 15
    by_bytes = list(take_in(plan, logs, None, Slicing(1000, 1000)))
    assert sum(intake.changes("orders") for intake in by_bytes) == 41 and len(by_bytes) >= 5
    assert [intake.first for intake in by_bytes] == [True] + [False] * (len(by_bytes) - 1)
    assert [intake.last for intake in by_bytes] == [False] * (len(by_bytes) - 1) + [True]
    log.close()


def test_the_halves_of_an_update_stay_together(tmp_path):
    """The new row's unchanged columns are those of the old row right before it."""
    full = StreamSchema("orders", ORDERS.columns, ORDERS.key, "full")
    rows = [
        {"_op": 2, "_weight": weight, "_commit": 1, "_ordinal": n, "_time": None, "_unchanged": None, "id": n}
        for n in range(20)
        for weight in (-1, 1)
    ]
    batch = ChangeBatch(full, pa.RecordBatch.from_pylist(rows, schema=log_schema(full)))
    log = Partition.open(tmp_path)
    log.append([Group(Boundary(Position(1)), (batch,))])
    slices = list(take_in(EpochPlan(1, {"shop": (0, 40)}), {"shop": log}, None, Slicing(3)))
    assert [intake.changes("orders") for intake in slices] == [4] * 10
    log.close()


def test_a_small_epoch_is_one_slice(tmp_path, monkeypatch):
    shop = SlicedShop(tmp_path / "shop", 1000)
    shop.source.add(*script([20, 20], 3))
    slices, step = [], Dataflow.step

    def counted(self, plan, intake):
        slices.append((intake.first, intake.last))
        return step(self, plan, intake)

    monkeypatch.setattr(Dataflow, "step", counted)
    shop.run_once()
    assert set(slices) == {(True, True)}


KILLED = """
import sys
from pathlib import Path
from test_slices import SlicedShop, script

shop = SlicedShop(Path(sys.argv[1]), 3)
shop.source.add(*script([10, 12], 7))
shop.run_once()
"""


@pytest.mark.parametrize("passing", [1, 4, 9])
def test_killed_between_slices(tmp_path, passing):
    """What was written and never committed is not there; the epoch is run again."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "HEADWATER_FAILPOINT": f"epoch.sinks.staged:{passing}", "PYTHONPATH": paths}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "shop")]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -signal.SIGKILL
    pictures = []
    for name in ("shop", "whole"):
        shop = SlicedShop(tmp_path / name, 3 if name == "shop" else 1000)
        shop.source.add(*script([10, 12], 7))
        shop.run_once()
        pictures.append(shop.picture())
    assert pictures[0] == pictures[1]
