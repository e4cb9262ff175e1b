"""The state store: plans come back as they were, checkpoints keep what recovery needs."""

import sqlite3
import subprocess
import sys

import pytest

from headwater.errors import StorageFailed, UserError
from headwater.runtime.state_store import CheckpointRecord, EpochPlan, Replay, StateStore


def plan(epoch):
    return EpochPlan(
        epoch,
        {"shop": (10 * epoch, 10 * epoch + 10)},
        models={"revenue": "f1"},
        rebuild=("revenue",),
        snapshotting=("shop",),
        replays=(Replay((3,), "decode", "orders", "QUJD"),),
    )


def test_plans_come_back_whole_and_in_order(tmp_path):
    store = StateStore(tmp_path)
    for epoch in (1, 2, 3):
        store.plan(plan(epoch))
    store.close()
    assert StateStore(tmp_path).plans_after(1) == [plan(2), plan(3)]


def test_an_epoch_is_planned_once(tmp_path):
    store = StateStore(tmp_path)
    store.plan(plan(1))
    with pytest.raises(sqlite3.IntegrityError):
        store.plan(plan(1))


def test_a_transaction_is_all_or_nothing(tmp_path):
    store = StateStore(tmp_path)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store._connection.execute("INSERT INTO epochs (epoch, plan) VALUES (9, '{}')")
        raise ZeroDivisionError
    assert store.plans_after(0) == []


def test_checkpoints_keep_two_and_the_epochs_above_the_older(tmp_path):
    store = StateStore(tmp_path)
    for epoch in range(1, 7):
        store.plan(plan(epoch))
        if epoch % 2 == 0:
            kept = store.add_checkpoint(CheckpointRecord(epoch, {"shop": epoch}, rows={"t": 5}), keep=2, now_us=1)
    assert [record.epoch for record in kept] == [6, 4]
    assert store.checkpoints()[0] == CheckpointRecord(6, {"shop": 6}, rows={"t": 5})
    assert [p.epoch for p in store.plans_after(0)] == [5, 6]


def test_a_newer_format_is_refused_with_the_way_out(tmp_path):
    StateStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="format 99") as caught:
        StateStore(tmp_path)
    assert "version that wrote it" in caught.value.hint


def test_a_full_disk_is_a_storage_failure_and_leaves_the_store_as_it_was(tmp_path):
    """SQLite is told the database may not grow: the same error as a full disk's."""
    store = StateStore(tmp_path)
    store.plan(plan(1))
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFailed, match="full"):
        for epoch in range(2, 500):
            store.plan(plan(epoch))
    store.close()
    epochs = [p.epoch for p in StateStore(tmp_path).plans_after(0)]
    assert epochs == list(range(1, len(epochs) + 1))


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path;"
        "from headwater.runtime.state_store import *;"
        "s = StateStore(Path(sys.argv[1])); s.plan(EpochPlan(1, {}));"
        "t = s.transaction(); t.__enter__();"
        "s._connection.execute(\"INSERT INTO epochs (epoch, plan) VALUES (2, '{}')\");"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert [p.epoch for p in StateStore(tmp_path).plans_after(0)] == [1]
