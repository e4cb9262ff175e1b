"""A changed model is built beside the running one and swapped in at an epoch."""

import json
import threading

import pyarrow as pa
import pytest
from scripted_project import DEADLINE_S, ORDERS, inserts, landed, order, wait_until
from swapped_shop import ask, over, unnamed

from headwater.change import Op
from headwater.errors import UserError
from headwater.lake.iceberg.table import IcebergTable
from headwater.project.versions import Versions, models_digest
from headwater.runtime.swap.asking import restore_file, version_before
from headwater.runtime.swap.build import Build
from headwater.runtime.swap.requests import Applies, ApplyRequest
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"
SUM = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders, sum(id)::BIGINT AS ids FROM orders GROUP BY status"
TOP = "/*\nkey: [status]\n*/\nSELECT status, orders * 10 AS tens FROM by_status"


def applied(shop, **settings):
    ask(shop, **settings)
    status = over(shop)
    assert (status.state, status.error) == ("done", "")
    return status


def test_a_changed_model_and_what_reads_it_are_swapped_while_it_runs(shop):
    shop.model("by_status", COUNT)
    shop.model("top", TOP)
    shop.model("other", "SELECT id FROM orders")
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, status="paid"))
    with shop.running() as running:
        landed(shop, "other", 3)
        shop.model("by_status", SUM)
        shop.model("by_month", "SELECT count(*) AS n FROM orders")
        status = applied(shop)
        assert set(status.models) == {"by_status", "top", "by_month"}
        assert shop.rows("by_status") == [
            {"status": "new", "orders": 2, "ids": 3}, {"status": "paid", "orders": 1, "ids": 3},
        ]  # fmt: skip
        shop.source.add(inserts(3, 4), scripted_group(4, [(ORDERS, Op.DELETE, {"id": 3})]))
        wait_until(lambda: shop.rows("by_status") == [{"status": "new", "orders": 3, "ids": 7}])
        wait_until(lambda: shop.rows("top") == [{"status": "new", "tens": 30}] and shop.rows("by_month") == [{"n": 3}])
    assert running.error is None
    recorded = json.loads((shop.state / "project.json").read_text())
    assert recorded["models"]["by_status"]["fingerprint"] == Versions(shop.state).of("by_status")[-1].fingerprint
    assert len(Versions(shop.state).of("by_status")) == 2
    shop.source.add(inserts(5, 6))
    shop.run_once()
    assert shop.rows("by_status") == [{"status": "new", "orders": 4, "ids": 13}]
    assert shop.events("model.waiting") == []


def test_tables_are_written_before_the_swap_and_the_swap_adds_what_came_since(shop, monkeypatch):
    """The one that is there and one that is new, by key and without; also with more columns and in another order."""
    taken, rows = {}, {}
    take_over, commit = IcebergTable.take_over, IcebergTable.commit

    def watched(table, epoch, replacement):
        taken[table.spec.name] = (replacement.rows, take_over(table, epoch, replacement))
        return taken[table.spec.name][1]

    def counted(table, epoch, delta, *others, **more):
        rows.setdefault(table.spec.name, {})[epoch] = delta.num_rows
        commit(table, epoch, delta, *others, **more)

    monkeypatch.setattr(IcebergTable, "take_over", watched)
    monkeypatch.setattr(IcebergTable, "commit", counted)
    shop.model("doubled", "/*\nkey: [id]\n*/\nSELECT id, status, 2 * id AS more FROM orders")
    shop.source.add(inserts(1, *range(1, 101)))
    with shop.running():
        landed(shop, "doubled", 100)
        shop.model("doubled", "/*\nkey: [id]\n*/\nSELECT 'x' AS mark, id, 2.5 * id AS more FROM orders")
        shop.model("plain", "SELECT status FROM orders WHERE id > 50")
        status = applied(shop)
        assert taken == {"doubled": (100, True), "plain": (50, True)}
        assert rows["doubled"][status.epoch] == rows["plain"][status.epoch] == 0
        shop.source.add(inserts(2, 101), scripted_group(3, [(ORDERS, Op.DELETE, {"id": 7})]))
        wait_until(lambda: len(shop.rows("plain")) == 51 and 7 not in {row["id"] for row in shop.rows("doubled")})
        found = {row["id"]: row for row in shop.rows("doubled")}
        assert len(found) == 100 and found[101]["more"] == 252.5 and found[101]["mark"] == "x"
        shop.source.add(scripted_group(4, [(ORDERS, Op.DELETE, {"id": 60})]))
        wait_until(lambda: len(shop.rows("plain")) == 50)
        assert not unnamed(shop, "doubled") and not unnamed(shop, "plain")


def test_contents_are_compared_first_and_a_difference_waits_for_a_decision(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, status="paid"))
    applies = Applies(shop.state)
    with shop.running():
        landed(shop, "by_status", 2)
        shop.model("by_status", COUNT.replace("FROM orders", "FROM orders WHERE id > 1"))
        asked = ask(shop, canary_s=0.0)
        wait_until(lambda: applies.status().state == "differs")
        found = applies.status().compared[0]
        assert (found["gone"], found["came"], found["changed"], found["before"]) == (0, 0, 1, 2)
        assert found["sample"][0]["before"] == {"orders": "2"}
        assert shop.rows("by_status") == [{"status": "new", "orders": 2}, {"status": "paid", "orders": 1}]
        assert unnamed(shop, "by_status")  # the new version's rows lie there already
        applies.answer(asked, go=False)
        assert over(shop).state == "cancelled"
        assert not unnamed(shop, "by_status")
        assert not (applies.folder / "build").exists()
        shop.source.add(inserts(3, 4))
        wait_until(lambda: {"status": "new", "orders": 3} in shop.rows("by_status"))
        assert applied(shop, canary_s=0.0, tolerance=0.5).compared[0]["share"] == 0.5
        assert shop.rows("by_status") == [{"status": "new", "orders": 2}, {"status": "paid", "orders": 1}]


def test_a_model_goes_back_to_the_version_before(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    with shop.running():
        landed(shop, "by_status", 1)
        shop.model("by_status", SUM)
        applied(shop)
        shop.source.add(inserts(2, 3))
        wait_until(lambda: shop.rows("by_status") == [{"status": "new", "orders": 3, "ids": 6}])
        shop.model("by_status", SUM + " -- never ran\n HAVING true")
        version = version_before(shop.project, "by_status")
        with pytest.raises(UserError, match="never ran"):
            restore_file(shop.folder, shop.state, "by_status", version, shop.project.models, force=False)
        restore_file(shop.folder, shop.state, "by_status", version, shop.project.models, force=True)
        assert (shop.folder / "models" / "by_status.sql").read_text() == COUNT
        applied(shop)
        found = [{"status": row["status"], "orders": row["orders"]} for row in shop.rows("by_status")]
        assert found == [{"status": "new", "orders": 3}]
        assert version_before(shop.project, "by_status").number == 2


def test_a_model_that_goes_leaves_its_table_and_one_that_comes_reads_a_leaf(shop):
    shop.model("by_status", COUNT)
    shop.model("gone", "SELECT id FROM orders")
    shop.source.add(inserts(1, 1, 2))
    with shop.running():
        landed(shop, "gone", 2)
        (shop.folder / "models" / "gone.sql").unlink()
        shop.model("top", TOP)
        status = applied(shop)
        assert status.leave == ["gone"]
        assert set(status.models) == {"by_status", "top"}  # by_status kept no rows of its result until now
        shop.source.add(inserts(2, 3))
        wait_until(lambda: shop.rows("top") == [{"status": "new", "tens": 30}])
        assert len(shop.rows("gone")) == 2
    shop.run_once()
    assert shop.rows("top") == [{"status": "new", "tens": 30}]


def test_a_function_that_changes_swaps_the_models_that_call_it(shop):
    (shop.folder / "functions").mkdir()
    file = shop.folder / "functions" / "times.py"
    text = (
        "import pyarrow as pa\nimport pyarrow.compute as pc\nimport headwater\n\n\n"
        '@headwater.udf(["BIGINT"], "BIGINT")\ndef times(n: pa.ChunkedArray) -> pa.Array:\n'
        "    return pc.multiply(n, 2)\n"
    )
    file.write_text(text)
    shop.model("doubled", "SELECT id, times(id) AS more FROM orders")
    shop.source.add(inserts(1, 7))
    with shop.running():
        landed(shop, "doubled", 1)
        file.write_text(text.replace(", 2)", ", 3)"))
        assert applied(shop).models == {"doubled": "its functions changed"}
        assert shop.rows("doubled") == [{"id": 7, "more": 21}]


def test_columns_that_come_while_a_model_is_built_begin_it_again(shop, monkeypatch):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    go, write = threading.Event(), Build._write

    def held(build):
        go.wait(DEADLINE_S)
        write(build)

    monkeypatch.setattr(Build, "_write", held)
    wider = StreamSchema("orders", ORDERS.columns.append(pa.field("note", pa.string())), ("id",), "upsert")
    with shop.running():
        landed(shop, "by_status", 1)
        shop.model("by_status", SUM)
        ask(shop)
        wait_until(lambda: Applies(shop.state).status().rows)
        shop.source.add(scripted_group(2, [(wider, Op.INSERT, {**order(3), "note": "x"})], time_us=2))
        wait_until(lambda: "note" in shop.rows("orders")[-1])
        go.set()
        status = over(shop)
        assert (status.state, status.again) == ("done", 1)
        assert shop.rows("by_status") == [{"status": "new", "orders": 3, "ids": 6}]


def test_files_with_a_mistake_or_changed_since_are_refused_and_the_old_version_goes_on(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    with shop.running() as running:
        landed(shop, "by_status", 1)
        shop.model("by_status", COUNT.replace("count(*)", "sum(nowhere)"))
        ask(shop)
        status = over(shop)
        assert status.state == "refused" and "nowhere" in status.error and "by_status.sql:4" in status.error
        shop.model("by_status", SUM)
        digest = models_digest(shop.project.models)
        shop.model("by_status", COUNT + " ")
        Applies(shop.state).submit(ApplyRequest("later", digest))
        status = over(shop)
        assert status.state == "refused" and "changed since" in status.error
        shop.source.add(inserts(2, 3))
        wait_until(lambda: shop.rows("by_status") == [{"status": "new", "orders": 3}])
    assert running.error is None
