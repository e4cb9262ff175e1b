"""Rejects taken in again, given up or overtaken while epochs run, run again and models come and go."""

import pyarrow as pa
import pytest
from scripted_project import ORDERS, inserts, order

from headwater.change import REJECT_SCHEMA, Op, log_schema
from headwater.runtime.state_store import StateStore
from headwater.testing.scripted_source import scripted_group

AMOUNTS = "SELECT id, CAST(amount AS INTEGER) AS amount FROM orders"


def rejected(commit, number, *, ordinal=0, changes=(), **row):
    """A transaction with a record of key `number` that is rejected, and can be decoded when it is replayed."""
    ops = [(ORDERS, Op.UPDATE, order(number, **row))]
    rows = scripted_group(commit, ops).batches[0].rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, log_schema(ORDERS)) as writer:
        writer.write_batch(rows)
    entry = {
        "stream": "orders",
        "stage": "decode",
        "reason": "bad_value",
        "message": "amount cannot be read",
        "position": f"{commit}:{ordinal}",
        "key": f'["{number}"]',
        "record": sink.getvalue().to_pybytes(),
        "weight": 1,
    }
    return scripted_group(commit, list(changes), rejects=pa.RecordBatch.from_pylist([entry], schema=REJECT_SCHEMA))


def ledger(shop, verb, *arguments):
    store = StateStore(shop.state)
    try:
        with store.transaction():
            return getattr(store.ledger, verb)(*arguments)
    finally:
        store.close()


def state_of(shop, number):
    return ledger(shop, "entry", number).state


def lose_checkpoints_but_the_oldest(shop):
    """As if the runs since had been killed before their checkpoints."""
    store = StateStore(shop.state)
    with store.transaction():
        store._connection.execute("DELETE FROM checkpoints WHERE epoch > (SELECT min(epoch) FROM checkpoints)")
    store.close()


def test_replays_of_one_key_land_in_the_order_of_the_source(shop):
    shop.source.add(inserts(1, 7), rejected(2, 7, amount="20"), rejected(3, 7, amount="30"))
    shop.run_once()
    ledger(shop, "ask_replay", [1, 2])
    shop.run_once()
    assert shop.rows("orders") == [order(7, amount="30")]
    assert shop.account("orders")["holds"]


def test_a_later_change_in_the_same_transaction_makes_a_reject_moot(shop):
    later = [(ORDERS, Op.INSERT, order(1)), (ORDERS, Op.UPDATE, order(7, amount="30"))]
    shop.source.add(rejected(2, 7, ordinal=0, amount="20", changes=later))
    shop.run_once()
    assert state_of(shop, 1) == "superseded"


def test_a_reject_after_the_last_change_of_its_key_stays_open(shop):
    shop.source.add(rejected(2, 7, ordinal=5, amount="20", changes=[(ORDERS, Op.INSERT, order(7))]))
    shop.run_once()
    assert state_of(shop, 1) == "open"


def test_an_epoch_run_again_does_not_close_what_its_rebuild_rejected(shop):
    shop.source.add(inserts(1, 1))
    shop.run_once()
    shop.model("amounts", AMOUNTS)
    shop.source.add(inserts(2, 2, amount="two"))
    shop.run_once()
    lose_checkpoints_but_the_oldest(shop)
    shop.run_once()
    assert shop.events("epoch.again")
    assert [(state_of(shop, 1), ledger(shop, "entry", 1).stream)] == [("open", "amounts/orders")]


def test_a_reject_given_up_while_its_replay_lands_counts_as_replayed(shop, monkeypatch):
    from headwater.runtime.sinks import Sinks

    shop.source.add(inserts(1, 1), rejected(2, 7))
    shop.run_once()
    ledger(shop, "ask_replay", [1])
    commit = Sinks.commit

    def discarded_meanwhile(self, *arguments):
        ledger(shop, "discard", [1])
        return commit(self, *arguments)

    monkeypatch.setattr(Sinks, "commit", discarded_meanwhile)
    shop.run_once()
    assert state_of(shop, 1) == "replayed"
    assert [row["id"] for row in shop.rows("orders")] == [1, 7]
    assert shop.account("orders")["holds"]


def test_a_replay_for_a_model_that_is_gone_is_told_and_no_epochs_are_spent_on_it(shop):
    shop.model("amounts", AMOUNTS)
    shop.source.add(inserts(1, 1, amount="one"))
    shop.run_once()
    (shop.folder / "models" / "amounts.sql").unlink()
    ledger(shop, "ask_replay", [1])
    epoch = shop.status()["epoch"]
    supervisor = shop.supervisor(once=True)
    assert supervisor.run() is None
    assert (state_of(shop, 1), shop.status()["epoch"]) == ("open", epoch)
    assert "amounts" in ledger(shop, "entry", 1).message


@pytest.mark.parametrize("decision", ["discard", "ask_replay"])
def test_a_decision_taken_after_a_failed_replay_outlives_a_crash(shop, decision):
    shop.model("amounts", AMOUNTS)
    shop.source.add(inserts(1, 1, amount="one"))
    shop.run_once()
    ledger(shop, "ask_replay", [1])
    shop.run_once()
    assert (state_of(shop, 1), ledger(shop, "entry", 1).attempts) == ("open", 2)
    ledger(shop, decision, [1])
    lose_checkpoints_but_the_oldest(shop)
    if decision == "discard":
        shop.run_once()
        assert state_of(shop, 1) == "discarded"
    else:
        shop.run_once()
        assert ledger(shop, "entry", 1).attempts >= 3


def test_a_row_computed_inside_a_model_cannot_be_replayed_and_stops_nothing(shop):
    shop.model("top", "SELECT status, CAST(max(amount) AS INTEGER) AS most FROM orders GROUP BY status")
    shop.source.add(inserts(1, 1, amount="one"))
    shop.run_once()
    assert ledger(shop, "entry", 1).stream.startswith("top/")
    ledger(shop, "ask_replay", [1])
    shop.source.add(inserts(2, 2, status="paid"))
    shop.run_once()
    assert state_of(shop, 1) == "open"


def hidden(commit, number, op=Op.INSERT, **row):
    """A transaction whose row has an amount that cannot be held: a reject, and the row marked."""
    marked = {**order(number, **row), "amount": None, "_unchanged": bytes([0b100000])}
    return rejected(commit, number, changes=[(ORDERS, op, marked)], amount="20", **row)


def partial(commit, number, **row):
    """A transaction that updates a row without sending its status."""
    values = {**order(number, **row), "status": None, "_unchanged": bytes([0b010])}
    return scripted_group(commit, [(ORDERS, Op.UPDATE, values)])


def test_an_update_that_leaves_columns_out_fills_from_the_rejected_row(shop):
    """It used to stop the stream, or to take the value of a still older row for it."""
    shop.source.add(inserts(1, 7, status="old"), hidden(2, 7, Op.UPDATE, status="big"))
    shop.run_once()
    assert shop.rows("orders") == [] and state_of(shop, 1) == "open"
    shop.source.add(partial(3, 7, amount="30"))
    shop.run_once()
    assert shop.rows("orders") == [order(7, status="big", amount="30")]
    assert state_of(shop, 1) == "superseded" and shop.account("orders")["holds"]


def test_a_row_that_stays_rejected_is_replayed_with_what_has_changed_since(shop):
    shop.source.add(hidden(1, 7, status="first"))
    still = {**order(7, status="later"), "amount": None, "_unchanged": bytes([0b100])}
    shop.source.add(scripted_group(2, [(ORDERS, Op.UPDATE, still)]))
    shop.run_once()
    assert shop.rows("orders") == [] and state_of(shop, 1) == "open"
    ledger(shop, "ask_replay", [1])
    shop.run_once()
    assert shop.rows("orders") == [order(7, status="later", amount="20")]
    assert state_of(shop, 1) == "replayed" and shop.account("orders")["holds"]


def test_only_the_last_reject_of_a_row_stays_open(shop):
    shop.source.add(hidden(1, 7), hidden(2, 7, Op.UPDATE), hidden(3, 8))
    shop.run_once()
    assert [state_of(shop, number) for number in (1, 2, 3)] == ["superseded", "open", "open"]
    shop.source.add(scripted_group(4, [(ORDERS, Op.TRUNCATE, {})]))
    shop.run_once()
    assert [state_of(shop, number) for number in (2, 3)] == ["superseded", "superseded"]


def test_a_later_change_that_leaves_columns_out_does_not_hide_a_reject(shop):
    """The column it did not send may be the one that was rejected: the lake's value is the older one, and says so."""
    row = {**order(7, amount=None), "_unchanged": bytes([0b100])}
    shop.source.add(inserts(1, 7), rejected(2, 7, amount="20"), scripted_group(3, [(ORDERS, Op.UPDATE, row)]))
    shop.run_once()
    assert shop.rows("orders") == [order(7)]
    assert state_of(shop, 1) == "open"
