"""The ledger of rejects: entered once, decided once, counted truly."""

import sqlite3

import pyarrow as pa
import pytest

from headwater.change import REJECT_SCHEMA
from headwater.errors import UserError
from headwater.quality.rejects import Ledger


@pytest.fixture
def ledger():
    return Ledger(sqlite3.connect(":memory:", isolation_level=None))


def rejects(*keys, stage="decode", stream="orders"):
    rows = [
        {
            "stream": stream,
            "stage": stage,
            "reason": "bad_value",
            "message": "no",
            "position": "7:1",
            "key": key,
            "record": b"\x00raw",
            "weight": 1,
        }
        for key in keys
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REJECT_SCHEMA)


def enter(ledger, batch, epoch=1, first=0):
    ledger.record(batch, epoch=epoch, first=first, project="shop", now_us=5)


def test_an_epoch_run_again_enters_nothing_twice(ledger):
    for _ in range(2):
        enter(ledger, rejects('["1"]', '["2"]'))
        enter(ledger, rejects('["3"]'), first=2)
    assert ledger.totals() == {("orders", "decode"): 3}
    assert [entry.record for entry in ledger.entries()] == [b"\x00raw"] * 3


def test_a_decision_is_not_undone_by_an_epoch_run_again(ledger):
    enter(ledger, rejects('["1"]'))
    assert ledger.discard([1]) == 1
    enter(ledger, rejects('["1"]'))
    assert ledger.entry(1).state == "discarded"
    assert ledger.discard([1]) == 0
    assert ledger.open_count() == 0


def test_replayed_records_are_no_longer_rejected_and_failed_ones_stay(ledger):
    enter(ledger, rejects('["1"]', '["2"]'))
    assert ledger.ask_replay([1, 2]) == 2
    ledger.settle([1], {2: "still bad"}, now_us=9)
    assert ledger.totals() == {("orders", "decode"): 1}
    again = ledger.entry(2)
    assert (again.state, again.attempts, again.message, again.last_seen_us) == ("open", 2, "still bad", 9)


def test_rebuilding_a_model_settles_its_rejects_and_no_others(ledger):
    enter(ledger, rejects("", stage="evaluate", stream="value/orders"))
    enter(ledger, rejects("", stage="late", stream="value2/orders"), first=1)
    enter(ledger, rejects('["1"]', stream="value"), first=2)
    ledger.supersede_model("value")
    assert [entry.state for entry in ledger.entries(("open", "superseded"))] == ["superseded", "open", "open"]


def test_open_keys_are_those_of_undecided_decode_rejects(ledger):
    enter(ledger, rejects('["1"]', '["1"]', "", '["2"]'))
    ledger.discard([4])
    assert ledger.open_keys() == {"orders": {'["1"]': [1, 2]}}


def test_an_unknown_number_is_the_users_mistake(ledger):
    with pytest.raises(UserError, match="no reject number 12"):
        ledger.entry(12)
