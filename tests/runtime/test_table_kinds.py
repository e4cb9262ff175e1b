"""Tables of every kind over a scripted source: read by PyIceberg, held against DuckDB over the whole script."""

from __future__ import annotations

import functools
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scripted_project import ORDERS, PROJECT, Shop, inserts, lose_newest_checkpoint, order, run_with

from headwater.change import Op
from headwater.errors import HeadwaterError
from headwater.lake.opening import make_lake
from headwater.runtime import recovery
from headwater.runtime.intake import Slicing
from headwater.runtime.memory_plan import plan_memory
from headwater.testing.scripted_source import scripted_group

NO_LAYOUT = (
    (', partition: "bucket(2, id)"', ""),
    (", partition: change_op", ""),
    (", partition: is_current, sort: id", ""),
)
"""What makes of `KINDS` a project for formats that have no partitions and no order."""
KINDS = PROJECT.replace(
    "    streams:\n",
    """    streams:
      orders:
        table: {deletes: soft, partition: "bucket(2, id)"}
        tables:
          orders_changelog: {kind: changelog, partition: change_op}
          orders_history: {kind: history, partition: is_current, sort: id}
""",
)

VERSIONS = """
WITH net AS (  -- what each transaction left of each key
    SELECT id, tx, arg_max_null(status, n) AS status,
           arg_max_null(amount, n) AS amount, arg_max_null(there, n) AS there,
           max(moment) AS moment
    FROM (SELECT * FROM script WHERE id IS NOT NULL) GROUP BY id, tx
), stepped AS (
    SELECT *, lag(there) OVER w AS was, lag(status) OVER w AS old_status, lag(amount) OVER w AS old_amount
    FROM net WINDOW w AS (PARTITION BY id ORDER BY tx)
), effective AS (
    SELECT * FROM stepped
    WHERE there IS DISTINCT FROM coalesce(was, false) OR
          (there AND (status, amount) IS DISTINCT FROM (old_status, old_amount))
), timed AS (SELECT *, max(moment) OVER (ORDER BY tx) AS valid FROM effective)
SELECT id, status, amount, valid_from, valid_to, is_current, tx FROM (
    SELECT id, status, amount, there, valid AS valid_from, lead(valid) OVER v AS valid_to,
           lead(tx) OVER v IS NULL AS is_current, tx
    FROM timed WINDOW v AS (PARTITION BY id ORDER BY tx)
) WHERE there
"""


class Written:
    """Writes transactions of orders, and keeps what they mean, one change at a time."""

    def __init__(self) -> None:
        self.held: dict[int, dict] = {}
        self.script: list[tuple] = []
        self.changes: list[tuple] = []
        self.deleted: dict[int, tuple] = {}

    def group(self, tx, writes, at):
        """A transaction: (key, status) upserts, (key, None) deletes, and (None, None) truncates."""
        ops = []
        for key, status in writes:
            n, held = len(self.script), self.held.get(key)
            if key is None:
                ops.append((ORDERS, Op.TRUNCATE, {}))
                for gone, row in self.held.items():
                    self._gone("truncate", tx, len(ops) - 1, at, gone, row)
                self.held.clear()
            elif status is None:
                ops.append((ORDERS, Op.DELETE, {"id": key}))
                if held is not None:
                    self._gone("delete", tx, len(ops) - 1, at, key, self.held.pop(key))
            else:
                row = order(key, status)
                ops.append((ORDERS, Op.INSERT if held is None else Op.UPDATE, row))
                op = "insert" if held is None else "update"
                if held is not None:
                    self.changes.append((op, -1, tx, len(ops) - 1, at, *held.values()))
                self.changes.append((op, 1, tx, len(ops) - 1, at, *row.values()))
                self.script.append((n, tx, key, status, row["amount"], True, at))
                self.held[key] = row
                self.deleted.pop(key, None)
        return scripted_group(tx, ops, time_us=at)

    def _gone(self, op, tx, ordinal, at, key, row):
        self.changes.append((op, -1, tx, ordinal, at, *row.values()))
        self.script.append((len(self.script), tx, key, None, None, False, at))
        self.deleted[key] = (row, at)

    def versions(self):
        """What the history must hold: DuckDB over the whole script."""
        columns = [("n", pa.int64()), ("tx", pa.int64()), ("id", pa.int64()), ("status", pa.string()),
                   ("amount", pa.string()), ("there", pa.bool_()), ("moment", pa.int64())]  # fmt: skip
        arrays = [pa.array([row[i] for row in self.script], kind) for i, (_, kind) in enumerate(columns)]
        with duckdb.connect() as connection:
            connection.register("script", pa.table(arrays, names=[name for name, _ in columns]))
            return sorted(connection.execute(VERSIONS).fetchall(), key=str)


def us(moment):
    """Microseconds since 1970, None if there is none."""
    return None if moment is None else round(moment.timestamp() * 1e6)


def check(shop, written):
    """Every table is what the script says."""
    found = shop.rows("orders_history")
    own = [
        (row["id"], row["status"], row["amount"], us(row["valid_from"]), us(row["valid_to"]), row["is_current"],
         row["valid_from_commit"])
        for row in found
    ]  # fmt: skip
    assert sorted(own, key=str) == written.versions()
    told = [
        (row["change_op"], row["change_weight"], row["change_commit"], row["change_ordinal"], us(row["change_time"]),
         row["id"], row["status"], row["amount"])
        for row in shop.rows("orders_changelog")
    ]  # fmt: skip
    assert sorted(told, key=str) == sorted(written.changes, key=str)
    there = {key: (row, None) for key, row in written.held.items()} | written.deleted
    mirror = {row["id"]: row for row in shop.rows("orders")}
    assert mirror.keys() == there.keys()
    for key, (row, at) in there.items():
        assert mirror[key] == {**row, "_is_deleted": at is not None, "_deleted_at": mirror[key]["_deleted_at"]}
        assert us(mirror[key]["_deleted_at"]) == at
    account = shop.account("orders")
    assert account["holds"] and account["read"] == account["landed"]


WRITE = st.tuples(st.integers(1, 4), st.sampled_from(["new", "paid", None])) | st.just((None, None))
RUNS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.lists(WRITE, max_size=6), st.integers(-3, 5)), min_size=1, max_size=4),
        st.sampled_from(["", "crash"]),
    ),
    min_size=1,
    max_size=3,
)


def play(folder, runs, max_records=6):
    """Runs the script in parts, with small epochs; a crash loses the newest checkpoint, so that epochs run again."""
    shop, written = Shop(folder), Written()
    (folder / "headwater.yml").write_text(KINDS.replace("run: {", f"run: {{epoch_max_records: {max_records}, "))
    tx, at = 0, 1_000
    for transactions, then in runs:
        for writes, step in transactions:
            tx, at = tx + 1, max(at + step, 1)
            shop.source.add(written.group(tx, writes, at))
        shop.run_once()
        if then == "crash":
            try:
                lose_newest_checkpoint(shop)
            except (ValueError, AssertionError):
                continue  # there is only one yet
            shop.run_once()
    check(shop, written)
    return shop, written


@settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(RUNS)
def test_tables_of_every_kind_equal_their_oracle(tmp_path_factory, runs):
    play(tmp_path_factory.mktemp("shop"), runs)


@pytest.mark.parametrize("max_records", [4, 100])
def test_a_table_of_every_kind_through_a_life(tmp_path, max_records):
    script = [
        ([([(1, "new"), (2, "new")], 5), ([(1, "paid"), (1, "sent"), (3, "new"), (3, None)], 5)], ""),
        ([([(2, None)], 5)], ""),
        ([([(2, "new")], -3), ([(1, "sent")], 5), ([(1, None), (1, "sent")], 1)], "crash"),
        ([([(None, None), (4, "new")], 5), ([(4, "paid")], 0), ([(1, "back")], 2)], "crash"),
    ]
    shop, written = play(tmp_path, script, max_records)
    assert len(written.versions()) == 7
    assert shop.events("epoch.again"), "no epoch was run again"
    current = [row for row in shop.rows("orders_history") if row["is_current"]]
    assert sorted(row["id"] for row in current) == [1, 4]


def test_a_transaction_in_slices_makes_the_versions_of_one(tmp_path, monkeypatch):
    sliced = Slicing(1)
    monkeypatch.setattr(recovery, "plan_memory", lambda project: replace(plan_memory(project), slicing=sliced))
    large = [(1, "paid"), (2, None), (1, "sent"), (3, "new"), (3, None), (4, "new"), (4, "paid"), (2, "back")]
    _, written = play(tmp_path, [([([(1, "new"), (2, "new")], 5), (large, 5), ([(1, "late")], 5)], "")], 1)
    assert len(written.versions()) == 6


def test_a_model_has_tables_too(tmp_path):
    shop = Shop(tmp_path)
    front = "/*\ntable: {kind: history}\ntables: {counts_log: {kind: changelog}, counts_ever: {kind: append}}\n*/\n"
    shop.model("counts", front + "SELECT status, count(*) AS n FROM orders GROUP BY status")
    run_with(shop, inserts(1_000_000, 1, 2))
    run_with(shop, inserts(2_000_000, 3), inserts(3_000_000, 4, status="paid"))
    found = [(r["status"], r["n"], us(r["valid_from"]), us(r["valid_to"])) for r in shop.rows("counts")]
    assert sorted(found, key=str) == [
        ("new", 2, 1_000_000, 3_000_000), ("new", 3, 3_000_000, None), ("paid", 1, 3_000_000, None)
    ]  # fmt: skip
    told = sorted((r["change_op"], r["change_weight"], r["status"], r["n"]) for r in shop.rows("counts_log"))
    assert told == [("insert", 1, "paid", 1), ("read", 1, "new", 2), ("update", -1, "new", 2), ("update", 1, "new", 3)]
    assert sorted((r["status"], r["n"]) for r in shop.rows("counts_ever")) == [("new", 2), ("new", 3), ("paid", 1)]


def test_a_history_outlives_the_state_and_is_compared_with_the_next_snapshot(tmp_path):
    script = [([([(1, "new"), (2, "new"), (3, "new")], 5)], "")]
    shop, _ = play(tmp_path, script)
    shop.state.rename(tmp_path / "lost")
    shop.source._script.clear()
    rows = [(ORDERS, Op.READ, order(1)), (ORDERS, Op.READ, order(2, "paid"))]
    run_with(shop, scripted_group(7, rows[:1], snapshot=True), scripted_group(8, rows[1:], time_us=2_000))
    found = [(r["id"], r["status"], us(r["valid_from"]), us(r["valid_to"])) for r in shop.rows("orders_history")]
    assert sorted(found, key=str) == [
        (1, "new", 1_005, None), (2, "new", 1_005, 2_000), (2, "paid", 2_000, None), (3, "new", 1_005, 2_000)
    ]  # fmt: skip
    told = [(r["change_op"], r["id"]) for r in shop.rows("orders_changelog") if r["change_commit"] == 8]
    assert sorted(told, key=str) == [("read", 1), ("read", 2), ("restart", None)]
    gone = [row["id"] for row in shop.rows("orders") if row["_is_deleted"]]
    assert gone == [3]


def test_a_table_stays_of_its_kind(tmp_path):
    shop, _ = play(tmp_path, [([([(1, "new")], 5)], "")])
    (tmp_path / "headwater.yml").write_text(KINDS.replace("kind: history", "kind: mirror"))
    with pytest.raises(HeadwaterError, match="'orders_history' was made as history and is to be mirror"):
        shop.run_once()


def test_rows_that_are_read_again_as_they_are_make_no_version(tmp_path):
    shop, _ = play(tmp_path, [([([(1, "new"), (2, "new")], 5)], "")])
    again = scripted_group(50, [(ORDERS, Op.READ, order(1)), (ORDERS, Op.READ, order(2, "paid"))], time_us=5_000)
    run_with(shop, again)
    found = [(r["id"], r["status"], r["is_current"]) for r in shop.rows("orders_history")]
    assert sorted(found) == [(1, "new", True), (2, "new", False), (2, "paid", True)]
    assert [r["id"] for r in shop.rows("orders_changelog") if r["change_commit"] == 50] == [2, 2]


@pytest.mark.parametrize("kind", ["delta", "parquet"])
def test_every_format_has_the_kinds(tmp_path, kind):
    shop, written = Shop(tmp_path), Written()
    text = functools.reduce(lambda text, change: text.replace(*change), NO_LAYOUT, KINDS)
    (tmp_path / "headwater.yml").write_text(f"{text}lake: {{type: {kind}}}\n")
    script = [[(1, "new"), (2, "new")], [(1, "paid"), (2, None)], [(2, "new")]]
    for tx, writes in enumerate(script, start=1):
        run_with(shop, written.group(tx, writes, tx * 10))
    shop.rows = lambda name: make_lake(shop.project.lake, tmp_path, project="shop").open_table(name).read().to_pylist()
    check(shop, written)
