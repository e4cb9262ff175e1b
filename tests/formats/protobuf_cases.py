"""A message type with everything in it, random messages of it, and what their columns are: for tests and the fuzzer."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from google.protobuf.descriptor import FieldDescriptor as T
from google.protobuf.message_factory import GetMessageClass

from headwater.formats.protobuf.schema import files_of, message_named
from headwater.formats.schema_source import SchemaText

PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
enum Size { SMALL = 0; LARGE = 5; HUGE = -7; }
message Point { double x = 1; optional double y = 2; repeated sint32 path = 3; }
message Everything {
  message Inner { string name = 1; repeated Point points = 2; map<int32, Point> places = 3; Size size = 4; }
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float real = 11; double wide = 12; bool flag = 13; string text = 14; bytes raw = 15; Size size = 16;
  optional int32 maybe = 17; optional string maybe_text = 18;
  repeated int64 numbers = 19; repeated string names = 20; repeated Size sizes = 21; repeated bool flags = 300;
  repeated double loose = 22 [packed = false];
  Inner inner = 23; repeated Inner inners = 24;
  map<string, int64> counts = 25; map<bool, Inner> by_flag = 26;
  oneof choice { string word = 27; int64 number = 28; Point point = 29; }
  google.protobuf.Timestamp at = 30; google.protobuf.Duration took = 31;
  google.protobuf.StringValue note = 32; google.protobuf.Int64Value many = 33;
  google.protobuf.Struct anything = 34; Everything self = 35; repeated Everything selves = 36;
  repeated google.protobuf.Timestamp times = 2000;
}
"""
PROTO2 = """
syntax = "proto2";
message Two { required int32 id = 1; optional string name = 2 [default = "x"]; repeated int32 n = 3; required In in = 4;
  message In { required bool ok = 1; } }
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = ("", "a", "plain text", "café", "日本語", "x" * 70, "\U0010ffff")
OWN = ("anything", "self", "selves")
"""Fields that contain their own message and stay bytes, which the library may write in another order."""


def everything():
    return message_named(files_of(SchemaText(0, "PROTOBUF", PROTO), None), "Everything")


def scalar(rng, field):
    kind = field.type
    if kind in (T.TYPE_STRING, T.TYPE_BYTES):
        text = rng.choice(TEXTS)
        return text if kind == T.TYPE_STRING else text.encode()
    if kind in (T.TYPE_FLOAT, T.TYPE_DOUBLE):
        return rng.choice((0.0, -1.5, 0.25, float("inf"), 1024.0))
    if kind == T.TYPE_BOOL:
        return rng.random() < 0.5
    if kind == T.TYPE_ENUM:
        return rng.choice((0, 5, -7, 99, -1))
    bits = 32 if field.cpp_type in (T.CPPTYPE_INT32, T.CPPTYPE_UINT32) else 64
    low, high = (
        (0, 1 << bits) if field.cpp_type in (T.CPPTYPE_UINT32, T.CPPTYPE_UINT64) else (-(1 << bits - 1), 1 << bits - 1)
    )
    return rng.choice((0, 1, low, high - 1, rng.randrange(low, high)))


def fill(rng, message, depth=2):
    """Sets some of a message's fields."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.4 or (field.message_type is not None and depth == 0):
            continue
        name, kind = field.name, field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(rng.randrange(4)):
                key, value = scalar(rng, kind.fields_by_name["key"]), kind.fields_by_name["value"]
                if value.message_type is None:
                    getattr(message, name)[key] = scalar(rng, value)
                else:
                    fill(rng, getattr(message, name)[key], depth - 1)
        elif kind is not None and kind.name == "Timestamp":
            for _ in range(rng.randrange(3) if field.is_repeated else 1):
                at = getattr(message, name).add() if field.is_repeated else getattr(message, name)
                at.seconds, at.nanos = rng.randrange(-(10**9), 2 * 10**9), rng.randrange(1_000_000_000)
        elif kind is not None and kind.name == "Duration":
            sign = rng.choice((1, -1))
            getattr(message, name).seconds = sign * rng.randrange(100)
            getattr(message, name).nanos = sign * rng.randrange(1_000_000_000)
        elif kind is not None and kind.full_name == "google.protobuf.Struct":
            getattr(message, name)["a"] = 1.5
        elif kind is not None:
            for _ in range(rng.randrange(3) if field.is_repeated else 1):
                inner = getattr(message, name).add() if field.is_repeated else getattr(message, name)
                inner.SetInParent()
                fill(rng, inner, depth - 1)
        elif field.is_repeated:
            getattr(message, name).extend(scalar(rng, field) for _ in range(rng.randrange(5)))
        else:
            setattr(message, name, scalar(rng, field))
    return message


def made(rng, kind):
    return fill(rng, GetMessageClass(kind)())


def columns(message, open_=()):
    """What the columns of a message are, told by the library."""
    found = {}
    inside = (*open_, message.DESCRIPTOR.full_name)
    for field in message.DESCRIPTOR.fields:
        value, kind = getattr(message, field.name), field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            of = kind.fields_by_name["value"]
            found[field.name] = sorted((key, single(of, each, inside)) for key, each in value.items())
        elif field.is_repeated:
            found[field.name] = [single(field, each, inside) for each in value]
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = single(field, value, inside)
    return found


def single(field, value, inside):
    kind = field.message_type
    if kind is None:
        if field.type == T.TYPE_ENUM:
            names = field.enum_type.values_by_number
            return names[value].name if value in names else str(value)
        return Decimal(value) if field.cpp_type == T.CPPTYPE_UINT64 else value
    if kind.name == "Timestamp":
        return EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    if kind.name == "Duration":
        sign = "-" if value.seconds < 0 or value.nanos < 0 else ""
        return f"{sign}{abs(value.seconds)}.{abs(value.nanos):09d}s"
    if kind.name in ("StringValue", "Int64Value"):
        return value.value
    if kind.full_name in inside:
        return value.SerializeToString()
    return columns(value, inside)


def _presence(value):
    return len(value) if isinstance(value, list) else value is not None


def comparable(row):
    """A row of which maps are in the order of their keys, and what stays bytes is only there or not."""
    if isinstance(row, dict):
        return {name: _presence(each) if name in OWN else comparable(each) for name, each in row.items()}
    if isinstance(row, list):
        pairs = bool(row) and all(isinstance(each, tuple) for each in row)
        return sorted((key, comparable(each)) for key, each in row) if pairs else [comparable(each) for each in row]
    return row


def seeded(seed, count):
    rng, kind = random.Random(seed), everything()
    return [made(rng, kind) for _ in range(count)]
