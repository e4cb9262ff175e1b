"""Killed at any instant of a swap, a model's table is the old version whole or the new one, and all goes on right."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_project import DEADLINE_S
from swapped_shop import (
    FIRST,
    MORE,
    NEW,
    OLD,
    answers,
    keep_at_once,
    orders_after,
    swapped_shop,
    text,
    transaction,
    unnamed,
)

ALL = range(1, FIRST + MORE + 1)
BUILDING = ("swap.build.written", "swap.build.prepared")
SWAPPING = (
    "swap.adopt.become", "checkpoint.after_catalog", "epoch.plan.after", "swap.prepared.before",
    "epoch.sinks.between", "epoch.done.before",
    "swap.done.after",
)  # fmt: skip


@pytest.fixture(scope="module")
def forks():
    """Runs the shop in a process that is killed; gives its exit code."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(here.parent / "lake" / "fork_server.py"), "swapped_shop"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def run(armed, *arguments):
        server.stdin.write(json.dumps([armed, [*map(str, arguments)]]) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield run
    server.communicate(timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def known():
    """What each version answers after each transaction."""
    return {(version, of): answers(sql, ALL, of) for version, sql in (("old", OLD), ("new", NEW))
            for of in ("by_status", "plain")}  # fmt: skip


def versions_of(shop, known, table):
    """The versions of which a table is the whole answer, after some transaction."""
    rows = text(shop.rows(table))
    return {version for version, of in known if of == table and rows in known[version, of]}


@pytest.mark.parametrize("instant", [*BUILDING, *SWAPPING])
def test_killed_there_the_table_is_whole_and_the_next_start_ends_with_the_new_version(tmp_path, forks, known, instant):
    early = instant in BUILDING
    code = forks(f"{instant}:1" if early else "", tmp_path / "shop", "" if early else f"{instant}:1")
    assert code == -signal.SIGKILL, f"{instant} was not met"
    shop = swapped_shop(tmp_path / "shop")
    found = {table: versions_of(shop, known, table) for table in ("by_status", "plain")}
    assert all(found.values()), f"neither version: {found}"
    if early or instant in SWAPPING[:4]:
        assert "old" in found["by_status"]
    if instant in SWAPPING[-2:]:
        assert found == {"by_status": {"new"}, "plain": {"new"}}
    shop.model("by_status", NEW)
    shop.source.add(*map(transaction, ALL))
    shop.run_once()
    last = ALL[-1]
    assert known["new", "by_status"].get(text(shop.rows("by_status"))) == [last]
    assert last in known["new", "plain"].get(text(shop.rows("plain")), ())
    assert [row["id"] for row in sorted(shop.rows("other"), key=lambda row: row["id"])] == orders_after(last)
    assert shop.account("orders")["holds"] and shop.account("by_status")["holds"]
    if "prepared" in instant:
        assert unnamed(shop, "by_status"), "what was prepared is of no use to the next start"
    keep_at_once(shop, "by_status")
    assert not unnamed(shop, "by_status")
    assert known["new", "by_status"].get(text(shop.rows("by_status"))) == [last]
    shop.run_once()
    assert shop.events("epochs.stopped") == []


def test_killed_in_the_middle_and_started_with_the_old_file_it_is_the_old_version(tmp_path, forks, known):
    code = forks("", tmp_path / "shop", "epoch.sinks.between:1")
    assert code == -signal.SIGKILL
    shop = swapped_shop(tmp_path / "shop")
    shop.source.add(*map(transaction, ALL))
    shop.run_once()
    assert known["old", "by_status"].get(text(shop.rows("by_status"))) == [ALL[-1]]
