"""Accounting, checkpoints, and what sources say: the pages that show that nothing is lost."""

import pyarrow as pa
import pytest
from scripted_project import Shop, inserts, wait_until

from headwater.change import Op
from headwater.cli.checkpoint import ls, restore
from headwater.errors import UserError
from headwater.runtime.schema_changes import changes_between
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group


def test_every_account_is_shown_and_adds_up(console):
    found = console.get("/v1/accounting")
    orders = next(line for line in found["streams"] if line["name"] == "orders")
    parts = ("landed", "rejected", "filtered", "late", "in_flight")
    assert orders["read"] == sum(orders[part] for part in parts) and orders["difference"] == 0
    assert found["holds"] and {line["name"] for line in found["models"]} == {"totals", "big"}
    assert orders["source"] == "shop" and orders["rejected"] >= 2


def test_a_broken_account_is_red_and_a_problem(console, monkeypatch):
    from headwater.quality.accounting import Account

    running = console.supervisor._running
    whole, status = running.progress(), running.status()
    broken = {**whole.streams, "orders": Account(read=5, landed=3)}
    monkeypatch.setattr(running, "progress", lambda: type(whole)(**{**vars(whole), "streams": broken}))
    sources = [dict(source) for source in status["sources"]]
    sources[0]["streams"] = [{**stream, "holds": False} for stream in sources[0]["streams"]]
    monkeypatch.setattr(running, "status", lambda: {**status, "sources": sources, "accounting": False})

    def shown():
        found = console.get("/v1/accounting")
        problems = console.get("/v1/overview")["problems"]
        return not found["holds"] and problems[0]["page"] == "/accounting" and problems[0]["level"] == "fail"

    wait_until(shown, "the break")
    line = next(line for line in console.get("/v1/accounting")["streams"] if line["name"] == "orders")
    assert (line["holds"], line["difference"]) == (False, 2)


def test_checkpoints_have_a_history_with_what_they_took(console):
    console.shop.source.add(inserts(60_000, 60_001))
    wait_until(lambda: len([1 for one in console.get("/v1/checkpoints")["history"] if one["kept"]]) == 2, "two of them")
    found = console.get("/v1/checkpoints")
    epochs = [one["epoch"] for one in found["history"]]
    assert epochs == sorted(epochs, reverse=True) and found["history"][0]["kept"]
    newest = found["history"][0]
    assert newest["bytes"] == sum(newest["parts"].values()) > 0 and newest["duration_ms"] > 0
    assert {"stream:orders", "model:totals"} <= newest["parts"].keys()
    assert 0 < newest["new_bytes"] <= newest["bytes"] and "headwater checkpoint restore" in found["restore"]


def test_a_source_shows_where_it_stands(console):
    found = console.get("/v1/capture")["sources"][0]
    assert (found["name"], found["type"], found["state"]) == ("shop", "postgres", "running")
    assert found["log"]["head"] > 0 and found["log"]["bytes"] > 0 and "/" in found["position"]
    assert "orders" in found["streams"]


def test_a_request_that_a_source_refuses_says_why(console):
    answer = console.post("/v1/capture/shop/snapshots", {"action": "start", "tables": ["public.orders"]})
    assert answer["state"] == "refused" and "cannot be asked" in answer["why"]
    console.post("/v1/capture/none/snapshots", {"action": "pause"}, status=404)
    console.post("/v1/capture/shop/snapshots", {"action": "start"}, status=422)
    console.post("/v1/capture/shop/snapshots", {"action": "drop"}, status=422)


def test_a_change_of_columns_is_kept_with_its_time(console):
    wider = StreamSchema(
        "orders",
        pa.schema([pa.field("id", pa.int64(), nullable=False), ("status", pa.string()), ("amount", pa.string()),
                   ("note", pa.string())]),
        ("id",),
        "upsert",
    )  # fmt: skip
    row = {"id": 70_001, "status": "new", "amount": "1", "note": "n"}
    console.shop.source.add(scripted_group(70_000, [(wider, Op.INSERT, row)], time_us=70_000))
    wait_until(lambda: console.get("/v1/capture")["schema_changes"], "the change")
    change = console.get("/v1/capture")["schema_changes"][0]
    assert (change["stream"], change["source"]) == ("orders", "shop") and change["at_us"] > 0
    assert change["changes"] == [{"what": "added", "column": "note", "was": "", "now": "string"}]

    def offered():
        items = console.post("/v1/plan", {})["items"]
        return [item for item in items if item["kind"] != "table" and item["consequence"] != "nothing"]

    wait_until(lambda: not offered(), "a plan offers nothing that the running project has followed already")


def test_what_became_of_columns_is_told_apart():
    before = StreamSchema("s", pa.schema([("a", pa.int32()), ("b", pa.string())]), ("a",))
    after = StreamSchema("s", pa.schema([("a", pa.int64()), ("c", pa.string())]))
    assert [(one["what"], one["column"]) for one in changes_between(before, after)] == [
        ("retyped", "a"), ("removed", "b"), ("added", "c"), ("key", ""),
    ]  # fmt: skip


def test_a_stopped_project_goes_back_to_a_checkpoint_and_loses_nothing(tmp_path, capsys, monkeypatch):
    shop = Shop(tmp_path / "project")
    shop.model("totals", "SELECT status, count(*) AS n FROM orders GROUP BY status")
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    shop.source.add(inserts(2, 3))
    shop.run_once()
    assert ls(shop.folder, json=False) == 0
    assert "kept" in capsys.readouterr().out
    from headwater.runtime.checkpoint_history import noted
    from headwater.runtime.state_store import StateStore

    store = StateStore(shop.state)
    newest, before = (record.epoch for record in store.checkpoints()[:2])
    store.close()
    assert restore(before, shop.folder) == 0
    store = StateStore(shop.state)
    assert [record.epoch for record in store.checkpoints()] == [before]
    store.close()
    with pytest.raises(UserError, match="no checkpoint"):
        restore(newest + 100, shop.folder)
    shop.source.add(inserts(3, 4))
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 2, 3, 4]
    assert shop.rows("totals") == [{"status": "new", "n": 4}]
    assert shop.account("orders")["holds"] and noted(shop.state, 1)[0].epoch > before


def test_a_running_project_is_not_taken_back(console):
    with pytest.raises(UserError, match="running already"):
        restore(1, console.shop.folder)
