"""A project whose tables are Delta's or plain Parquet: run, killed between two tables, changed, queried."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_project import ORDERS, PROJECT, Shop, inserts, lose_newest_checkpoint, order, run_with

from headwater.change import Op
from headwater.errors import UserError
from headwater.lake.opening import make_lake
from headwater.serve.query import query
from headwater.serve.tail import tail
from headwater.testing.scripted_source import scripted_group

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"


@pytest.fixture(params=["delta", "parquet"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    made = Shop(tmp_path / "shop")
    (made.folder / "headwater.yml").write_text(f"{PROJECT}lake: {{type: {request.param}}}\n")
    made.model("by_status", COUNT)
    return made


def answer(shop: Shop, sql: str) -> list[dict[str, object]]:
    return query(shop.project, sql).to_pylist()


def test_tables_follow_their_source_and_are_queried(shop: Shop) -> None:
    run_with(shop, inserts(1, 1, 2, 3))
    run_with(shop, scripted_group(2, [(ORDERS, Op.UPDATE, order(2, "paid")), (ORDERS, Op.DELETE, {"id": 1})]))
    assert answer(shop, "SELECT id, status FROM orders ORDER BY id") == [
        {"id": 2, "status": "paid"},
        {"id": 3, "status": "new"},
    ]
    assert answer(shop, "SELECT * FROM by_status ORDER BY status") == [
        {"status": "new", "orders": 1},
        {"status": "paid", "orders": 1},
    ]
    assert shop.account("orders")["holds"]
    changes = list(tail(shop.project, "by_status", after_epoch=0, follow=False))
    totals: dict[str, int] = {}
    for change in changes:
        for row in change.rows.to_pylist():
            totals[row["status"]] = totals.get(row["status"], 0) + row["orders"] * row["_weight"]
    assert totals == {"new": 1, "paid": 1}


def test_epochs_that_are_run_again_after_a_crash_land_once(shop: Shop) -> None:
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    lose_newest_checkpoint(shop)
    run_with(shop, inserts(3, 3))
    assert answer(shop, "SELECT * FROM by_status") == [{"status": "new", "orders": 3}]
    lake = make_lake(shop.project.lake, shop.folder, project="shop", read_only=True)
    epochs = [snapshot.epoch for snapshot in lake.open_table("orders").snapshots() if snapshot.epoch is not None]
    assert epochs == sorted(set(epochs), reverse=True)
    lake.close()


def test_a_table_that_was_dropped_is_built_anew(shop: Shop) -> None:
    run_with(shop, inserts(1, 1, 2))
    lake = make_lake(shop.project.lake, shop.folder, project="shop")
    lake.drop("orders")
    lake.drop("by_status")
    lake.close()
    run_with(shop, inserts(2, 3))
    assert answer(shop, "SELECT count(*) AS n FROM orders") == [{"n": 3}]
    assert answer(shop, "SELECT orders FROM by_status") == [{"orders": 3}]


def test_a_bucket_is_refused_with_the_mend(shop: Shop) -> None:
    settings = shop.project.lake.model_copy(update={"warehouse": "s3://bucket/lake"})
    with pytest.raises(UserError, match="local disk") as caught:
        make_lake(settings, shop.folder, project="shop")
    assert "iceberg" in caught.value.hint
