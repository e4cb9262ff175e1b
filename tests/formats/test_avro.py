"""Avro's binary encoding to columns; fastavro is the oracle."""

from __future__ import annotations

import json
import random

import avro_cases
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.formats.avro.decoder import AvroDecoder
from headwater.formats.avro.settings import AvroFormat


def decoder(schema):
    return AvroDecoder(AvroFormat(framing="none", schema=json.dumps(schema)), None)


def binary(values):
    return pa.array(values, pa.binary())


def plain(value):
    """NaN aside, as Python compares it."""
    return value


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_random_schemas_and_values_decode_to_what_fastavro_wrote(seed):
    maker = avro_cases.Maker(random.Random(seed))
    schema = maker.record(3)
    pairs = [maker.value(schema) for _ in range(maker.rng.choice((1, 2, 9)))]
    found = decoder(schema).decode(binary(avro_cases.written(schema, [given for given, _ in pairs])))
    assert found.bad == ()
    assert found.message.tolist() == list(range(len(pairs)))
    found.rows.validate(full=True)
    assert found.rows.to_pylist() == [wanted for _, wanted in pairs]


@given(st.integers(0, 1 << 32), st.data())
@settings(max_examples=60, deadline=None)
def test_a_message_cut_anywhere_is_bad_and_its_neighbours_are_not(seed, data):
    maker = avro_cases.Maker(random.Random(seed))
    schema = maker.record(3)
    pairs = [maker.value(schema) for _ in range(3)]
    messages = avro_cases.written(schema, [given for given, _ in pairs])
    cut = data.draw(st.integers(0, max(0, len(messages[1]) - 1)))
    found = decoder(schema).decode(binary([messages[0], messages[1][:cut], None, messages[2] + b"x", messages[2]]))
    wanted = [pairs[0][1], pairs[2][1]]
    bad = [1, 3] if messages[1] else [3]
    wanted = wanted if messages[1] else [pairs[0][1], pairs[1][1], pairs[2][1]]
    assert found.rows.to_pylist() == wanted
    assert [each.message for each in found.bad] == bad
    assert found.bad[-1].reason == "trailing_bytes"


WRONG = [
    ("long", b"\xff" * 9 + b"\x02", "bad_number"),
    ("long", b"\x80" * 11, "bad_number"),
    ("int", b"\x80\x80\x80\x80\x10", "out_of_range"),
    ("boolean", b"\x02", "bad_boolean"),
    ("string", b"\x01", "bad_length"),
    ("string", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends_early"),
    ("string", b"\x04\xc0\x80", "bad_utf8"),
    ("string", b"\x06\xed\xa0\x80", "bad_utf8"),
    ("string", b"\x02\xc3", "bad_utf8"),
    (["null", "int"], b"\x04", "bad_union"),
    (["null", "int"], b"\x01", "bad_union"),
    ({"type": "enum", "name": "e", "symbols": ["A"]}, b"\x02", "bad_enum"),
    ({"type": "array", "items": "int"}, b"\x14\x02", "bad_length"),
    ({"type": "array", "items": "int"}, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "bad_length"),
    ({"type": "map", "values": "int"}, b"\x02\x04", "bad_length"),
    ({"type": "int", "logicalType": "time-millis"}, b"\x01", "out_of_range"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 0}, b"\x02\x64", "out_of_range"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 0}, b"\x00", "bad_length"),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0},
        b"\x22\x00" + b"\xff" * 16,
        "out_of_range",
    ),
]


@pytest.mark.parametrize(("kind", "message", "reason"), WRONG, ids=[f"{each[2]}-{i}" for i, each in enumerate(WRONG)])
def test_what_is_wrong_is_said(kind, message, reason):
    schema = {"type": "record", "name": "r", "fields": [{"name": "f", "type": kind}]}
    found = decoder(schema).decode(binary([message]))
    assert [(each.message, each.reason) for each in found.bad] == [(0, reason)]
    assert found.rows.num_rows == 0
    assert found.bad[0].text.startswith("f: ")


def test_lists_grow_beyond_what_was_guessed_and_bad_messages_leave_nothing_in_them():
    schema = {"type": "record", "name": "r", "fields": [{"name": "f", "type": {"type": "array", "items": "string"}}]}
    good, long = ({"f": ["x" * n] * n} for n in (3, 500))
    messages = avro_cases.written(schema, [good, long, good])
    found = decoder(schema).decode(binary([messages[0], messages[1][:-9], messages[1], messages[2]]))
    assert found.rows.to_pylist() == [good, long, good]
    assert [each.message for each in found.bad] == [1]


def test_blocks_with_their_size_are_read():
    schema = {"type": "record", "name": "r", "fields": [{"name": "f", "type": {"type": "array", "items": "int"}}]}
    found = decoder(schema).decode(binary([b"\x03\x04\x02\x04\x02\x06\x00"]))
    assert found.rows.to_pylist() == [{"f": [1, 2, 3]}]


def test_of_a_key_that_comes_twice_the_last_value_counts():
    schema = {"type": "record", "name": "r", "fields": [{"name": "f", "type": {"type": "map", "values": "int"}}]}
    message = b"\x06\x02a\x02\x02b\x04\x02a\x06\x00"
    found = decoder(schema).decode(binary([message, b"\x00", message]))
    assert found.rows.to_pylist() == [{"f": [("b", 2), ("a", 3)]}, {"f": []}, {"f": [("b", 2), ("a", 3)]}]


def test_a_schema_that_is_no_record_is_one_column():
    assert decoder("string").decode(binary([b"\x02a", None])).rows.to_pylist() == [{"value": "a"}]
    found = decoder(["null", "string", "long"]).decode(binary([b"\x00", b"\x02\x02a", b"\x04\x02"]))
    assert found.rows.to_pylist() == [
        {"value": None},
        {"value": {"string": "a", "long": None}},
        {"value": {"string": None, "long": 1}},
    ]


def test_nanoseconds_stay_numbers_and_fixed_uuids_and_durations_become_text():
    fields = [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "id", "type": ["null", {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}]},
        {"name": "took", "type": ["null", {"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"}]},
    ]
    schema = {"type": "record", "name": "r", "fields": fields}
    took = b"\x01\0\0\0\x02\0\0\0\xbc\x0b\0\0"
    found = decoder(schema).decode(binary([b"\x02\x02" + bytes(range(16)) + b"\x02" + took, b"\x04\0\0"]))
    assert found.rows.to_pylist() == [
        {"at": 1, "id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "took": "P1M2DT3.004S"},
        {"at": 2, "id": None, "took": None},
    ]
