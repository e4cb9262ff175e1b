"""The ledger of rejects: entered once, decided once, counted truly."""

import sqlite3

import pyarrow as pa
import pytest

from headwater.change import REJECT_SCHEMA
from headwater.errors import UserError
from headwater.quality.rejects import Choice, Ledger


@pytest.fixture
def ledger():
    return Ledger(sqlite3.connect(":memory:", isolation_level=None))


def rejects(*keys, stage="decode", stream="orders", reason="bad_value"):
    rows = [
        {
            "stream": stream,
            "stage": stage,
            "reason": reason,
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


def counted(ledger):
    """What the counts must say, by a scan of the entries."""
    query = "SELECT count(*), sum(length(record) + length(message) + length(key)) FROM rejects"
    return ledger._connection.execute(query).fetchone()


def test_counts_follow_every_way_that_an_entry_moves(ledger):
    enter(ledger, rejects(*(f'["{n}"]' for n in range(6)), reason="bad_value"))
    enter(ledger, rejects(*(f'["{n}"]' for n in range(6)), reason="bad_value"))  # again: counted once
    ledger.ask_replay([1, 2])
    ledger.settle([1], {2: "a longer message than before"}, now_us=9)
    ledger.discard([3])
    ledger.supersede([4])
    assert ledger.totals() == {("orders", "decode"): 5}
    assert ledger.open_count() == 3
    assert ledger.held_bytes() == counted(ledger)[1]


def test_what_is_forgotten_still_counts_as_rejected(ledger):
    enter(ledger, rejects("", "", "", ""))
    ledger.ask_replay([1])
    ledger.settle([1], {}, now_us=5)
    ledger.discard([2])
    assert ledger.forget(before_us=5) == 0
    assert ledger.forget(before_us=6) == 2
    assert [entry.id for entry in ledger.entries(("open", "replayed", "discarded"))] == [3, 4]
    assert ledger.totals() == {("orders", "decode"): 3}
    assert ledger.held_bytes() == counted(ledger)[1]


def test_a_discarded_row_that_is_missing_in_the_lake_is_not_forgotten(ledger):
    enter(ledger, rejects('["1"]'))
    ledger.discard([1])
    assert ledger.forget(before_us=10**15) == 0
    assert ledger.keys_of("orders") == ['["1"]']


def test_a_delivery_that_was_given_up_stays_for_its_job_to_hear_of(ledger):
    enter(ledger, rejects('["1"]', stage="delivery", stream="sync:crm"))
    ledger.discard([1])
    assert ledger.forget(before_us=10**15) == 0


def test_room_is_made_of_what_is_settled_and_never_of_what_is_open(ledger):
    enter(ledger, rejects("", "", ""))
    held = ledger.held_bytes()
    assert ledger.make_room(held + 1)
    assert not ledger.make_room(held)
    ledger.discard([1])
    assert ledger.make_room(held)
    assert [entry.id for entry in ledger.entries(("open", "discarded"))] == [2, 3]


@pytest.mark.parametrize(
    ("stage", "stream", "key"), [("delivery", "sync:crm", '["1"]'), ("quality", "value", ""), ("decode", "orders", "k")]
)
def test_room_is_made_of_the_record_alone_where_what_was_given_up_must_be_remembered(ledger, stage, stream, key):
    """A sync that has not heard of it yet, a row that checks set aside and that may go, a row that is missing."""
    enter(ledger, rejects(key, stage=stage, stream=stream))
    ledger.discard([1])
    ledger.make_room(1)
    (entry,) = ledger.entries(("discarded",))
    assert (entry.record, entry.key, entry.position) == (b"", key, "7:1")
    assert ledger.held_bytes() == counted(ledger)[1]


def test_entries_are_chosen_by_stream_stage_and_reason(ledger):
    enter(ledger, rejects("a", "b", reason="bad_value"))
    enter(ledger, rejects("c", stage="evaluate", stream="value/orders", reason="conversion"), first=2)
    enter(ledger, rejects("d", stream="value", reason="bad_value"), first=3)
    assert ledger.discard_all(Choice(stream="value", stage="evaluate")) == 1
    assert ledger.ask_replay_of(Choice(stream="value")) == 1
    assert ledger.ask_replay_of(Choice(ids=(1, 3))) == 1
    assert [entry.state for entry in ledger.entries(("open", "requested", "discarded"))] == [
        "requested", "open", "discarded", "requested",
    ]  # fmt: skip
    assert [entry.key for entry in ledger.each(("open",), Choice(reason="bad_value"))] == ["b"]


def test_causes_are_counted_with_the_newest_as_example(ledger):
    enter(ledger, rejects("a", "b", reason="bad_value"))
    enter(ledger, rejects("c", reason="truncated"), first=2)
    first, second = ledger.causes()
    assert (first.reason, first.count, first.example, first.first_seen_us) == ("bad_value", 2, 2, 5)
    assert (second.reason, second.count) == ("truncated", 1)


def test_what_could_not_take_a_record_is_told(ledger):
    batch = pa.concat_batches([rejects("a"), rejects("", stage="evaluate", stream="value/orders")])
    ledger.record(batch, epoch=1, first=0, project="shop", now_us=5, versions={"orders": "s1", "value": "m1"})
    assert [entry.version for entry in ledger.entries()] == ["s1", "m1"]


def test_a_million_entries_cost_no_scan(ledger):
    """The totals are asked for after every epoch: the plan of the query names no scan of the entries."""
    plans = []
    ledger._connection.set_trace_callback(plans.append)
    ledger.totals(), ledger.open_count(), ledger.held_bytes()
    ledger._connection.set_trace_callback(None)
    assert plans
    assert not [text for text in plans if "FROM rejects" in text]
