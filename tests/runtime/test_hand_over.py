"""Models and tables that begin when the log no longer holds the beginning, and a state that begins from the lake."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from scripted_project import EVENTS, ORDERS, PROJECT, Shop, inserts, lose_newest_checkpoint, order, run_with

from headwater.change import Op
from headwater.errors import HeadwaterError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.log.partition import open_for_reading
from headwater.testing.scripted_source import ScriptedSource, scripted_group

SHORT = PROJECT.replace("log_segment: 4 KiB", "log_segment: 4 KiB, log_retention: {max_bytes: 1, max_age: 1 ms}")
BOTH = (
    "/*\nkey: [status]\n*/\nSELECT o.status, count(*) AS orders, sum(CAST(o.amount AS BIGINT)) AS amount,"
    " count(DISTINCT e.n) AS kinds FROM orders o JOIN events e ON o.id % 3 = e.n % 3 GROUP BY o.status"
)


COMMITS = 60
SIZE = os.environ.get("HEADWATER_SIZE", "pr")


def script():
    """Many small transactions over two streams: inserts, updates, deletes."""
    groups = []
    for commit in range(1, COMMITS + 1):
        changes = [(ORDERS, Op.INSERT, order(commit, status=f"s{commit % 4}", amount=str(commit)))]
        if commit % 3 == 0:
            changes.append((ORDERS, Op.UPDATE, order(commit // 2 or 1, status="moved", amount="5")))
        if commit % 7 == 0:
            changes.append((ORDERS, Op.DELETE, {"id": commit - 2}))
        changes.append((EVENTS, Op.INSERT, {"happened": None, "n": commit}))
        groups.append(scripted_group(commit, changes, time_us=commit))
    return groups


def expected(groups, sql):
    """DuckDB's answer over all that the script says."""
    orders, events = {}, []
    for group in groups:
        changes = []
        for batch in group.batches:
            changes += [(row["_ordinal"], batch.stream.name, row) for row in batch.rows.to_pylist()]
        for _, stream, row in sorted(changes, key=lambda change: change[0]):
            if stream == "events":
                events.append({"happened": row["happened"], "n": row["n"]})
            elif row["_weight"] < 0:
                orders.pop(row["id"], None)
            else:
                orders[row["id"]] = {name: row[name] for name in ORDERS.columns.names}
    with duckdb.connect() as connection:
        connection.register("orders", pa.Table.from_pylist(list(orders.values()), schema=ORDERS.columns))
        connection.register("events", pa.Table.from_pylist(events, schema=EVENTS.columns))
        return connection.sql(sql).to_arrow_table().to_pylist()


def in_order(rows):
    return sorted(({key: int(v) if key != "status" else v for key, v in row.items()} for row in rows), key=str)


def base(shop):
    """Where the log begins."""
    return open_for_reading(shop.state / "log" / "shop").base


@pytest.fixture
def trimmed(tmp_path):
    """A project whose log no longer holds its beginning."""
    return make_trimmed(tmp_path / "project")


def make_trimmed(folder):
    shop = Shop(folder)
    (folder / "headwater.yml").write_text(SHORT)
    groups = script()
    for at in range(0, 45, 15):
        run_with(shop, *groups[at : at + 15])
    assert base(shop) > 0
    shop.source.add(*groups[45:])
    return shop


def lose_checkpoints(shop, how):
    """Makes every checkpoint unreadable."""
    for folder in (shop.state / "checkpoints").iterdir():
        if how == "missing":
            shutil.rmtree(folder)
        else:
            for path in folder.rglob("manifest.json"):
                path.write_text({"corrupt": "{", "newer": path.read_text().replace('"format": ', '"format": 9')}[how])


def test_a_model_added_when_the_log_is_trimmed_has_all_rows(trimmed):
    trimmed.model("both", BOTH)
    trimmed.run_once()
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))


@pytest.mark.parametrize("how", ["missing", "corrupt", "newer"])
def test_streams_go_on_from_the_lake_when_no_checkpoint_can_be_read(trimmed, how):
    """T-CK-03."""
    lose_checkpoints(trimmed, how)
    trimmed.model("both", BOTH)
    trimmed.run_once()
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))
    assert in_order_ids(trimmed) == [row["id"] for row in expected(script(), "SELECT id FROM orders ORDER BY id")]
    assert trimmed.account("orders")["holds"] and trimmed.account("events")["holds"]
    assert trimmed.events("state.from_lake")
    run_with(trimmed, inserts(200, 500))
    assert 500 in in_order_ids(trimmed)


def in_order_ids(shop):
    return sorted(row["id"] for row in shop.rows("orders"))


@pytest.mark.parametrize("lost", [False, True])
def test_a_state_store_that_is_lost_is_begun_from_the_lake(trimmed, lost):
    trimmed.model("both", BOTH)
    if lost:
        (trimmed.state / "streams.json").unlink()
    (trimmed.state / "state.db").unlink()
    trimmed.run_once()
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))
    assert in_order_ids(trimmed) == [row["id"] for row in expected(script(), "SELECT id FROM orders ORDER BY id")]
    assert len(trimmed.rows("events")) == COMMITS


@pytest.mark.parametrize("how", ["checkpoints", "store"])
def test_a_stream_that_is_in_no_table_says_what_to_do(tmp_path, how):
    shop = Shop(tmp_path / "project")
    (shop.folder / "headwater.yml").write_text(SHORT.replace("streams:\n", "streams:\n      orders: {mirror: false}\n"))
    for at in range(0, 45, 15):
        run_with(shop, *script()[at : at + 15])
    shop.model("both", BOTH)
    if how == "checkpoints":
        lose_checkpoints(shop, "missing")
    else:
        (shop.state / "state.db").unlink()
    with pytest.raises(HeadwaterError, match=r"stream 'orders' are in no table.*mirror: false") as caught:
        shop.run_once()
    assert "move the state folder away" in caught.value.hint


def test_epochs_that_were_cut_short_are_run_again_after_the_hand_over(trimmed):
    trimmed.run_once()
    lose_newest_checkpoint(trimmed)
    lose_checkpoints(trimmed, "missing")
    trimmed.model("both", BOTH)
    trimmed.run_once()
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))


def test_tables_that_a_crash_left_an_epoch_apart_are_begun_from_the_epoch_that_both_hold(trimmed):
    """One table's last commit never came to be, as its catalog says, and checkpoints and state.db are lost."""
    (trimmed.folder / "headwater.yml").write_text(PROJECT + "maintenance: {enabled: false}\n")
    for at in range(45, COMMITS, 5):
        trimmed.source = ScriptedSource("shop", [ORDERS, EVENTS], script()[: at + 5])
        trimmed.run_once()
    with closing(sqlite3.connect(trimmed.folder / "lake" / "catalog.db")) as catalog, catalog:
        back = "UPDATE iceberg_tables SET metadata_location = previous_metadata_location WHERE table_name = 'events'"
        assert catalog.execute(back).rowcount == 1
    ahead, behind = trimmed.epochs("orders"), trimmed.epochs("events")
    assert ahead[:-1][-1:] == behind[-1:] and len(trimmed.rows("events")) < COMMITS
    lose_checkpoints(trimmed, "missing")
    (trimmed.state / "state.db").unlink()
    trimmed.model("both", BOTH)
    trimmed.run_once()
    assert sorted(row["n"] for row in trimmed.rows("events")) == list(range(1, COMMITS + 1))
    assert in_order_ids(trimmed) == [row["id"] for row in expected(script(), "SELECT id FROM orders ORDER BY id")]
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))


INSTANTS = [
    "epoch.plan.after",
    "lake.commit.after_catalog:1",
    "lake.commit.after_catalog:2",
    "epoch.done.before",
    "checkpoint.after_fsync",
    "checkpoint.after_catalog",
]


LOSSES = ["nothing", "checkpoints", "store"]
KILLS = [(instant, lost) for instant in INSTANTS for lost in LOSSES]


@pytest.mark.parametrize(("instant", "lost"), KILLS if SIZE != "pr" else KILLS[::4])
def test_killed_during_the_hand_over(trimmed, instant, lost):
    if lost == "checkpoints":
        lose_checkpoints(trimmed, "missing")
    elif lost == "store":
        (trimmed.state / "state.db").unlink()
    environment = {**os.environ, "HEADWATER_FAILPOINT": instant}
    command = [sys.executable, __file__, str(trimmed.folder)]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == -signal.SIGKILL
    trimmed.model("both", BOTH)
    trimmed.run_once()
    assert in_order(trimmed.rows("both")) == in_order(expected(script(), BOTH.partition("*/")[2]))
    assert in_order_ids(trimmed) == [row["id"] for row in expected(script(), "SELECT id FROM orders ORDER BY id")]
    assert sorted(row["n"] for row in trimmed.rows("events")) == list(range(1, COMMITS + 1))
    lake = IcebergLake(trimmed.folder / "lake", namespace="shop", read_only=True)
    epochs = [one.epoch for one in lake.open_table("orders").snapshots() if not one.maintenance]
    lake.close()
    assert len(set(epochs)) == len(epochs)


if __name__ == "__main__":
    child = Shop(Path(sys.argv[1]))
    (child.folder / "headwater.yml").write_text(SHORT)
    child.model("both", BOTH)
    child.source.add(*script())
    child.run_once()
