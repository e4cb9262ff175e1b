"""Streams whose columns change between one batch and the next."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.change import WEIGHT, ChangeBatch, Op, log_schema
from headwater.engine.normalise import Normaliser
from headwater.errors import InvariantBroken
from headwater.schema import StreamSchema, with_column_id, with_default


def column(identity, name, kind=None, default=None):
    field = with_column_id(pa.field(name, kind or pa.int64()), identity)
    return field if default is None else with_default(field, pa.array([default], field.type))


K, A, B = column("1", "k"), column("2", "a", pa.string()), column("3", "b")


def stream(*fields, key=("k",), changelog="upsert"):
    return StreamSchema("t", pa.schema(list(fields)), key, changelog)


class Log:
    """Batches of single changes, each with the schema that was then."""

    def __init__(self, changelog="upsert"):
        self.commit = 0
        self.changelog = changelog

    def batch(self, schema, op, row=None):
        self.commit += 1
        change = {"_op": int(op), "_weight": -1 if op in (Op.DELETE, Op.TRUNCATE) else 1, "_commit": self.commit}
        rows = pa.RecordBatch.from_pylist([{**change, "_ordinal": 0, **(row or {})}], log_schema(schema))
        return ChangeBatch(schema, rows)

    def put(self, schema, **row):
        return self.batch(schema, Op.UPDATE, row)


def held(normaliser):
    rows = normaliser.rows().drop_columns([WEIGHT]).to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=repr)


def moved(delta):
    return sorted((tuple(row.values()) for row in delta.to_pylist()), key=repr)


OLD = stream(K, A, B)


def test_a_renamed_column_keeps_its_values():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10), log.put(OLD, k=2, a="y", b=20)])
    now = stream(K, column("2", "c", pa.string()), B)
    delta = normaliser.apply([log.put(OLD, k=3, a="z", b=30), log.put(now, k=2, c="new", b=20)])
    assert normaliser.stream.columns.names == ["k", "c", "b"]
    assert held(normaliser) == [(1, "x", 10), (2, "new", 20), (3, "z", 30)]
    assert moved(delta) == [(2, "new", 20, 1), (2, "y", 20, -1), (3, "z", 30, 1)]
    assert not normaliser.refilled


def test_names_that_change_places():
    log, normaliser = Log(), Normaliser(stream(K, B, column("4", "c")))
    normaliser.apply([log.put(normaliser.stream, k=1, b=10, c=100)])
    now = stream(K, column("3", "c"), column("4", "b"))
    normaliser.apply([log.put(now, k=2, c=20, b=200)])
    assert normaliser.stream.columns.names == ["k", "c", "b"]
    assert held(normaliser) == [(1, 10, 100), (2, 20, 200)]


def test_a_dropped_column_stays_until_another_takes_its_name():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10)])
    normaliser.apply([log.put(stream(K, A), k=2, a="y")])
    assert held(normaliser) == [(1, "x", 10), (2, "y", None)]
    assert not normaliser.refilled
    again = stream(K, A, column("4", "b"))
    normaliser.apply([log.put(again, k=3, a="z", b=30)])
    assert held(normaliser) == [(1, "x", None), (2, "y", None), (3, "z", 30)]
    assert normaliser.refilled


def test_rows_that_were_there_get_the_default_of_a_column_that_came():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10)])
    now = stream(K, A, B, column("4", "c", pa.string(), "none"))
    normaliser.apply([log.put(OLD, k=2, a="y", b=20), log.put(now, k=3, a="z", b=30)])
    assert held(normaliser) == [(1, "x", 10, "none"), (2, "y", 20, "none"), (3, "z", 30, None)]
    assert normaliser.refilled
    normaliser.apply([log.put(now, k=1, a="x", b=11, c="c")])
    assert held(normaliser)[0] == (1, "x", 11, "c")
    assert not normaliser.refilled


def test_a_promised_column_is_null_until_a_change_brings_it():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10)])
    now = stream(K, A, B, column("4", "c", pa.string(), "none"))
    normaliser.promise(now.columns)
    assert held(normaliser) == [(1, "x", 10, None)]
    normaliser.apply([log.put(OLD, k=2, a="y", b=20)])
    normaliser.apply([log.put(now, k=3, a="z", b=30, c="c")])
    assert held(normaliser) == [(1, "x", 10, "none"), (2, "y", 20, "none"), (3, "z", 30, "c")]


@pytest.mark.parametrize(
    ("before", "after", "value", "expected", "refilled"),
    [
        (pa.int32(), pa.int64(), 7, 7, False),
        (pa.int64(), pa.int32(), 7, 7, False),
        (pa.float32(), pa.float64(), 0.5, 0.5, False),
        (pa.int32(), pa.string(), 7, "7", True),
        (pa.string(), pa.int32(), "7", 7, True),
        (pa.string(), pa.int32(), "seven", None, True),
    ],
)
def test_types(before, after, value, expected, refilled):
    log, normaliser = Log(), Normaliser(stream(K, column("2", "v", before)))
    normaliser.apply([log.put(normaliser.stream, k=1, v=value)])
    normaliser.apply([log.put(stream(K, column("2", "v", after)), k=2, v=None)])
    assert held(normaliser) == [(1, expected), (2, None)]
    assert normaliser.refilled is refilled


def test_another_key_of_columns_that_are_there():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10), log.put(OLD, k=2, a="y", b=20)])
    now = replace(OLD, key=("b",))
    normaliser.apply([log.put(now, k=3, a="z", b=10)])
    assert held(normaliser) == [(2, "y", 20), (3, "z", 10)]
    assert normaliser.refilled


def test_another_key_of_a_column_that_came_after_a_truncate():
    log, normaliser = Log(), Normaliser(OLD)
    normaliser.apply([log.put(OLD, k=1, a="x", b=10), log.put(OLD, k=2, a="y", b=20)])
    now = stream(column("9", "n"), A, key=("n",))
    delta = normaliser.apply([log.batch(now, Op.TRUNCATE), log.batch(now, Op.READ, {"n": 1, "a": "x"})])
    rows = [(row["n"], row["a"]) for row in normaliser.rows().to_pylist()]
    assert rows == [(1, "x")]
    assert delta.column_names == [*normaliser.stream.columns.names, WEIGHT]


@pytest.mark.parametrize("changelog", ["append", "full"])
def test_streams_without_a_key(changelog):
    log, normaliser = Log(), Normaliser(stream(K, A, key=(), changelog=changelog))
    first = normaliser.stream
    normaliser.apply([log.batch(first, Op.INSERT, {"k": 1, "a": "x"})])
    now = stream(K, column("2", "c", pa.string()), B, key=(), changelog=changelog)
    delta = normaliser.apply(
        [log.batch(first, Op.INSERT, {"k": 2, "a": "y"}), log.batch(now, Op.INSERT, {"k": 3, "c": "z", "b": 1})]
    )
    assert moved(delta) == [(2, "y", None, 1), (3, "z", 1, 1)]
    assert held(normaliser) == [(1, "x", None), (2, "y", None), (3, "z", 1)]


def test_a_table_gets_a_key(tmp_path: Path):
    first = stream(K, A, key=(), changelog="append")
    log, normaliser = Log(), Normaliser(first)
    normaliser.apply([log.batch(first, Op.INSERT, {"k": 1, "a": "x"})])
    normaliser.apply([log.put(stream(K, A), k=1, a="y")])
    assert held(normaliser) == [(1, "y")]
    normaliser.checkpoint(tmp_path / "0")
    restored = Normaliser.restore(tmp_path / "0")
    assert restored.stream.columns.equals(normaliser.stream.columns, check_metadata=True)
    restored.apply([log.put(stream(K, A), k=1, a="z")])
    assert held(restored) == [(1, "z")]


def test_whole_old_rows_are_found_without_a_column_that_went():
    first, now = stream(K, A, B, key=(), changelog="full"), stream(K, B, key=(), changelog="full")
    log, normaliser = Log(), Normaliser(first)
    normaliser.apply([log.batch(first, Op.INSERT, {"k": n, "a": "x", "b": 10}) for n in (1, 2, 3)])
    normaliser.apply([log.batch(now, Op.DELETE, {"k": 1, "b": 10})])
    assert normaliser.refilled
    normaliser.apply([log.batch(now, Op.DELETE, {"k": 2, "b": 10})])
    assert held(normaliser) == [(3, None, 10)]
    assert not normaliser.refilled


def test_old_rows_that_are_not_known_any_more_are_waited_for():
    first = stream(K, A, key=(), changelog="full")
    now = stream(K, column("2", "a"), key=(), changelog="full")
    log, normaliser = Log(), Normaliser(first)
    normaliser.apply([log.batch(first, Op.INSERT, {"k": 1, "a": "one"})])
    normaliser.apply([log.batch(now, Op.DELETE, {"k": 1, "a": 1}), log.batch(now, Op.INSERT, {"k": 2, "a": 2})])
    normaliser.apply([log.batch(now, Op.TRUNCATE), log.batch(now, Op.READ, {"k": 2, "a": 2})])
    assert held(normaliser) == [(2, 2)]
    with pytest.raises(InvariantBroken):
        normaliser.apply([log.batch(now, Op.DELETE, {"k": 1, "a": 1})])
