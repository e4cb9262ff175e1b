"""Streams that a source did not feed when it was opened, and that appear while the project runs."""

import pyarrow as pa
import pytest
from scripted_project import EVENTS, ORDERS, PROJECT, ids, inserts, lose_newest_checkpoint, order, run_with, wait_until

from headwater.change import Op
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.table_format import TableSpec
from headwater.project.discovery import load_streams
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group

REFUNDS = StreamSchema(
    "refunds", pa.schema([pa.field("id", pa.int64(), nullable=False), ("reason", pa.string())]), ("id",), "upsert"
)


def refunds(commit, *numbers, op=Op.INSERT, reason="late"):
    return scripted_group(commit, [(REFUNDS, op, {"id": n, "reason": reason}) for n in numbers])


def test_a_new_stream_is_taken_in_without_a_restart(shop):
    shop.source.add(inserts(1, 1))
    with shop.running():
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        shop.source.add(refunds(2, 1, 2), refunds(3, 2, op=Op.UPDATE, reason="broken"), inserts(4, 2))
        wait_until(lambda: shop.account("orders")["landed"] == 2 and shop.account("refunds")["landed"] == 3)
    assert shop.rows("refunds") == [{"id": 1, "reason": "late"}, {"id": 2, "reason": "broken"}]
    account = shop.account("refunds")
    assert (account["read"], account["landed"], account["holds"]) == (3, 3, True)
    assert [stream.name for stream in load_streams(shop.state)] == ["orders", "events", "refunds"]


@pytest.mark.parametrize("crash", [False, True])
def test_it_is_still_there_after_a_stop_or_a_crash(shop, crash):
    run_with(shop, inserts(1, 1))
    run_with(shop, refunds(2, 1, 2))
    if crash:
        lose_newest_checkpoint(shop)
    run_with(shop, refunds(3, 2, op=Op.DELETE), refunds(4, 5))
    assert ids(shop, "refunds") == [1, 5]
    assert shop.account("refunds")["holds"]
    assert shop.account("refunds")["landed"] == 4
    shop.model("by_reason", "SELECT reason, count(*) AS n FROM refunds GROUP BY reason")
    run_with(shop, refunds(5, 6))
    assert shop.rows("by_reason") == [{"reason": "late", "n": 3}]


def test_a_table_of_that_name_from_another_state_gives_way(shop):
    lake = IcebergLake(shop.folder / "lake", namespace="shop")
    old = lake.table(TableSpec("refunds", pa.schema([("id", pa.int64()), ("other", pa.int64())]), ()))
    old.commit(1000, pa.table({"id": [9], "other": [9], "_weight": pa.array([1], pa.int64())}), {})
    lake.close()
    run_with(shop, inserts(1, 1))
    run_with(shop, refunds(2, 1))
    assert shop.rows("refunds") == [{"id": 1, "reason": "late"}]


def test_a_name_that_is_taken_stops_the_run_and_says_so(shop):
    shop.model("refunds", "SELECT id FROM orders")
    shop.source.add(inserts(1, 1))
    with shop.running() as supervisor:
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        shop.source.add(refunds(2, 1))
        wait_until(lambda: shop.status()["error"] is not None)
    assert "a model is called 'refunds' already" in str(supervisor.error)
    (shop.folder / "models" / "refunds.sql").unlink()
    run_with(shop, inserts(3, 2))
    assert (ids(shop), ids(shop, "refunds")) == ([1, 2], [1])


def test_a_new_stream_that_is_not_to_land_has_no_table(shop):
    (shop.folder / "headwater.yml").write_text(PROJECT.replace("streams:\n", "mirror: false\n    streams:\n"))
    run_with(shop, inserts(1, 1))
    shop.model("copy", "SELECT id, status FROM orders")
    run_with(shop, refunds(2, 1))
    assert shop.account("refunds")["landed"] == 1
    assert "refunds" not in {table["name"] for table in shop.status()["tables"]}
    assert order(1)["id"] in ids(shop, "copy")


def test_a_stream_that_the_settings_leave_out_does_not_come_back_from_the_log(shop):
    run_with(shop, inserts(1, 1))
    run_with(shop, refunds(2, 1))
    lose_newest_checkpoint(shop)
    shop.source.discover = lambda resume=None: [ORDERS, EVENTS]
    run_with(shop, inserts(3, 2))
    assert "refunds" not in {stream.name for stream in load_streams(shop.state)}


def test_what_a_stream_had_before_it_was_left_out_is_not_wanted_when_it_is_taken_in_again(shop):
    run_with(shop, inserts(1, 1), refunds(2, 1))
    shop.source.discover = lambda resume=None: [ORDERS, EVENTS]
    with shop.running():
        wait_until(lambda: shop.status()["running"] and "refunds" not in {s.name for s in load_streams(shop.state)})
        shop.source.add(refunds(4, 5))
        wait_until(lambda: shop.account("refunds")["landed"] == 2)
    assert ids(shop, "refunds") == [5]
    assert shop.account("refunds")["holds"]
