"""The schema policies; and the law that it does not matter how messages are cut into batches."""

import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.messages.message import as_text, messages_of, unframe
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import SchemasInMemory, StreamShaper
from headwater.errors import SchemaChanged, UserError
from headwater.position import Position

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.integers(2**63, 2**66)
    | st.integers(-20, 20).map(lambda n: n / 4)
    | st.sampled_from(["", "x", "1", "é"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "_time"]), VALUES, max_size=3).map(json.dumps), max_size=8)
CUTS = st.lists(st.integers(0, 8), max_size=4)


def shaper(policy="lenient", schemas=None, **more):
    given = MessageStreamSettings.model_validate({"schema": policy, "metadata": [], **more})
    return StreamShaper("s", given, schemas)


def table(messages, cuts, policy):
    """What the stream holds after the messages came in so many batches: rows with their nulls left out, rejects, and
    the types of its columns."""
    schemas = SchemasInMemory()
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(messages)}), len(messages)]
    rows, rejects = [], []
    for start, stop in pairwise(places):
        values = pa.array([message.encode() for message in messages[start:stop]], pa.binary())
        shaped = shaper(policy, schemas).shape(messages_of(values), Position(1, start))
        rows += [pa.table(batch.rows).to_pylist() for batch in shaped.batches]
        rejects += [] if shaped.rejects is None else shaped.rejects.column("position").to_pylist()
    known = schemas.stream("s")
    columns = {} if known is None else {field.name: spelled(field.type) for field in known.columns}
    return [without_nulls(row) for part in rows for row in part], rejects, columns


def spelled(kind):
    """A type, the fields of a struct in the order of their names."""
    if pa.types.is_struct(kind):
        return sorted((child.name, spelled(child.type)) for child in kind)
    return [spelled(kind.value_type)] if pa.types.is_list(kind) else str(kind)


def without_nulls(value):
    """Nulls of columns left out at every depth, for a batch before has not the columns that a later one brings."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in sorted(value.items()) if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


@pytest.mark.parametrize("policy", ["lenient", "freeze"])
@settings(max_examples=30, deadline=None)
@given(messages=ROWS, cuts=CUTS)
def test_however_messages_are_cut_the_table_is_the_same(policy, messages, cuts):
    assert table(messages, cuts, policy) == table(messages, [], policy)


@settings(max_examples=30, deadline=None)
@given(messages=ROWS, cuts=CUTS)
def test_under_evolve_the_columns_are_the_same_and_no_message_is_rejected(messages, cuts):
    _, rejects, columns = table(messages, cuts, "evolve")
    assert (rejects, columns) == ([], table(messages, [], "evolve")[2])


@settings(max_examples=30, deadline=None)
@given(messages=ROWS)
def test_under_lenient_nothing_is_lost(messages):
    """Every value that says something is in its row, under its name or that of its variant."""
    rows, rejects, _ = table(messages, [], "lenient")
    assert not rejects
    for message, row in zip(messages, rows, strict=True):
        text = json.dumps(row, default=str)
        for name, value in json.loads(message).items():
            if isinstance(value, bool | str):
                assert value in row.values(), (name, text)
            elif isinstance(value, int | float):
                assert any(held == value for held in row.values() if not isinstance(held, bool | str)), (name, text)


def values_of(shaped, *names):
    (batch,) = shaped.batches
    return [tuple(row[name] for name in names) for row in batch.rows.to_pylist()]


def shape(by, *messages, keys=None):
    more = {"key": pa.array(keys, pa.binary())} if keys else {}
    return by.shape(messages_of(pa.array(messages, pa.binary()), **more), Position(1))


def test_lenient_takes_the_same_number_in_and_gives_another_type_a_column():
    found = shape(shaper(), b'{"a":1}', b'{"a":2.0}', b'{"a":2.5}', b'{"a":"x"}')
    assert values_of(found, "a", "a__double", "a__varchar") == [
        (1, None, None), (2, None, None), (None, 2.5, None), (None, None, "x")
    ]  # fmt: skip


def test_a_field_that_differs_in_case_alone_is_a_column_of_its_own():
    assert values_of(shape(shaper(), b'{"a":1,"A":2}', b'{"A":3}'), "a", "A__2") == [(1, 2), (None, 3)]


def test_evolve_widens_the_column():
    by = shaper("evolve")
    shape(by, b'{"a":1}')
    assert values_of(shape(by, b'{"a":2.5}'), "a") == [(2.5,)]
    assert values_of(shape(by, b'{"a":"x"}', b'{"a":1.5}'), "a") == [("x",), ("1.5",)]


def test_freeze_rejects_what_is_new_and_says_what():
    found = shape(shaper("freeze", columns={"a": "BIGINT"}), b'{"a":1}', b'{"a":1,"b":2}', b'{"a":"x"}')
    assert values_of(found, "a") == [(1,)]
    assert found.rejects.column("reason").to_pylist() == ["schema", "bad_value"]
    assert found.rejects.column("message").to_pylist() == ["there is no column 'b'", "the value of 'a' is no BIGINT"]


def test_fail_stops_the_source():
    with pytest.raises(SchemaChanged, match="there is no column 'b'"):
        shape(shaper("fail", columns={"a": "BIGINT"}), b'{"a":1}', b'{"a":1,"b":2}')


@pytest.mark.parametrize(
    ("kind", "good", "value", "bad"),
    [
        ("BIGINT", b"9007199254740993", 9007199254740993, b"1.5"),
        ("DECIMAL(6,2)", b'"12.30"', 12.3, b"1.234"),
        ("DOUBLE", b"1", 1.0, b'"x"'),
        ("VARCHAR", b"1.10", "1.10", None),
        ("BOOLEAN", b"true", True, b'"maybe"'),
        ("DATE", b'"2024-02-29"', "2024-02-29", b'"2023-02-29"'),
        ("TIMESTAMPTZ", b'"2024-01-01T01:00:00+01:00"', "2024-01-01 00:00:00+00:00", b'"soon"'),
        ("TIMESTAMP_MS", b"1700000000123", "2023-11-14 22:13:20.123000", b'"soon"'),
        ("JSON", b'{"x": [1]}', '{"x": [1]}', None),
        ("MAP(VARCHAR, BIGINT)", b'{"k":1}', [("k", 1)], b'"x"'),
        ("STRUCT(x BIGINT)[]", b'[{"x":1}]', [{"x": 1}], b"5"),
    ],
)
def test_a_declared_column_holds_every_value_in_its_type_or_its_message_is_rejected(kind, good, value, bad):
    messages = [b'{"a":%s}' % good, b'{"a":null}', *([b'{"a":%s}' % bad] if bad else [])]
    found = shape(shaper(columns={"a": kind}), *messages)
    ((held,), nothing) = values_of(found, "a")
    assert nothing == (None,)
    assert held == value or str(held) == str(value) or float(held) == value
    assert found.rejected.tolist() == ([2] if bad else [])


def test_a_tombstone_deletes_by_the_key_whichever_way_it_is_written():
    by = shaper(key=["id"], columns={"id": "BIGINT"})
    found = shape(by, b'{"id":1}', None, None, None, keys=[None, b'{"id":1}', b"7", b'{"no":1}'])
    assert values_of(found, "_op", "_weight", "id") == [(1, 1, 1), (3, -1, 1), (3, -1, 7)]
    assert found.rejects.column("reason").to_pylist() == ["no_key"]
    assert shape(shaper(), None, b'{"a":1}').filtered == 1


def test_a_reject_is_known_by_its_message_s_key():
    by = shaper(key=["id"], columns={"id": "BIGINT"})
    assert shape(by, b"{", keys=[b'{"id":7}']).rejects.column("key").to_pylist() == ['["7"]']


def test_a_reject_holds_the_message_whole():
    batch = messages_of(
        pa.array([b"\xff{"], pa.binary()),
        key=pa.array([b"k"], pa.binary()),
        headers=pa.array([[("h", b"\x00"), ("h", None)]], pa.map_(pa.string(), pa.binary())),
        timestamp=pa.array([5], pa.int64()).cast(pa.timestamp("us", "UTC")),
        partition=pa.array(["3"]),
        offset=pa.array([9]),
    )
    by = shaper()
    record = by.shape(batch, Position(4, 2)).rejects.column("record")[0].as_py()
    assert unframe(record) == (batch, Position(4, 2))
    assert as_text(record)[0]["value"] == "\\xff{"
    with pytest.raises(UserError, match="object"):
        by.decode(record)
    with pytest.raises(UserError, match="not a message"):
        by.decode(b"HWMS1")
