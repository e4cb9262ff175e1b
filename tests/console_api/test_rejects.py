"""Rejects: by cause, one by one, raw and decoded; replayed and discarded once that is confirmed."""

import base64
import io

import pyarrow as pa
import pytest
from scripted_project import ORDERS, order, wait_until

from headwater.change import REJECT_SCHEMA, Op
from headwater.testing.scripted_source import scripted_group


def rejected(console, position, record, key, reason):
    """One more reject; its number."""
    row = {"stream": "orders", "stage": "decode", "reason": reason, "message": f"cannot read {key}",
           "position": str(position), "key": key, "record": record, "weight": 1}  # fmt: skip
    batch = pa.RecordBatch.from_pylist([row], schema=REJECT_SCHEMA)
    console.shop.source.add(scripted_group(position, rejects=batch, time_us=position))
    found = []

    def there():
        found[:] = console.get("/v1/rejects", reason=reason)["rejects"]
        return bool(found)

    wait_until(there, "the reject")
    return found[0]["id"]


def log_rows(position, number):
    """A record that the scripted source can decode: the row as the log has it."""
    group = scripted_group(position, [(ORDERS, Op.INSERT, order(number))], time_us=position)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, group.batches[0].rows.schema) as writer:
        writer.write_batch(group.batches[0].rows)
    return sink.getvalue()


def test_what_failed_alike_is_one_cause(console):
    causes = console.get("/v1/rejects/causes")["causes"]
    found = next(cause for cause in causes if cause["reason"] == "type")
    assert (found["stream"], found["stage"], found["count"], found["state"]) == ("orders", "decode", 2, "open")
    assert found["replays"] and found["message"] == "amount of 91 is no number"


def test_entries_come_a_page_at_a_time(console):
    first = console.get("/v1/rejects", limit=1, reason="type")
    rest = console.get("/v1/rejects", limit=10, reason="type", after=first["next_after"])
    assert [entry["key"] for entry in (*first["rejects"], *rest["rejects"])] == ["90", "91"]
    assert rest["next_after"] is None


def test_one_is_shown_raw_and_says_why_it_cannot_be_decoded(console):
    number = console.get("/v1/rejects", reason="type")["rejects"][0]["id"]
    found = console.get(f"/v1/rejects/{number}")
    assert found["rows"] == [] and "no connector" in found["undecodable"]
    assert base64.b64decode(found["raw_base64"]) == b"raw \xff bytes of 90"
    assert found["raw_text"] is None and found["bytes"] == 17 and not found["truncated"]


def test_a_replayed_one_goes_through(console):
    number = rejected(console, 20, log_rows(20, 500), "[500]", "to-replay")
    answer = console.post("/v1/rejects/replay", {"ids": [number], "confirm": True})
    assert answer == {"moved": 1}
    wait_until(lambda: console.get(f"/v1/rejects/{number}")["state"] == "replayed", "the replay")
    assert 500 in [row["id"] for row in console.shop.rows("orders")]


def test_a_cause_is_discarded_whole(console):
    number = rejected(console, 30, b"nothing", "[600]", "to-discard")
    cause = {"stream": "orders", "stage": "decode", "reason": "to-discard"}
    assert console.post("/v1/rejects/discard", {"cause": cause, "confirm": True}) == {"moved": 1}
    assert console.get(f"/v1/rejects/{number}")["state"] == "discarded"
    settled = console.get("/v1/rejects/causes", settled=True)["causes"]
    assert "discarded" in [one["state"] for one in settled if one["reason"] == "to-discard"]
    assert console.post("/v1/rejects/discard", {"cause": cause, "confirm": True}) == {"moved": 0}


@pytest.mark.parametrize(
    "body", [{"ids": [1]}, {"ids": [1], "confirm": False}, {"confirm": True}, {"ids": ["x"], "confirm": True},
             {"ids": [1], "cause": {"stream": "orders"}, "confirm": True}, {"ids": [1], "confirm": True, "more": 1}]
)  # fmt: skip
def test_nothing_is_decided_that_was_not_said_plainly(console, body):
    before = console.get("/v1/rejects/causes", settled=True)
    console.post("/v1/rejects/discard", body, status=422)
    assert console.get("/v1/rejects/causes", settled=True) == before


def test_no_form_of_another_site_decides(console):
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        answer = console.http.post(
            "/v1/rejects/discard", content=b'{"ids":[1],"confirm":true}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 415
    assert console.http.get("/v1/rejects/discard").status_code in (404, 405)


def test_what_is_not_there_is_not_found(console):
    for number in ("999999", "x", "1e3", "-1", "٣"):
        assert console.http.get(f"/v1/rejects/{number}").status_code == 404
