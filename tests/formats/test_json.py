"""JSON messages as Arrow columns: every value typed, every bad message found, none of its neighbours touched."""

import pyarrow as pa
import pytest

from headwater.formats.decoder import make_decoder
from headwater.formats.settings import JsonFormat


def decoded(*messages, nan=False, declared=()):
    """What a decoder makes of some messages."""
    return make_decoder(JsonFormat(nan=nan), None, declared).decode(pa.array(messages, pa.binary()))


def columns(found):
    """(name, type, values) of every column."""
    rows = found.rows
    return [(field.name, str(field.type), rows.column(i).to_pylist()) for i, field in enumerate(rows.schema)]


def test_fields_become_columns_of_their_own_types():
    found = decoded(b'{"a":1,"b":1.5,"c":"x","d":true,"e":null}', b'{"a":-9223372036854775808,"c":"","f":{"g":[1,2]}}')
    assert columns(found) == [
        ("a", "int64", [1, -(2**63)]),
        ("b", "double", [1.5, None]),
        ("c", "string", ["x", ""]),
        ("d", "bool", [True, None]),
        ("f", "struct<g: list<item: int64>>", [None, {"g": [1, 2]}]),
        ("e", "null", [None, None]),
    ]


def test_a_field_of_several_types_comes_once_for_each():
    found = decoded(
        b'{"a":1}', b'{"a":"x"}', b'{"a":null}', b'{"a":2.5}', b'{"a":[1,"x"]}', b'{"a":18446744073709551615}'
    )
    assert [(name, kind) for name, kind, _ in columns(found)] == [
        ("a", "int64"),
        ("a", "string"),
        ("a", "double"),
        ("a", "list<item: string>"),
        ("a", "decimal128(38, 0)"),
    ]
    assert found.rows.column(3).to_pylist()[4] == ["1", '"x"']


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "ends_early"),
        (b'{"a":1', "ends_early"),
        (b'{"a":"x', "ends_early"),
        (b'{"a":tru', "ends_early"),
        (b'{"a":1}}', "not_json"),
        (b'{"a":01}', "not_json"),
        (b'{"a":1.}', "not_json"),
        (b'{"a":+1}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":1,}', "not_json"),
        (b'{"a":[1,]}', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":"\x01"}', "not_json"),
        (b'{"a":"\\x"}', "not_json"),
        (b'{"a":"\xff"}', "bad_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "bad_utf8"),
        (b'{"a":"\\ud800"}', "bad_escape"),
        (b'{"a":1,"b":2,"\\u0061":3}', "duplicate_key"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
        (b"[1]", "not_an_object"),
        (b"1", "not_an_object"),
        (b'{"' + b"k" * 2000 + b'":1}', "too_many_fields"),
    ],
)
def test_a_bad_message_is_found_and_its_neighbours_are_as_if_it_were_not_there(message, reason):
    found = decoded(b'{"a":1}', message, b'{"a":2,"b":[{"c":"x"}]}', None, message, b'{"a":3}')
    assert [(bad.message, bad.reason) for bad in found.bad] == [(1, reason), (4, reason)]
    assert found.message.tolist() == [0, 2, 5]
    assert found.rows.equals(decoded(b'{"a":1}', b'{"a":2,"b":[{"c":"x"}]}', b'{"a":3}').rows)


def test_what_json_does_not_have_can_be_allowed():
    (_, _, values), *_ = columns(decoded(b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":Infinity}', nan=True))
    assert str(values) == "[nan, -inf, inf]"


def test_a_declared_field_comes_as_it_is_written():
    given = [b'{"a":1.10}', b'{"a":"x\\n"}', b'{"a":{"b" :[1]}}', b'{"a":null}', b'{"a":true}']
    assert columns(decoded(*given, declared=["a"])) == [("a", "string", ["1.10", "x\n", '{"b" :[1]}', None, "true"])]


def test_a_byte_order_mark_and_white_space_are_passed_over():
    assert columns(decoded(b'\xef\xbb\xbf \r\n{ "a" : 1 }\t')) == [("a", "int64", [1])]


def test_escapes_are_undone():
    given = rb'{"a":"\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00"}'
    assert columns(decoded(given)) == [("a", "string", ['"\\/\b\f\n\r\té€😀'])]
