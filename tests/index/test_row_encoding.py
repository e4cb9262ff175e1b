"""Two rows have equal bytes exactly if SQL's GROUP BY would put them together."""

import datetime as dt
import decimal
import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.index.key_index import KeyIndex
from headwater.index.row_encoding import RowEncoder

D = decimal.Decimal


def encoded(array: pa.Array, kind: pa.DataType | None = None) -> list[bytes]:
    rows = RowEncoder([kind or array.type]).encode([array], len(array))
    return [rows.words[a:b].tobytes() for a, b in zip(rows.offsets, rows.offsets[1:], strict=False)]


def groups(array: pa.Array) -> list[int]:
    """For each row the first row that equals it."""
    rows = encoded(array)
    return [rows.index(row) for row in rows]


CASES = {
    "booleans": (pa.array([True, False, None, True, None]), [0, 1, 2, 0, 2]),
    "nulls": (pa.nulls(2), [0, 0]),
    "int8": (pa.array([0, None, -1, 0], pa.int8()), [0, 1, 2, 0]),
    "int64": (pa.array([0, None, 2**63 - 1, 0]), [0, 1, 2, 0]),
    "half": (pa.array(np.array([0.0, -0.0, np.nan], np.float16)), [0, 0, 2]),
    "float": (pa.array([0.0, -0.0, 1.5, None], pa.float32()), [0, 0, 2, 3]),
    "double": (pa.array([math.nan, -math.nan, 0.0, -0.0, None, math.inf]), [0, 0, 2, 2, 4, 5]),
    "strings": (pa.array(["", None, "a", "a\0", "x" * 5000, "a", "x" * 5000, "x" * 4999]), [0, 1, 2, 3, 4, 2, 4, 7]),
    "large strings": (pa.array(["", None, "a", ""], pa.large_string()), [0, 1, 2, 0]),
    "string views": (pa.array(["", None, "a", ""], pa.string_view()), [0, 1, 2, 0]),
    "binary": (pa.array([b"", None, b"\0", b"\0\0", b"\0"]), [0, 1, 2, 3, 2]),
    "fixed binary": (pa.array([b"abc", b"abd", None, b"abc"], pa.binary(3)), [0, 1, 2, 0]),
    "decimals": (pa.array([D("1.10"), D("1.1"), None, D("-1.1")], pa.decimal128(30, 2)), [0, 0, 2, 3]),
    "wide decimals": (pa.array([D(10) ** 40, D(0), D(10) ** 40], pa.decimal256(50, 2)), [0, 1, 0]),
    "dates": (pa.array([dt.date(2020, 1, 1), None, dt.date(2020, 1, 1)]), [0, 1, 0]),
    "times": (pa.array([dt.time(1), dt.time(2), dt.time(1)]), [0, 1, 0]),
    "timestamps": (pa.array([1, 2, None, 1], pa.timestamp("us", "UTC")), [0, 1, 2, 0]),
    "intervals": (
        pa.array([(1, 0, 0), (0, 30, 0), (0, 29, 86_400 * 10**9), (0, 1, 0)], pa.month_day_nano_interval()),
        [0, 0, 0, 3],
    ),
    "dictionary": (pa.array(["a", None, "b", "a"]).dictionary_encode(), [0, 1, 2, 0]),
    "run ends": (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), [0, 0, 2]),
    "lists": (pa.array([[1, 2], [], None, [None], [1], [1, 2], [2, 1]], pa.list_(pa.int32())), [0, 1, 2, 3, 4, 0, 6]),
    "lists of strings": (pa.array([["a", "b"], ["ab"], ["a", "b"], ["", "ab"]]), [0, 1, 0, 3]),
    "nested lists": (pa.array([[[1], [2]], [[1, 2]], [[1], [2]], [None]]), [0, 1, 0, 3]),
    "fixed lists": (pa.array([[1, 2], None, [1, 2], [2, 1]], pa.list_(pa.int64(), 2)), [0, 1, 0, 3]),
    "list views": (pa.array([[1, 2], None, [1, 2], []], pa.list_view(pa.int64())), [0, 1, 0, 3]),
    "structs": (pa.array([{"a": 1, "b": None}, {"a": None, "b": "x"}, None, {"a": 1, "b": None}]), [0, 1, 2, 0]),
    "maps": (
        pa.array([[("k", 1)], None, [("k", 2)], [("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        [0, 1, 2, 0, 4],
    ),
    "uuids": (pa.array([b"a" * 16, b"b" * 16, b"a" * 16], pa.uuid()), [0, 1, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_equal_rows_have_equal_bytes(name: str) -> None:
    array, expected = CASES[name]
    assert groups(array) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_slice_is_encoded_like_the_whole(name: str) -> None:
    array, _ = CASES[name]
    assert encoded(array.slice(1)) == encoded(array)[1:]
    assert encoded(array.slice(len(array))) == []


def test_what_stands_under_a_null_does_not_count() -> None:
    values = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\0"), pa.py_buffer(np.array([1, 2]).tobytes())])
    assert groups(values) == [0, 0]
    lists = pa.ListArray.from_arrays([0, 1, 2], pa.array([1, 2]), mask=pa.array([True, True]))
    assert groups(lists) == [0, 0]
    maps = pa.MapArray.from_arrays([0, 1, 2], ["a", "b"], [1, 2], mask=pa.array([True, False]))
    assert encoded(maps)[1] == encoded(pa.array([[("b", 2)]], maps.type))[0]


def test_columns_do_not_run_into_each_other() -> None:
    index = KeyIndex(pa.schema([("a", pa.string()), ("b", pa.string())]))
    slots, _ = index.find_or_insert(pa.table({"a": ["ab", "a", "", None], "b": ["", "b", "ab", "ab"]}))
    assert slots.tolist() == [0, 1, 2, 3]


def test_other_types_are_cast_or_refused() -> None:
    assert encoded(pa.array([1, 2], pa.int8()), pa.int64()) == encoded(pa.array([1, 2]))
    with pytest.raises(pa.ArrowInvalid):
        encoded(pa.array([300]), pa.int8())
    with pytest.raises(TypeError, match="cannot be compared"):
        RowEncoder([pa.dense_union([pa.field("a", pa.int64())])])


ROW = st.tuples(
    st.none() | st.sampled_from([0.0, -0.0, 1.0, math.nan]),
    st.none() | st.sampled_from(["", "a", "ab", "\0"]),
    st.none() | st.lists(st.none() | st.sampled_from([0, 1]), max_size=2),
    st.none() | st.fixed_dictionaries({"x": st.none() | st.booleans(), "y": st.none() | st.sampled_from(["", "p"])}),
)
TYPES = {
    "a": pa.float64(),
    "b": pa.string(),
    "c": pa.list_(pa.int16()),
    "d": pa.struct([("x", pa.bool_()), ("y", pa.string())]),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30))
def test_groups_are_those_of_duckdb(rows: list[tuple[object, ...]]) -> None:
    columns = zip(*rows, strict=True)
    table = pa.table({name: pa.array(list(c), kind) for (name, kind), c in zip(TYPES.items(), columns, strict=True)})
    slots, created = KeyIndex(table.schema, hash_bits=4).find_or_insert(table)
    numbered = table.append_column("slot", pa.array(slots)).append_column("row", pa.array(range(len(rows))))
    with duckdb.connect() as db:
        db.register("numbered", numbered)
        found = db.execute(
            "SELECT min(row), min(slot), max(slot) FROM numbered GROUP BY a, b, c, d ORDER BY 1"
        ).fetchall()
    assert [first for first, _, _ in found] == np.flatnonzero(created).tolist()
    assert [(low, high) for _, low, high in found] == [(i, i) for i in range(len(found))]
