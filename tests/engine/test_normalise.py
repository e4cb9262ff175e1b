"""The normaliser against a Python dict that is fed one change at a time."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.change import WEIGHT, ChangeBatch, Op, delta_schema, log_schema
from headwater.engine.normalise import Normaliser
from headwater.errors import CorruptCheckpoint, InvariantBroken
from headwater.schema import StreamSchema

COLUMNS = pa.schema([pa.field("k", pa.int64(), False), ("a", pa.string()), ("b", pa.list_(pa.int32()))])
UPSERT = StreamSchema("orders", COLUMNS, ("k",), "upsert")
FULL = StreamSchema("orders", COLUMNS, ("k",), "full")
APPEND = StreamSchema("orders", COLUMNS, (), "append")
Row = tuple[int, str | None, tuple[int, ...] | None]


@dataclass
class Log:
    """Writes log rows the way a source does, and keeps what the source's table holds."""

    table: dict[int, Row] = field(default_factory=dict)
    ignored: int = 0
    rows: list[dict[str, object]] = field(default_factory=list)
    ordinal: int = 0

    def write(self, op: Op, weight: int, values: dict[str, object], unchanged: bytes | None = None) -> None:
        names = ("k", "a", "b")
        self.rows.append(
            {
                "_op": op,
                "_weight": weight,
                "_commit": 2**63 + self.ordinal // 3,
                "_ordinal": self.ordinal,
                "_unchanged": unchanged,
                **{name: values.get(name) for name in names},
            }
        )

    def upsert(self, op: Op, row: Row, unsent: set[int] = frozenset(), moved_from: int | None = None) -> None:
        """An insert, update or change of key; columns 1 and 2 named in `unsent` keep the value of the row before."""
        before = self.table.get(row[0] if moved_from is None else moved_from)
        unsent = unsent if before else set()
        whole = tuple(before[i] if before and i in unsent else row[i] for i in range(3))
        if moved_from is not None:
            self.delete(moved_from)
            self.ordinal -= 1
        values = {name: None if i in unsent else row[i] for i, name in enumerate(("k", "a", "b"))}
        self.write(op, 1, values, sum(1 << i for i in unsent).to_bytes(1, "little") if unsent else None)
        self.table[row[0]] = whole  # type: ignore[assignment]
        self.ordinal += 1

    def delete(self, key: int) -> None:
        self.write(Op.DELETE, -1, {"k": key})
        self.ignored += key not in self.table
        self.table.pop(key, None)
        self.ordinal += 1

    def truncate(self) -> None:
        self.write(Op.TRUNCATE, -1, {})
        self.table.clear()
        self.ordinal += 1

    def take(self, stream: StreamSchema, cut: int | None = None) -> list[ChangeBatch]:
        """The rows written since the last call as batches of `cut` rows."""
        rows, self.rows = self.rows, []
        size = cut or max(len(rows), 1)
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        return [ChangeBatch(stream, pa.RecordBatch.from_pylist(part, log_schema(stream))) for part in parts]


def counted(delta: pa.Table) -> Counter[Row]:
    found = Counter[Row]()
    for record in delta.to_pylist():
        found[(record["k"], record["a"], None if record["b"] is None else tuple(record["b"]))] += record[WEIGHT]
    return found


KEYS = st.integers(0, 4)
STRINGS = st.none() | st.sampled_from(["", "x", "long " * 20])
LISTS = st.none() | st.sampled_from([(), (1,), (1, 2)])
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), KEYS, STRINGS, LISTS, st.sets(st.sampled_from([1, 2]))),
    st.tuples(st.just("put"), KEYS, STRINGS, LISTS, st.sets(st.sampled_from([1, 2]))),
    st.tuples(st.just("move"), KEYS, KEYS, STRINGS, LISTS, st.sets(st.sampled_from([1, 2]))),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.sampled_from(["epoch", "epoch", "truncate", "restore"])),
)


def play(log: Log, operation: tuple) -> None:  # type: ignore[type-arg]
    match operation:
        case ("put", key, text, numbers, unsent):
            log.upsert(Op.UPDATE if key in log.table else Op.INSERT, (key, text, numbers), unsent)
        case ("move", old, new, text, numbers, unsent) if old in log.table and new not in log.table:
            log.upsert(Op.UPDATE, (new, text, numbers), unsent, moved_from=old)
        case ("delete", key):
            log.delete(key)
        case ("truncate",):
            log.truncate()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=60), st.sampled_from([1, 3, None]))
def test_an_upsert_stream_is_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[tuple],
    cut: int | None,  # type: ignore[type-arg]
) -> None:
    log, normaliser, before, previous = Log(), Normaliser(UPSERT), Counter[Row](), None
    for operation in [*operations, ("epoch",)]:
        play(log, operation)
        if operation[0] not in ("epoch", "restore"):
            continue
        delta = normaliser.apply(log.take(UPSERT, cut))
        assert delta.schema == delta_schema(COLUMNS)
        after = Counter(log.table.values())
        expected = {row: after[row] - before[row] for row in after | before if after[row] != before[row]}
        assert counted(delta) == expected
        assert len(delta) == len(expected)
        assert counted(normaliser.rows()) == after
        assert normaliser.ignored == log.ignored
        before = after
        if operation == ("restore",):
            folder = tmp_path_factory.mktemp("checkpoint")
            normaliser.checkpoint(folder, previous)
            normaliser, previous = Normaliser.restore(folder), folder
            assert (normaliser.stream, normaliser.ignored) == (UPSERT, log.ignored)


def test_unchanged_values_come_through_a_chain_of_changes_and_keys() -> None:
    log, normaliser = Log(), Normaliser(UPSERT)
    log.upsert(Op.INSERT, (1, "kept", (1,)))
    normaliser.apply(log.take(UPSERT))
    log.upsert(Op.UPDATE, (1, None, (2,)), {1})
    log.upsert(Op.UPDATE, (2, None, None), {1, 2}, moved_from=1)
    log.upsert(Op.UPDATE, (2, None, (3,)), {1})
    log.upsert(Op.UPDATE, (3, None, None), {1, 2}, moved_from=2)
    log.upsert(Op.INSERT, (1, "other", None))
    delta = normaliser.apply(log.take(UPSERT))
    assert counted(delta) == {(1, "kept", (1,)): -1, (3, "kept", (3,)): 1, (1, "other", None): 1}


def test_unchanged_from_nowhere_is_refused_with_its_place() -> None:
    for first in ([], [(Op.INSERT, 1), (Op.DELETE, -1)], [(Op.INSERT, 1), (Op.TRUNCATE, -1)]):
        log, normaliser = Log(), Normaliser(UPSERT)
        for op, weight in first:
            log.write(op, weight, {"k": 1, "a": "gone"})
            log.ordinal += 1
        log.ordinal += 7
        log.write(Op.UPDATE, 1, {"k": 1}, b"\x02")
        place = rf"'orders' at Position\(commit={2**63 + log.ordinal // 3}, ordinal={log.ordinal}\): column 'a'"
        with pytest.raises(InvariantBroken, match=place):
            normaliser.apply(log.take(UPSERT))


def test_an_unchanged_key_column_is_refused() -> None:
    log, normaliser = Log(), Normaliser(UPSERT)
    log.write(Op.UPDATE, 1, {"a": "x"}, b"\x01")
    with pytest.raises(InvariantBroken, match="column 'k'"):
        normaliser.apply(log.take(UPSERT))


def test_a_full_stream_passes_as_it_is_and_can_be_truncated() -> None:
    log, normaliser = Log(), Normaliser(FULL)
    log.write(Op.READ, 1, {"k": 1, "a": "x"})
    log.ordinal += 1
    log.write(Op.UPDATE, -1, {"k": 1, "a": "x"})
    log.write(Op.UPDATE, 1, {"k": 1, "b": [5]}, b"\x02")
    delta = normaliser.apply(log.take(FULL, 2))
    assert delta.column(WEIGHT).to_pylist() == [1, -1, 1]
    assert delta.column("a").to_pylist() == ["x", "x", "x"]
    log.write(Op.INSERT, 1, {"k": 2})
    log.write(Op.TRUNCATE, -1, {})
    log.write(Op.INSERT, 1, {"k": 3})
    delta = normaliser.apply(log.take(FULL))
    assert counted(delta) == {(1, "x", (5,)): -1, (3, None, None): 1}
    assert counted(normaliser.rows()) == {(3, None, None): 1}
    log.write(Op.DELETE, -1, {"k": 4})
    with pytest.raises(InvariantBroken, match="retracted"):
        normaliser.apply(log.take(FULL))


def test_an_append_stream_remembers_every_row(tmp_path: Path) -> None:
    log, normaliser = Log(), Normaliser(APPEND)
    for _ in range(3):
        log.write(Op.INSERT, 1, {"k": 1, "a": "x"})
    assert len(normaliser.apply(log.take(APPEND))) == 3
    assert counted(normaliser.rows()) == {(1, "x", None): 3}
    normaliser.checkpoint(tmp_path / "0")
    log.write(Op.INSERT, 1, {"k": 2})
    normaliser.apply(log.take(APPEND))
    normaliser.checkpoint(tmp_path / "1", tmp_path / "0")
    normaliser = Normaliser.restore(tmp_path / "1")
    assert counted(normaliser.rows()) == {(1, "x", None): 3, (2, None, None): 1}
    log.write(Op.TRUNCATE, -1, {})
    assert counted(normaliser.apply(log.take(APPEND))) == {(1, "x", None): -3, (2, None, None): -1}
    log.write(Op.DELETE, -1, {"k": 1})
    with pytest.raises(InvariantBroken, match="only ever appends"):
        normaliser.apply(log.take(APPEND))


def test_no_batches_are_no_change() -> None:
    for stream in (UPSERT, FULL, APPEND):
        assert Normaliser(stream).apply([]).schema == delta_schema(COLUMNS)
        assert len(Normaliser(stream).apply(Log().take(stream))) == 0


def test_added_columns_and_wider_types_come_with_the_batches(tmp_path: Path) -> None:
    log, normaliser = Log(), Normaliser(UPSERT)
    log.upsert(Op.INSERT, (1, "x", (1,)))
    log.upsert(Op.INSERT, (2, "y", (2,)))
    normaliser.apply(log.take(UPSERT))
    wider = pa.schema([("new", pa.int64()), COLUMNS.field("k"), ("a", pa.string()), ("b", pa.list_(pa.int64()))])
    newer = replace(UPSERT, columns=wider)
    log.upsert(Op.INSERT, (3, "z", None))
    older = log.take(UPSERT)
    row = {
        "_op": Op.UPDATE,
        "_weight": 1,
        "_commit": 2**63 + 9,
        "_ordinal": 99,
        "_unchanged": b"\x04",
        "k": 1,
        "new": 7,
    }
    delta = normaliser.apply([*older, ChangeBatch(newer, pa.RecordBatch.from_pylist([row], log_schema(newer)))])
    assert normaliser.stream.columns.names == ["k", "a", "b", "new"]
    assert normaliser.stream.columns.field("b").type == pa.list_(pa.int64())
    records = sorted(((r["k"], r["a"], r["b"], r["new"], r[WEIGHT]) for r in delta.to_pylist()), key=repr)
    assert records == [(1, "x", None, 7, 1), (1, "x", [1], None, -1), (3, "z", None, None, 1)]
    normaliser.checkpoint(tmp_path / "0")
    restored = Normaliser.restore(tmp_path / "0")
    assert restored.stream == normaliser.stream
    assert restored.rows().num_rows == 3
    assert restored.apply(log.take(UPSERT)).schema == delta.schema
    (tmp_path / "0" / "manifest.json").unlink()
    with pytest.raises(CorruptCheckpoint):
        Normaliser.restore(tmp_path / "0")
