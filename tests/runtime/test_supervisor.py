"""A project from source to lake: what lands, what happens when parts fail, what comes back."""

import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from scripted_project import EVENTS, ORDERS, inserts, order, wait_until

from headwater.change import REJECT_SCHEMA, Op, log_schema
from headwater.errors import InvariantBroken, SourceStopped, SourceUnavailable, UserError
from headwater.runtime.state_store import StateStore
from headwater.runtime.status import is_running, read_status
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"


def test_changes_land_and_add_up(shop):
    shop.model("by_status", COUNT)
    shop.source.add(
        inserts(1, 1, 2, 3),
        scripted_group(2, [(ORDERS, Op.UPDATE, order(1, "paid")), (ORDERS, Op.DELETE, {"id": 2})]),
    )
    shop.run_once()
    assert shop.rows("orders") == [order(1, "paid"), order(3)]
    assert shop.rows("by_status") == [{"status": "new", "orders": 1}, {"status": "paid", "orders": 1}]
    account = shop.account("orders")
    assert (account["read"], account["landed"], account["in_flight"], account["holds"]) == (5, 5, 0, True)
    assert shop.source.confirmed == 2


def test_a_second_run_goes_on_where_the_first_ended(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    shop.source.add(inserts(5, 3))
    shop.run_once()
    assert shop.source.opened == [None, {"commit": 1}]
    assert len(shop.rows("orders")) == 3
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert shop.epochs("orders") == sorted(set(shop.epochs("orders")))


def test_an_outage_is_waited_out_and_nothing_is_asked_twice(shop):
    shop.source.add(inserts(1, 1), SourceUnavailable("the connection broke"), inserts(2, 2))
    shop.run_once()
    assert len(shop.rows("orders")) == 2
    assert shop.source.opened == [None, {"commit": 1}]
    assert shop.events("source.waiting")[0]["error"] == "the connection broke"


def test_a_source_that_cannot_go_on_stops_the_run_with_its_hint_after_draining(shop):
    shop.source.add(inserts(1, 1), SourceStopped("the slot is gone", hint="take a new snapshot"))
    error = shop.supervisor().run()
    assert isinstance(error, SourceStopped)
    assert error.hint == "take a new snapshot"
    assert len(shop.rows("orders")) == 1
    told = {"message": "the slot is gone", "hint": "take a new snapshot", "code": "HW-SOURCE-STOPPED"}
    assert shop.status()["error"] == told


def test_a_graceful_stop_finishes_and_says_so(shop):
    shop.source.add(inserts(1, 1))
    with shop.running() as supervisor:
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        assert is_running(shop.state)
        with pytest.raises(UserError, match="running already"):
            shop.supervisor()
    assert supervisor.error is None
    status = read_status(shop.state)
    assert (status["running"], status["checkpoint"]["epoch"]) == (False, status["epoch"])


def test_models_that_come_change_or_depend_on_changed_ones_are_built_from_current_rows(shop):
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    shop.model("by_status", COUNT)
    shop.model("busy", "SELECT status FROM by_status WHERE orders > 1")
    shop.run_once()
    assert shop.rows("by_status") == [{"status": "new", "orders": 2}]
    assert shop.rows("busy") == [{"status": "new"}]
    shop.model("by_status", COUNT.replace("count(*)", "10 * count(*)"))
    shop.source.add(inserts(2, 3))
    shop.run_once()
    assert shop.rows("by_status") == [{"status": "new", "orders": 30}]
    assert shop.rows("busy") == [{"status": "new"}]
    shop.model("by_status", COUNT.replace("orders FROM", "orders, 'x' AS more FROM"))
    shop.run_once()
    assert shop.rows("by_status") == [{"status": "new", "orders": 3, "more": "x"}]


def test_a_lost_state_folder_rebuilds_the_tables_above_their_epochs(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2), inserts(2, 3))
    shop.run_once()
    before = shop.epochs("orders")[-1]
    shutil.rmtree(shop.state)
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 2, 3]
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert shop.epochs("orders")[-1] > before


def test_an_older_state_under_newer_tables_is_refused(shop, tmp_path):
    shop.source.add(inserts(1, 1))
    shop.run_once()
    shutil.copytree(shop.state, tmp_path / "backup")
    shop.source.add(inserts(2, 2))
    shop.run_once()
    shutil.rmtree(shop.state)
    (tmp_path / "backup").rename(shop.state)
    shop.source.add(inserts(3, 3))
    with pytest.raises(UserError, match="this state is older"):
        shop.run_once()


def test_a_damaged_checkpoint_falls_back_to_the_one_before(shop):
    shop.model("by_status", COUNT)
    for commit in (1, 2, 3):
        shop.source.add(inserts(commit, commit))
        shop.run_once()
    newest = max((shop.state / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in newest.rglob("*"):
        if path.is_file():
            with open(path, "r+b") as file:
                file.truncate(max(path.stat().st_size // 2, 1))
            break
    shop.source.add(inserts(4, 4))
    shop.run_once()
    assert shop.events("checkpoint.damaged")
    assert shop.rows("by_status") == [{"status": "new", "orders": 4}]


def test_a_crash_between_tables_and_checkpoint_is_run_again_without_doubling(shop):
    """The checkpoint of the second run is taken away, as if the process had died before writing it."""
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1))
    shop.run_once()
    store = StateStore(shop.state)
    first = store.checkpoints()[0].epoch
    store.close()
    shop.source.add(inserts(2, 2), inserts(3, 3))
    shop.run_once()
    store = StateStore(shop.state)
    with store.transaction():
        store._connection.execute("DELETE FROM checkpoints WHERE epoch > ?", (first,))
    store.close()
    epochs = shop.epochs("orders")
    shop.run_once()
    assert shop.events("epoch.again")
    assert shop.epochs("orders") == epochs
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert shop.account("orders")["holds"]


def reject(commit, number, record=b"not arrow"):
    row = {
        "stream": "orders",
        "stage": "decode",
        "reason": "bad_value",
        "message": "amount cannot be read",
        "position": f"{commit}:0",
        "key": f'["{number}"]',
        "record": record,
        "weight": 1,
    }
    return scripted_group(commit, rejects=pa.RecordBatch.from_pylist([row], schema=REJECT_SCHEMA))


def ledger(shop, verb, *arguments):
    store = StateStore(shop.state)
    try:
        with store.transaction():
            return getattr(store.ledger, verb)(*arguments)
    finally:
        store.close()


def test_a_record_that_cannot_be_decoded_is_kept_and_counted_and_the_rest_goes_on(shop):
    shop.source.add(inserts(1, 1), reject(2, 7), inserts(3, 2))
    shop.run_once()
    assert len(shop.rows("orders")) == 2
    account = shop.account("orders")
    assert (account["read"], account["landed"], account["rejected"], account["holds"]) == (3, 2, 1, True)
    assert ledger(shop, "entry", 1).record == b"not arrow"
    assert [event["open"] for event in shop.events("rejects.open")] == [1]
    assert read_status(shop.state)["rejects"] == {"open": 1}
    ledger(shop, "discard", [1])
    assert read_status(shop.state)["rejects"] == {"open": 0}


def test_a_replayed_record_lands_once_and_moves_in_the_account(shop):
    batch = scripted_group(2, [(ORDERS, Op.INSERT, order(7))]).batches[0].rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, log_schema(ORDERS)) as writer:
        writer.write_batch(batch)
    shop.source.add(inserts(1, 1), reject(2, 7, sink.getvalue().to_pybytes()), reject(3, 8))
    shop.run_once()
    ledger(shop, "ask_replay", [1, 2])
    shop.run_once()
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 7]
    account = shop.account("orders")
    assert (account["read"], account["landed"], account["rejected"], account["holds"]) == (3, 2, 1, True)
    assert ledger(shop, "entry", 1).state == "replayed"
    assert ledger(shop, "entry", 2).state == "open"
    assert ledger(shop, "entry", 2).attempts == 2


def test_a_later_change_of_the_key_makes_a_reject_moot(shop):
    shop.source.add(reject(2, 7), inserts(3, 7))
    shop.run_once()
    assert ledger(shop, "entry", 1).state == "superseded"
    assert shop.account("orders")["holds"]


def test_a_row_whose_expression_fails_is_rejected_by_the_model_alone(shop):
    shop.model("amounts", "SELECT id, CAST(amount AS INTEGER) AS amount FROM orders")
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, amount="ten"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 2, 3]
    assert [row["id"] for row in shop.rows("amounts")] == [1, 2]
    account = shop.account("amounts")
    assert (account["read"], account["landed"], account["rejected"], account["holds"]) == (3, 2, 1, True)
    assert ledger(shop, "entry", 1).stream == "amounts/orders"
    shop.model("amounts", "SELECT id, TRY_CAST(amount AS INTEGER) AS amount FROM orders")
    shop.run_once()
    assert [row["amount"] for row in shop.rows("amounts")] == [10, 10, None]
    assert ledger(shop, "entry", 1).state == "superseded"


@pytest.mark.parametrize("most", [100_000, 1])
def test_watermarks_wait_for_the_snapshot_and_close_windows_after_it(shop, most):
    """Also when the snapshot is long in the log while epochs still take it in, a row at a time."""
    text = (shop.folder / "headwater.yml").read_text()
    (shop.folder / "headwater.yml").write_text(text.replace("run: {", f"run: {{epoch_max_records: {most}, "))
    shop.model(
        "per_minute",
        "/*\nkey: [window_start]\nemit: final\n*/\nSELECT window_start, sum(n) AS n"
        " FROM TUMBLE(events, happened, INTERVAL 1 MINUTE) GROUP BY window_start, window_end",
    )
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def event(minute, n):
        return (EVENTS, Op.READ, {"happened": start + timedelta(minutes=minute), "n": n})

    shop.source.add(
        scripted_group(1, [event(5, 1)], snapshot=True),
        scripted_group(2, [event(0, 10)], snapshot=True),
        scripted_group(3, [event(1, 100)]),
    )
    shop.run_once()
    shop.source.add(scripted_group(4, [event(7, 0)]))
    shop.run_once()
    assert [row["n"] for row in shop.rows("per_minute")] == [10, 100, 1]
    assert shop.account("per_minute")["late"] == 0


def test_a_truncate_empties_mirror_and_models(shop):
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2), scripted_group(2, [(ORDERS, Op.TRUNCATE, {})]), inserts(3, 9))
    shop.run_once()
    assert shop.rows("orders") == [order(9)]
    assert shop.rows("by_status") == [{"status": "new", "orders": 1}]


def test_broken_accounting_stops_the_pipeline(shop, monkeypatch):
    from headwater.runtime.nodes import StreamNode

    shop.source.add(inserts(1, 1, 2))
    observe = StreamNode.observe

    def lose_one(node, delta):
        node.landed -= 1 if node.stream.name == "orders" else 0
        observe(node, delta)

    monkeypatch.setattr(StreamNode, "observe", lose_one)
    with pytest.raises(InvariantBroken, match="accounting of 'orders'"):
        shop.run_once()


def test_the_log_lets_go_of_what_checkpoints_no_longer_need(shop):
    text = (shop.folder / "headwater.yml").read_text()
    (shop.folder / "headwater.yml").write_text(text.replace("run: {", "run: {log_retention: {max_bytes: 1}, "))
    for commit in range(1, 60):
        shop.source.add(inserts(commit, *range(commit * 100, commit * 100 + 20)))
    shop.run_once()
    for commit in range(60, 63):
        shop.source.add(inserts(commit, commit))
        shop.run_once()
    segments = sorted(path.name for path in (shop.state / "log" / "shop").iterdir())
    assert not any(name.startswith("0" * 20) for name in segments), segments
    assert shop.account("orders")["read"] == 59 * 20 + 3
    assert shop.account("orders")["holds"]


def test_a_column_added_while_running_lands_and_reaches_models_at_once(shop):
    wider = StreamSchema("orders", pa.schema([*ORDERS.columns, ("note", pa.string())]), ("id",), "upsert")
    shop.model("by_status", COUNT)
    shop.model("everything", "SELECT * FROM orders")
    shop.source.add(inserts(1, 1))
    with shop.running() as supervisor:
        wait_until(lambda: shop.account("orders")["landed"] == 1)
        shop.source.streams = (wider, EVENTS)
        shop.source.add(scripted_group(2, [(wider, Op.INSERT, {**order(2), "note": "n"})]))
        wait_until(lambda: shop.account("orders")["landed"] == 2 or shop.events("epochs.stopped"))
    assert supervisor.error is None
    assert shop.rows("by_status") == [{"status": "new", "orders": 2}]
    assert shop.rows("everything") == shop.rows("orders") == [{**order(1), "note": None}, {**order(2), "note": "n"}]
    shop.run_once()
    assert shop.rows("everything") == shop.rows("orders") == [{**order(1), "note": None}, {**order(2), "note": "n"}]
    assert shop.rows("by_status") == [{"status": "new", "orders": 2}]
