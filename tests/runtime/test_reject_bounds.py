"""Many rejects at once: taken in again together, and a ledger that is full stops the pipeline and loses nothing."""

import base64
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from scripted_project import EVENTS, ORDERS, PROJECT, Shop, inserts
from test_replay import ledger, rejected

from headwater.change import REJECT_SCHEMA, Op, log_schema
from headwater.errors import UserError
from headwater.quality.rejects import Choice
from headwater.runtime.state_store import StateStore
from headwater.testing.scripted_source import scripted_group

MANY = 300
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def event(commit, number, stream=EVENTS, **more):
    """A record of `events` that is rejected, and can be decoded when it is replayed."""
    row = {"happened": WHEN, "n": number, **more}
    rows = scripted_group(commit, [(stream, Op.INSERT, row)]).batches[0].rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, log_schema(stream)) as writer:
        writer.write_batch(rows)
    entry = {
        "stream": "events",
        "stage": "decode",
        "reason": "bad_value",
        "message": "no",
        "position": f"{commit}:0",
        "key": "",
        "record": sink.getvalue().to_pybytes(),
        "weight": 1,
    }
    return scripted_group(commit, [], rejects=pa.RecordBatch.from_pylist([entry], schema=REJECT_SCHEMA))


def lands_events(shop):
    """Makes the source hand decoded events on as such; the scripted one takes all for the first stream's."""
    shop.source.streams = (EVENTS, ORDERS)


def test_many_rejects_of_an_append_stream_are_taken_in_together(shop):
    lands_events(shop)
    shop.source.add(*(event(commit, commit) for commit in range(1, MANY + 1)))
    shop.run_once()
    assert shop.account("events")["rejected"] == MANY
    assert ledger(shop, "ask_replay_of", Choice(stream="events")) == MANY
    before = shop.status()["epoch"]
    shop.run_once()
    assert [row["n"] for row in sorted(shop.rows("events"), key=lambda row: row["n"])] == list(range(1, MANY + 1))
    account = shop.account("events")
    assert (account["read"], account["landed"], account["rejected"], account["holds"]) == (MANY, MANY, 0, True)
    store = StateStore(shop.state)
    plans = store.plans_after(before)
    store.close()
    assert [len(replay.rejects) for plan in plans for replay in plan.replays] == [MANY]
    assert pa.ipc.open_stream(base64.b64decode(plans[0].replays[0].rows)).read_all().num_rows == MANY


def test_a_replayed_record_brings_the_column_that_nobody_knew(shop):
    lands_events(shop)
    wider = EVENTS.__class__("events", pa.schema([*EVENTS.columns, ("note", pa.string())]))
    shop.source.add(
        scripted_group(1, [(EVENTS, Op.INSERT, {"happened": WHEN, "n": 1})]), event(2, 2, wider, note="new")
    )
    shop.run_once()
    ledger(shop, "ask_replay", [1])
    shop.run_once()
    assert [(row["n"], row["note"]) for row in sorted(shop.rows("events"), key=lambda row: row["n"])] == [
        (1, None),
        (2, "new"),
    ]
    shop.source.add(scripted_group(3, [(EVENTS, Op.INSERT, {"happened": WHEN, "n": 3})]))
    shop.run_once()
    assert [row["n"] for row in sorted(shop.rows("events"), key=lambda row: row["n"])] == [1, 2, 3]


def test_a_full_ledger_stops_the_tables_and_nothing_is_dropped(shop):
    (shop.folder / "headwater.yml").write_text(PROJECT + "rejects: {max_bytes: 1 KiB}\n")
    shop.source.add(inserts(1, 1), *(rejected(commit, commit) for commit in range(2, 9)))
    shop.run_once()
    shop.source.add(inserts(100, 100))
    with pytest.raises(UserError, match="the ledger of rejects is full") as full:
        shop.run_once()
    assert "headwater rejects" in full.value.hint
    assert [row["id"] for row in shop.rows("orders")] == [1]
    ledger(shop, "discard_all", Choice(ids=(1, 2, 3, 4, 5, 6, 7)))
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 100]
    account = shop.account("orders")
    assert (account["rejected"], account["holds"]) == (7, True)


def test_a_full_ledger_still_replays(shop):
    (shop.folder / "headwater.yml").write_text(PROJECT + "rejects: {max_bytes: 1 KiB}\n")
    shop.source.add(*(rejected(commit, commit) for commit in range(2, 9)))
    shop.run_once()
    ledger(shop, "ask_replay_of", Choice())
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == list(range(2, 9))
    shop.source.add(inserts(100, 100))
    shop.run_once()
    assert shop.account("orders")["holds"]
