"""Arrow to Protocol Buffers: Google's library and our own decoder read what was written."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import protobuf_cases as cases
import pyarrow as pa
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import UserError
from headwater.formats.decoder import make_decoder
from headwater.formats.encoder import make_encoder
from headwater.formats.protobuf.derived import schema_of
from headwater.formats.protobuf.encoder import path_bytes
from headwater.formats.protobuf.schema import files_of, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.schema_source import SchemaText
from headwater.registry.store import SchemaStore

POINTS = [{"x": 1, "names": ["n", ""]}, {"x": None, "names": []}]
SAME = pa.table({
    "flag": pa.array([True, None, False]),
    "small": pa.array([1, None, -(1 << 31)], pa.int32()),
    "large": pa.array([(1 << 63) - 1, None, -(1 << 63)], pa.int64()),
    "real": pa.array([1.5, None, -0.0], pa.float32()),
    "wide": pa.array([float("inf"), None, 1e-300]),
    "text": ["", None, "日本語"],
    "raw": pa.array([b"", None, b"\x00\xff"], pa.binary()),
    "at": pa.array([datetime(1960, 1, 1, 0, 0, 0, 7), None, datetime(2100, 1, 1)], pa.timestamp("us", tz="UTC")),
    "tags": pa.array([["a", ""], [], ["b"]], pa.list_(pa.string())),
    "numbers": pa.array([[0, -1], [], [1 << 40]], pa.list_(pa.int64())),
    "counts": pa.array([[("a", 1), ("b", 0)], [], []], pa.map_(pa.string(), pa.int64())),
    "place": pa.array([POINTS[0], None, POINTS[1]], pa.struct([("x", pa.int64()), ("names", pa.list_(pa.string()))])),
    "places": pa.array([POINTS, [], []], pa.list_(pa.struct([("x", pa.int64()), ("names", pa.list_(pa.string()))]))),
})  # fmt: skip
TEXTS = pa.table({
    "price": pa.array([Decimal("0.0000000001"), None], pa.decimal128(20, 10)),
    "day": pa.array([date(1960, 1, 1), None]),
    "clock": pa.array([time(23, 59, 59, 999999), None]),
    "local": pa.array([datetime(2100, 1, 1), None], pa.timestamp("us")),
    "kind": pa.array(["a", None]).dictionary_encode(),
    "many": pa.array([(1 << 64) - 1, None], pa.uint64()),
})  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = SchemaStore(tmp_path)
    yield made
    made.close()


def test_every_type_comes_back_as_it_was(store):
    encoder = make_encoder(ProtobufFormat(), store, "shop.orders-value")
    for rows in (SAME, SAME.slice(1), SAME.slice(2, 1), SAME.slice(0, 0), pa.concat_tables([SAME, SAME.slice(1, 1)])):
        found = make_decoder(ProtobufFormat(), store).decode(encoder.encode(rows))
        assert found.bad == ()
        assert found.rows.to_pylist() == rows.to_pylist()
    assert store.subjects() == ["shop.orders-value"]


def test_what_has_no_type_of_its_own_is_text_with_all_its_digits(store):
    encoder = make_encoder(ProtobufFormat(), store, "t-value")
    (first, second) = make_decoder(ProtobufFormat(), store).decode(encoder.encode(TEXTS)).rows.to_pylist()
    assert first == {
        "price": "0.0000000001", "day": "1960-01-01", "clock": "23:59:59.999999", "local": "2100-01-01T00:00:00.000000",
        "kind": "a", "many": Decimal((1 << 64) - 1),
    }  # fmt: skip
    assert set(second.values()) == {None}


@given(st.integers(0, 1 << 32))
@settings(max_examples=40, deadline=None)
def test_random_messages_are_written_as_the_library_writes_them(seed):
    form = ProtobufFormat(framing="none", schema=cases.PROTO, message="Everything")
    messages = cases.seeded(seed, 4)
    rows = make_decoder(form).decode(pa.array([each.SerializeToString() for each in messages], pa.binary())).rows
    kind = GetMessageClass(cases.everything())
    again = [kind.FromString(each) for each in make_encoder(form).encode(pa.Table.from_batches([rows])).to_pylist()]
    for found, wanted in zip(again, messages, strict=True):
        for at in [*wanted.times, *([wanted.at] if wanted.HasField("at") else [])]:
            at.nanos -= at.nanos % 1000
        assert cases.comparable(cases.columns(found)) == cases.comparable(cases.columns(wanted))


def field_numbers(store):
    found = message_named(files_of(store.version("t-value", -1), None), "")
    return {field.name: field.number for field in found.fields}


def test_a_number_means_a_field_for_ever(store):
    def write(**columns):
        rows = pa.table(columns)
        made = make_encoder(ProtobufFormat(), store, "t-value").encode(rows)  # a new process
        found = make_decoder(ProtobufFormat(), store).decode(made)
        assert found.rows.to_pylist() == rows.to_pylist()
        return field_numbers(store)

    inner = pa.array([{"x": 1, "y": 2}])
    assert write(a=[1], b=["x"], place=inner) == {"a": 1, "b": 2, "place": 3}
    assert write(a=[1], b=["x"], place=inner) == {"a": 1, "b": 2, "place": 3}
    assert len(store.versions("t-value")) == 1
    assert write(z=[1], b=["x"], place=pa.array([{"y": 2}])) == {"z": 4, "b": 2, "place": 3}
    assert write(z=["now text"], b=["x"], a=[1]) == {"z": 5, "b": 2, "a": 6}
    assert "reserved 1, 3, 4;" in store.version("t-value", -1).text


def test_framing_says_which_message_type(store):
    text = 'syntax = "proto3"; message A { int32 x = 1; } message B { message C { optional int32 y = 1; } }'
    for name, rows, head in (("A", {"x": [5]}, b"\0"), ("B.C", {"y": [6]}, b"\x04\x02\x00")):
        form = ProtobufFormat(schema=text, message=name)
        made = make_encoder(form, store, "s").encode(pa.table(rows))
        assert made[0].as_py()[5:].startswith(head)
        assert make_decoder(ProtobufFormat(), store).decode(made).rows.to_pydict() == rows
    assert path_bytes([0, 200]) == b"\x04\x00\x90\x03"


WRONG = [
    ("int32 a = 1;", {"a": [None]}, "is null"),
    ("optional int32 a = 1;", {"a": [1 << 40]}, "does not fit"),
    ("optional int32 a = 1;", {"a": [1], "b": [2]}, "no field b"),
    ("repeated int32 a = 1;", {"a": [[1, None]]}, "null among its items"),
    ("map<string, int32> a = 1;", {"a": pa.array([[("k", None)]], pa.map_(pa.string(), pa.int32()))}, "is null"),
    ("oneof c { int32 a = 1; int32 b = 2; }", {"a": [1], "b": [2]}, "more than one"),
    ("enum E { Z = 0; } optional E a = 1;", {"a": ["no such"]}, "does not know"),
    ("message I { int32 x = 1; } optional I a = 1;", {"a": [1]}, "is to be a message"),
    ("optional string a = 1;", {"a": [[1]]}, "does not fit"),
]


@pytest.mark.parametrize(("fields", "columns", "complaint"), WRONG)
def test_what_a_field_cannot_say_is_refused(fields, columns, complaint):
    form = ProtobufFormat(framing="none", schema=f'syntax = "proto3"; message M {{ {fields} }}', message="M")
    with pytest.raises(UserError, match=complaint):
        make_encoder(form).encode(pa.table(columns))


def test_columns_without_a_place_are_refused():
    for column in (pa.field("a b", pa.int64()), pa.field("deep", pa.list_(pa.list_(pa.int64())))):
        with pytest.raises(UserError, match="Protocol Buffers"):
            schema_of(pa.schema([column]), "t")
    text = 'syntax = "proto2"; message Two { required int32 id = 1; optional string name = 2; }'
    two = ProtobufFormat(framing="none", schema=text)
    with pytest.raises(UserError, match="required"):
        make_encoder(two).encode(pa.table({"name": ["x"]}))
    kind = GetMessageClass(message_named(files_of(SchemaText(0, "PROTOBUF", text), None), "Two"))
    made = make_encoder(two).encode(pa.table({"id": [0]}))[0].as_py()
    assert kind.FromString(made).id == 0


def test_a_column_of_bytes_is_a_message_that_is_written_already():
    text = 'syntax = "proto3"; message M { message I { int32 x = 1; } I a = 1; }'
    form = ProtobufFormat(framing="none", schema=text, message="M")
    made = make_encoder(form).encode(pa.table({"a": pa.array([b"\x08\x05", None], pa.binary())}))
    assert make_decoder(form).decode(made).rows.to_pylist() == [{"a": {"x": 5}}, {"a": None}]


def test_moments_before_1970_have_nanoseconds_that_count_up():
    form = ProtobufFormat(
        framing="none",
        schema='syntax = "proto3"; import "google/protobuf/timestamp.proto";'
        "message M { google.protobuf.Timestamp at = 1; }",
    )
    at = datetime(1969, 12, 31, 23, 59, 59, 250000, tzinfo=UTC)
    (made,) = make_encoder(form).encode(pa.table({"at": pa.array([at], pa.timestamp("us", "UTC"))})).to_pylist()
    found = GetMessageClass(message_named(files_of(SchemaText(0, "PROTOBUF", form.schema_text), None), ""))
    assert (found.FromString(made).at.seconds, found.FromString(made).at.nanos) == (-1, 250_000_000)
