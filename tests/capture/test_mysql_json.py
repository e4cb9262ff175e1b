"""MySQL's binary JSON becomes the server's text; partial updates are applied to it."""

import json as python_json
import struct
from decimal import Decimal

import mysql_encoder as encoder
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.mysql import json
from headwater.capture.mysql.kernels_rows import DIFF, VALUE
from headwater.errors import SourceStopped


def text_of(*documents):
    """The column's texts, and which are none."""
    lengths = np.array([len(document) for document in documents], np.int64)
    starts = np.cumsum(lengths) - lengths
    buffer = np.frombuffer(b"".join(documents) or b"\0", np.uint8)
    array, bad = json.to_text(buffer, starts, lengths, np.full(len(documents), VALUE, np.uint8), None)
    return array.cast(pa.string()).to_pylist(), bad


def one(value, *, large=False):
    texts, bad = text_of(encoder.document(value, large=large))
    assert bad is None
    assert texts[0] == json.render(json.read_document(encoder.document(value, large=large))).decode()
    return texts[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1, "-1"),
        (-32768, "-32768"),
        (65535, "65535"),
        (-2147483648, "-2147483648"),
        (4294967295, "4294967295"),
        (-9223372036854775808, "-9223372036854775808"),
        (18446744073709551615, "18446744073709551615"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1e15"),
        (1e14, "100000000000000.0"),
        (1.5e-14, "0.000000000000015"),
        (1e-16, "1e-16"),
        (-1.7976931348623157e308, "-1.7976931348623157e308"),
        ("", '""'),
        ("żółw 🐢 / \x7f", '"żółw 🐢 / \x7f"'),
        ('"\\\b\f\n\r\t\x00\x1f', '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, [2, []], {"a": {}}], '[1, [2, []], {"a": {}}]'),
        ({'"': "x", "b": 1, "aa": [True, None]}, '{"\\"": "x", "b": 1, "aa": [true, null]}'),
        (Decimal("-1234567890123.4500"), "-1234567890123.4500"),
        (Decimal("0.000000000000000000000000000001"), "0.000000000000000000000000000001"),
        (encoder.Opaque(252, b"\xff\x00ab"), '"base64:type252:/wBhYg=="'),
        (encoder.Opaque(16, b"\x05"), '"base64:type16:BQ=="'),
    ],
)
def test_values(value, text):
    for large in (False, True):
        assert one(value, large=large) == text
        assert one([value, {"k": value}], large=large) == f'[{text}, {{"k": {text}}}]'


def packed(year, month, day, hour, minute, second, micros=0):
    """`my_datetime` packed: what the documentation calls longlong TIME_to_longlong_datetime_packed."""
    return ((((year * 13 + month) << 5 | day) << 17) | hour << 12 | minute << 6 | second) << 24 | micros


def test_dates_and_times():
    def opaque(kind, value):
        return encoder.Opaque(kind, struct.pack("<q", value))

    assert one(opaque(10, packed(2015, 1, 15, 0, 0, 0))) == '"2015-01-15"'
    assert one(opaque(12, packed(2015, 1, 15, 23, 24, 25, 12000))) == '"2015-01-15 23:24:25.012000"'
    assert one(opaque(7, packed(9999, 12, 31, 23, 59, 59, 999999))) == '"9999-12-31 23:59:59.999999"'
    assert one(opaque(11, (838 << 12 | 59 << 6 | 59) << 24)) == '"838:59:59.000000"'
    assert one(opaque(11, -((1 << 12 | 2 << 6 | 3) << 24 | 500000))) == '"-01:02:03.500000"'


def test_doubles_print_as_the_server_prints_them(mariadb):
    """MySQL's and MariaDB's `my_gcvt` are one; a document only adds the `.0` of whole numbers."""
    drawn = np.random.default_rng(5).integers(0, 1 << 63, 3000, np.uint64).view(np.float64)
    made = [float(value) for value in drawn if np.isfinite(value)]
    made += [sign * 10.0**power for sign in (1, -1) for power in range(-25, 25)] + [123456789012345.6, 0.1 + 0.2]
    with mariadb.connect(conv={}) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"CAST({value!r} AS DOUBLE)" for value in made[:2000]))
        printed = list(cursor.fetchone())
    assert [json.double_text(value) for value in made[:2000]] == printed


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.booleans())
def test_a_column_of_documents_reads_back(drawn, large):
    texts, bad = text_of(*(encoder.document(value, large=large) for value in drawn))
    assert bad is None
    assert [python_json.loads(text) for text in texts] == drawn


def test_documents_that_are_none_are_told():
    good = encoder.document({"a": [1, "x", 2.5]})
    shared = encoder.document([["x" * 50]] * 40)
    texts, bad = text_of(good, good[:-1], b"\x0d\x00", b"", good)
    assert bad.tolist() == [False, True, True, False, False]
    assert texts == ['{"a": [1, "x", 2.5]}', None, None, "null", '{"a": [1, "x", 2.5]}']
    assert text_of(shared)[1] is None
    # Arrays of two elements that are both the array inside: two to the power of 40 would be printed.
    blown = struct.pack("<HH", 0, 4)
    for _ in range(40):
        blown = struct.pack("<HH", 2, 10 + len(blown)) + (b"\x02" + struct.pack("<H", 10)) * 2 + blown
    assert text_of(b"\x02" + blown)[1].tolist() == [True]
    # A string that ends after its document, in the one that follows.
    begun = encoder.document("abcde")
    assert text_of(begun[:-2], begun)[1].tolist() == [True, False]


def test_a_deep_document_is_refused_and_not_walked():
    deep = encoder.document(None)
    value = None
    for _ in range(101):
        value = [value]
    deep = encoder.document(value)
    assert text_of(deep)[1].tolist() == [True]


def changed(before, *diffs):
    document, changes = encoder.document(before), b"".join(diffs)
    buffer = np.frombuffer(document + changes, np.uint8)
    bases = np.array([[0], [len(document)]], np.int64)
    where = np.array([len(document)]), np.array([len(changes)]), np.array([DIFF], np.uint8)
    array, bad = json.to_text(buffer, *where, bases)
    assert bad is None
    return array.cast(pa.string()).to_pylist()[0]


def test_changes_of_a_partial_update():
    before = {"a": 1, "b": [1, {"c": "x"}, 3], 'k"y': {"d": None}}
    one_two = encoder.document(12)
    assert (
        changed(before, encoder.diff(0, "$.a", one_two)) == '{"a": 12, "b": [1, {"c": "x"}, 3], "k\\"y": {"d": null}}'
    )
    assert changed(before, encoder.diff(2, "$.b[1]")) == '{"a": 1, "b": [1, 3], "k\\"y": {"d": null}}'
    assert changed(before, encoder.diff(1, "$.b[1]", one_two)).startswith('{"a": 1, "b": [1, 12, {"c": "x"}, 3]')
    assert changed(before, encoder.diff(1, '$."k\\"y".e', one_two)).endswith('"k\\"y": {"d": null, "e": 12}}')
    assert changed(before, encoder.diff(0, "$.b[1].c", encoder.document({"n": []}))).startswith(
        '{"a": 1, "b": [1, {"c": {"n": []}}, 3]'
    )
    assert changed(before, encoder.diff(1, "$.aa", one_two), encoder.diff(2, "$.a")).startswith('{"b": [1, {"c"')
    assert changed([1], encoder.diff(0, "$", one_two)) == "12"


@pytest.mark.parametrize(
    "wrong",
    [
        encoder.diff(0, "$.zz", encoder.document(1)),
        encoder.diff(2, "$.a.b"),
        encoder.diff(2, "$[0]"),
        encoder.diff(2, "$"),
        encoder.diff(7, "$.a"),
        encoder.diff(0, "a", encoder.document(1)),
        encoder.diff(0, "$.a", encoder.document(1))[:-1],
        b"\0",
    ],
)
def test_changes_that_do_not_fit_stop(wrong):
    with pytest.raises(SourceStopped, match="JSON document"):
        changed({"a": 1}, wrong)


def test_texts_are_valid_arrow():
    texts, _ = text_of(encoder.document("ż"))
    assert pa.array(texts).type == pa.string()
