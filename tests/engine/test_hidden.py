"""Rows of which a column is not known stay out of sight until changes have made them whole, against a Python dict."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.change import WEIGHT, ChangeBatch, Op, log_schema
from headwater.engine.normalise import Normaliser
from headwater.schema import StreamSchema

COLUMNS = pa.schema([pa.field("k", pa.int64(), False), ("a", pa.string()), ("b", pa.list_(pa.int32()))])
ORDERS = StreamSchema("orders", COLUMNS, ("k",), "upsert")
NAMES = COLUMNS.names
BAD = "not known"


class Source:
    """A table whose changes are written down as a source sends them; BAD stands for what cannot be held."""

    def __init__(self):
        self.table, self.rows, self.ordinal = {}, [], 0

    def put(self, key, values, unsent=(), moved_from=None):
        before = self.table.get(key if moved_from is None else moved_from)
        unsent = set(unsent) if before else set()
        if moved_from is not None:
            self.rows.append(self.change(Op.DELETE, -1, {"k": moved_from}))
            del self.table[moved_from]
        row = {"k": key, **dict(zip(NAMES[1:], values, strict=True))}
        bits = sum(1 << i for i in unsent) + sum(8 << i for i in (1, 2) if row[NAMES[i]] is BAD and i not in unsent)
        sent = {n: None if v is BAD or i in unsent else v for i, (n, v) in enumerate(row.items())}
        self.rows.append(
            {**self.change(Op.UPDATE, 1, sent), "_unchanged": bits.to_bytes(1, "little") if bits else None}
        )
        self.table[key] = tuple(before[i] if i in unsent else row[n] for i, n in enumerate(NAMES))
        self.table[key] = (key, *self.table[key][1:])
        self.ordinal += 1

    def drop(self, key):
        self.rows.append(self.change(Op.DELETE, -1, {"k": key}))
        self.table.pop(key, None)
        self.ordinal += 1

    def truncate(self):
        self.rows.append(self.change(Op.TRUNCATE, -1, {}))
        self.table.clear()
        self.ordinal += 1

    def change(self, op, weight, values):
        return {"_op": op, "_weight": weight, "_commit": 5, "_ordinal": self.ordinal, **values}

    def take(self, cut):
        rows, self.rows = self.rows, []
        parts = [rows[i : i + cut] for i in range(0, len(rows), cut)]
        return [ChangeBatch(ORDERS, pa.RecordBatch.from_pylist(part, log_schema(ORDERS))) for part in parts]

    def shown(self):
        return Counter((k, a, b if b is None else tuple(b)) for k, a, b in self.table.values() if BAD not in (a, b))


def counted(delta):
    found = Counter()
    for row in delta.to_pylist():
        found[(row["k"], row["a"], None if row["b"] is None else tuple(row["b"]))] += row[WEIGHT]
    return found


KEYS = st.integers(0, 3)
VALUES = st.tuples(
    st.sampled_from([None, "", "x", BAD]), st.one_of(st.none(), st.just(BAD), st.lists(st.integers(0, 2), max_size=2))
)
UNSENT = st.sets(st.sampled_from([1, 2]))
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES, UNSENT),
    st.tuples(st.just("put"), KEYS, VALUES, UNSENT),
    st.tuples(st.just("move"), KEYS, KEYS, VALUES, UNSENT),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.sampled_from(["epoch", "epoch", "truncate", "restore"])),
)


def play(source, operation):
    match operation:
        case ("put", key, values, unsent):
            source.put(key, values, unsent)
        case ("move", old, new, values, unsent) if old in source.table and new not in source.table:
            source.put(new, values, unsent, moved_from=old)
        case ("drop", key):
            source.drop(key)
        case ("truncate",):
            source.truncate()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, max_size=50), cut=st.sampled_from([1, 3, 100]))
def test_only_whole_rows_are_shown_and_none_is_lost(tmp_path_factory, operations, cut):
    source, normaliser, before, previous = Source(), Normaliser(ORDERS), Counter(), None
    for operation in [*operations, ("epoch",)]:
        play(source, operation)
        if operation[0] not in ("epoch", "restore"):
            continue
        delta, after = normaliser.apply(source.take(cut)), source.shown()
        assert counted(delta) == {row: after[row] - before[row] for row in after | before if after[row] != before[row]}
        assert counted(normaliser.rows()) == after
        assert normaliser.hidden == len(source.table) - after.total()
        healed = {int(json.loads(key)[0]) for key in normaliser.take_healed()}
        assert not healed & {row[0] for row in source.table.values() if BAD in row}
        before = after
        if operation == ("restore",):
            folder = tmp_path_factory.mktemp("checkpoint")
            normaliser.checkpoint(folder, previous)
            normaliser, previous = Normaliser.restore(folder), folder


def test_a_row_made_whole_by_a_partial_change_is_told():
    source, normaliser = Source(), Normaliser(ORDERS)
    source.put(1, ("big", BAD))
    source.put(2, ("big", BAD))
    assert normaliser.apply(source.take(9)).num_rows == 0
    source.put(1, (None, [7]), unsent={1})
    source.put(2, (None, [7]))
    delta = normaliser.apply(source.take(9))
    assert counted(delta) == {(1, "big", (7,)): 1, (2, None, (7,)): 1}
    assert normaliser.take_healed() == ['["1"]'] and normaliser.take_healed() == []


def test_a_replayed_record_gives_only_what_is_not_known_of_a_row_that_has_changed_since():
    source, normaliser = Source(), Normaliser(ORDERS)
    source.put(1, ("old", BAD))
    source.put(1, ("new", None), unsent={2})
    assert normaliser.apply(source.take(9)).num_rows == 0
    source.put(1, ("old", [7]))
    (replay,) = source.take(9)
    assert counted(normaliser.apply([normaliser.merged(replay)])) == {(1, "new", (7,)): 1}
    assert normaliser.hidden == 0


@pytest.mark.parametrize("wider", [False, True])
def test_hidden_rows_follow_their_streams_columns(wider):
    source, normaliser = Source(), Normaliser(ORDERS)
    source.put(1, ("big", BAD))
    normaliser.apply(source.take(9))
    columns = COLUMNS.append(pa.field("c", pa.int32())) if wider else COLUMNS
    later = StreamSchema("orders", columns, ("k",), "upsert")
    row = {"_op": Op.UPDATE, "_weight": 1, "_commit": 9, "_ordinal": 9, "k": 1, "b": [3], "_unchanged": b"\x02"}
    delta = normaliser.apply([ChangeBatch(later, pa.RecordBatch.from_pylist([row], log_schema(later)))])
    assert counted(delta) == {(1, "big", (3,)): 1}
