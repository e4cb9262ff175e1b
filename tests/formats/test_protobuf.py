"""Protocol Buffers to columns; Google's own library is the oracle."""

from __future__ import annotations

import protobuf_cases as cases
import pyarrow as pa
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import UserError
from headwater.formats.protobuf.decoder import ProtobufDecoder
from headwater.formats.protobuf.schema import files_of
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.schema_source import SchemaText


def decoder(text=cases.PROTO, message="Everything"):
    return ProtobufDecoder(ProtobufFormat(framing="none", schema=text, message=message), None)


def decode(messages, reader=None):
    return (reader or decoder()).decode(pa.array(messages, pa.binary()))


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_random_messages_decode_to_what_the_library_reads(seed):
    messages = cases.seeded(seed, 5)
    found = decode([each.SerializeToString() for each in messages])
    assert found.bad == ()
    found.rows.validate(full=True)
    wanted = [cases.comparable(cases.columns(each)) for each in messages]
    assert [cases.comparable(each) for each in found.rows.to_pylist()] == wanted


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_two_messages_one_after_the_other_are_merged(seed):
    one, two = cases.seeded(seed, 2)
    data = one.SerializeToString() + two.SerializeToString()
    found = decode([data])
    if found.bad:
        assert found.bad[0].reason == "oneof_twice"
        return
    whole = type(one).FromString(data)
    assert cases.comparable(found.rows.to_pylist()[0]) == cases.comparable(cases.columns(whole))


@given(st.integers(0, 1 << 32), st.data())
@settings(max_examples=60, deadline=None)
def test_a_message_cut_anywhere_is_read_or_refused_as_the_library_does(seed, data):
    one, two, three = cases.seeded(seed, 3)
    raw = two.SerializeToString()
    cut = raw[: data.draw(st.integers(0, len(raw)))]
    found = decode([one.SerializeToString(), cut, None, three.SerializeToString()])
    try:
        wanted = [one, type(two).FromString(cut), three]
    except ValueError:
        wanted = [one, three]
        assert [each.message for each in found.bad] == [1]
    except Exception as error:  # noqa: BLE001 whatever the library raises is a refusal
        assert type(error).__name__ == "DecodeError"
        wanted = [one, three]
        assert [each.message for each in found.bad] == [1]
    assert [cases.comparable(each) for each in found.rows.to_pylist()] == [
        cases.comparable(cases.columns(m)) for m in wanted
    ]


WRONG = [
    (b"\x08" + b"\xff" * 10, "bad_number"),
    (b"\x08\x80", "ends_early"),
    (b"\x00\x01", "bad_tag"),
    (b"\x0e\x01", "bad_tag"),
    (b"\x72\x05a", "ends_early"),
    (b"\x72" + b"\xff" * 9 + b"\x01", "bad_length"),
    (b"\x72\x02\xc0\x80", "bad_utf8"),
    (b"\xba\x01\x02\x0a\x05", "ends_early"),
    (b"\xa3\x1f\x08\x01", "ends_early"),
    (b"\xa3\x1f\xac\x1f", "bad_group"),
    (b"\xa4\x1f", "bad_group"),
    (b"\xf2\x01\x04\x10\x80\x94\xeb", "ends_early"),
    (b"\xf2\x01\x06\x10\x80\x94\xeb\xdc\x03", "out_of_range"),
    (b"\xea\x01\x00\xe0\x01\x05\xea\x01\x00", "oneof_twice"),
]


@pytest.mark.parametrize(("message", "reason"), WRONG, ids=[f"{each[1]}-{i}" for i, each in enumerate(WRONG)])
def test_what_is_wrong_is_said(message, reason):
    good = cases.seeded(1, 1)[0]
    found = decode([good.SerializeToString(), message, good.SerializeToString()])
    assert [(each.message, each.reason) for each in found.bad] == [(1, reason)]
    assert found.message.tolist() == [0, 2]


def test_what_is_not_known_is_passed_over():
    group = b"\xa3\x1f\x08\x01\xab\x1f\xac\x1f\xa4\x1f"
    found = decode([group + b"\xa8\x1f\x07" + b"\x0a\x01x" + b"\x10\x09"])
    assert found.bad == ()
    assert (found.rows.to_pylist()[0]["i32"], found.rows.to_pylist()[0]["i64"]) == (0, 9)


def test_numbers_are_taken_packed_or_not():
    found = decode([b"\x98\x01\x05\x9a\x01\x02\x06\x07\xb2\x01\x08" + bytes(8)])
    assert (found.rows["numbers"].to_pylist(), found.rows["loose"].to_pylist()) == ([[5, 6, 7]], [[0.0]])


def test_required_fields_must_be_there():
    reader = decoder(cases.PROTO2, "Two")
    found = decode([b"\x08\x01\x22\x02\x08\x01", b"\x22\x02\x08\x01", b"\x08\x01\x22\x00", b"\x08\x01"], reader)
    assert found.rows.to_pylist() == [{"id": 1, "name": None, "n": [], "in": {"ok": True}}]
    assert [(each.message, each.reason) for each in found.bad] == [(n, "required_missing") for n in (1, 2, 3)]
    assert found.bad[1].text.startswith("in.ok: ")


def test_lists_grow_and_bad_messages_leave_nothing_in_them():
    kind = GetMessageClass(cases.everything())
    long = kind(names=["x" * n for n in range(500)]).SerializeToString()
    short = kind(names=["a"]).SerializeToString()
    found = decode([short, long + b"\x72\x05", long, short])
    assert [len(each) for each in found.rows["names"].to_pylist()] == [1, 500, 1]
    assert [each.message for each in found.bad] == [1]


def test_a_proto_file_with_imports_and_a_descriptor_set_are_read(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "size.proto").write_text('syntax = "proto3"; enum Size { S = 0; L = 1; }')
    text = 'syntax = "proto3"; import "deep/size.proto"; message A { Size size = 1; } message B { A a = 1; }'
    (tmp_path / "main.proto").write_text(text)
    path = str(tmp_path / "main.proto")
    reader = ProtobufDecoder(ProtobufFormat(framing="none", schema_file=path, message="B"), None)
    assert decode([b"\x0a\x02\x08\x01"], reader).rows.to_pylist() == [{"a": {"size": "L"}}]
    with pytest.raises(UserError, match="several message types"):
        ProtobufDecoder(ProtobufFormat(framing="none", schema_file=path), None)
    every = FileDescriptorSet()
    files_of(SchemaText(0, "PROTOBUF", cases.PROTO2), None).CopyToProto(every.file.add())
    (tmp_path / "two.pb").write_bytes(every.SerializeToString())
    reader = ProtobufDecoder(ProtobufFormat(framing="none", schema_file=str(tmp_path / "two.pb")), None)
    assert decode([b"\x08\x01\x22\x02\x08\x01"], reader).rows["id"].to_pylist() == [1]


def test_a_text_that_is_not_valid_is_refused_with_what_protoc_says():
    with pytest.raises(UserError, match=r"schema.proto:1"):
        decoder("message A { int32 = 1; }", "")
    with pytest.raises(UserError, match=r"other.proto"):
        decoder('syntax = "proto3"; import "other.proto"; message A {}', "")


def test_a_message_with_groups_is_refused_by_name():
    with pytest.raises(UserError, match=r"g: groups"):
        decoder('syntax = "proto2"; message A { optional group G = 1 { optional int32 x = 1; } }', "")
