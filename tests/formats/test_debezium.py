"""Debezium's envelope: what happened, to which row, in the types of its schema."""

import base64
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from headwater.capture.messages.message import messages_of
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import StreamShaper
from headwater.change import Op, marks
from headwater.errors import UserError
from headwater.position import Position


def envelope(op, before=None, after=None, **more):
    return {"before": before, "after": after, "source": {"lsn": 1}, "op": op, "ts_ms": 5, **more}


def shaper(**settings):
    given = {"format": "debezium-json", "key": ["id"], "metadata": [], **settings}
    return StreamShaper("orders", MessageStreamSettings.model_validate(given))


def shaped(*messages, keys=None, by=None):
    values = [m if isinstance(m, bytes) or m is None else json.dumps(m).encode() for m in messages]
    batch = messages_of(pa.array(values, pa.binary()), **({"key": pa.array(keys, pa.binary())} if keys else {}))
    return (by or shaper()).shape(batch, Position(1))


def rows(found, *names):
    (batch,) = found.batches
    return [tuple(row[name] for name in ("_op", "_weight", *names)) for row in batch.rows.to_pylist()]


CHANGES = [
    envelope("r", None, {"id": 1, "name": "a"}),
    envelope("c", None, {"id": 2, "name": "b"}),
    envelope("u", {"id": 1, "name": "a"}, {"id": 1, "name": "A"}),
    envelope("d", {"id": 2, "name": "b"}, None),
]


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_kind_of_change_with_the_schema_and_without(wrapped):
    given = [{"schema": {"type": "struct", "fields": []}, "payload": change} for change in CHANGES]
    found = shaped(*(given if wrapped else CHANGES), None, keys=[b'{"id":1}'] * 4 + [b'{"id":2}'])
    assert found.rejects is None
    assert rows(found, "id", "name") == [
        (Op.READ, 1, 1, "a"),
        (Op.INSERT, 1, 2, "b"),
        (Op.UPDATE, 1, 1, "A"),
        (Op.DELETE, -1, 2, "b"),
        (Op.DELETE, -1, 2, None),
    ]


def test_a_key_with_its_schema_names_what_a_tombstone_deletes():
    found = shaped(*CHANGES, None, keys=[None] * 4 + [b'{"schema":{"fields":[{"field":"id"}]},"payload":{"id":7}}'])
    assert rows(found, "id")[-1] == (Op.DELETE, -1, 7)


def test_a_truncate_empties_the_stream():
    assert rows(shaped(CHANGES[0], envelope("t")), "id") == [(Op.READ, 1, 1), (Op.TRUNCATE, -1, None)]


def test_both_ways_of_writing_in_one_batch():
    found = shaped(CHANGES[0], {"schema": None, "payload": CHANGES[1]})
    assert rows(found, "id", "name") == [(Op.READ, 1, 1, "a"), (Op.INSERT, 1, 2, "b")]


def test_a_large_value_that_was_not_sent_did_not_change():
    found = shaped(CHANGES[0], envelope("u", None, {"id": 1, "name": "__debezium_unavailable_value"}))
    unsent, _ = marks(found.batches[0])
    assert {name: mask.tolist() for name, mask in unsent.items()} == {"name": [False, True]}
    assert rows(found, "name")[-1] == (Op.UPDATE, 1, None)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", "ends_early"),
        ({"id": 1}, "no_envelope"),
        (envelope("x", None, {"id": 1}), "no_envelope"),
        (envelope(1, None, {"id": 1}), "no_envelope"),
        (envelope("c"), "no_after"),
        (envelope("d"), "no_before"),
        (envelope("c", None, {"name": "x"}), "no_key"),
        (envelope("c", None, 5), "no_after"),
    ],
)
def test_a_bad_event_is_rejected_and_no_other(message, reason):
    found = shaped(CHANGES[0], message, CHANGES[3])
    assert found.rejects.column("reason").to_pylist() == [reason]
    assert rows(found, "id") == [(Op.READ, 1, 1), (Op.DELETE, -1, 2)]


def test_values_are_of_the_types_of_the_schema():
    unscaled = base64.b64encode((-12345).to_bytes(3, "big", signed=True)).decode()
    columns = {
        "id": ("int32", None, 1, 1),
        "day": ("int32", "io.debezium.time.Date", 20_000, date(2024, 10, 4)),
        "at": ("int64", "io.debezium.time.Timestamp", 1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123000)),
        "micro": ("int64", "io.debezium.time.MicroTimestamp", 1, datetime(1970, 1, 1, 0, 0, 0, 1)),
        "zoned": (
            "string",
            "io.debezium.time.ZonedTimestamp",
            "2024-01-01T00:00:00Z",
            datetime(2024, 1, 1, tzinfo=UTC),
        ),
        "clock": ("int64", "io.debezium.time.MicroTime", 3_600_000_000, time(1)),
        "price": ("bytes", "org.apache.kafka.connect.data.Decimal", unscaled, Decimal("-123.45")),
        "raw": ("bytes", None, "AP8=", b"\x00\xff"),
        "ratio": ("double", None, 1, 1.0),
        "label": ("string", None, None, None),
    }
    fields = [
        {"field": name, "type": kind, "optional": True, "parameters": {"scale": "2"}} | ({"name": sem} if sem else {})
        for name, (kind, sem, _, _) in columns.items()
    ]
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": fields}]}
    event = envelope("c", None, {name: value for name, (_, _, value, _) in columns.items()})
    found = shaped({"schema": schema, "payload": event})
    assert rows(found, *columns) == [(Op.INSERT, 1, *(wanted for *_, wanted in columns.values()))]
    assert found.batches[0].stream.columns.field("id").type == pa.int32()


def test_without_a_key_nothing_says_which_row_changed():
    with pytest.raises(UserError, match="which") as error:
        shaper(key=[])
    assert "key: [id]" in error.value.hint
