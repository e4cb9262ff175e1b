"""A table joined with what the log has beyond it equals the table after the epoch that takes the log in, wherever the
log is cut: the normaliser of a pipeline that saw everything is the oracle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.change import WEIGHT, ChangeBatch, Op, log_schema
from headwater.engine.normalise import Normaliser
from headwater.lake.columns import cast_rows, lake_columns
from headwater.schema import StreamSchema
from headwater.serve.relation import Relation
from headwater.serve.tail_of_log import NotToBeJoined, TailReader
from headwater.sql.prelude import shared

COLUMNS = pa.schema([("id", pa.int16()), ("v", pa.string()), ("big", pa.string())])
KEYED = StreamSchema("t", COLUMNS, ("id",), "upsert")
FULL = StreamSchema("t", COLUMNS, ("id",), "full")
MULTISET = StreamSchema("t", COLUMNS, (), "full")
APPENDS = StreamSchema("t", COLUMNS)
BIG_UNSENT, V_MISFIT = bytes([0b100]), bytes([0b10000])


@dataclass
class Source:
    """A table at a source, and what it sends of its changes: tuples of op, weight, commit, ordinal, row, marks."""

    stream: StreamSchema
    rows: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    sent: list[list[tuple[object, ...]]] = field(default_factory=list)

    def act(self, what: str, key: int, to: int) -> None:
        """One transaction; one that makes no sense now is left out."""
        made = getattr(self, f"_{what}")(key, to)
        if made:
            commit = len(self.sent) + 1
            self.sent.append([(op, w, commit, at, *row, marks) for op, w, at, row, marks in made])

    def _put(self, key: int, to: int) -> list[tuple[object, ...]]:
        new, old = (f"v{len(self.sent)}", f"b{to}"), self.rows.get(key)
        self.rows[key] = new
        if self.stream.changelog == "full" and old is not None:
            return [(Op.UPDATE, -1, 0, (key, *old), None), (Op.UPDATE, 1, 0, (key, *new), None)]
        return [(Op.INSERT if old is None else Op.UPDATE, 1, 0, (key, *new), None)]

    def _unsent(self, key: int, to: int) -> list[tuple[object, ...]]:
        if key not in self.rows or self.stream.changelog != "upsert":
            return []
        self.rows[key] = (f"u{len(self.sent)}", self.rows[key][1])
        return [(Op.UPDATE, 1, 0, (key, self.rows[key][0], None), BIG_UNSENT)]

    def _misfit(self, key: int, to: int) -> list[tuple[object, ...]]:
        if self.stream.changelog != "upsert":
            return []
        self.rows[key] = (None, f"b{to}")
        return [(Op.UPDATE, 1, 0, (key, None, f"b{to}"), V_MISFIT)]

    def _delete(self, key: int, to: int) -> list[tuple[object, ...]]:
        if key not in self.rows:
            return []
        old = self.rows.pop(key)
        return [(Op.DELETE, -1, 0, (key, *(old if self.stream.changelog == "full" else (None, None))), None)]

    def _move(self, key: int, to: int) -> list[tuple[object, ...]]:
        if key not in self.rows or to in self.rows or self.stream.changelog != "upsert":
            return []
        self.rows[to] = old = self.rows.pop(key)
        unsent = len(self.sent) % 2
        new = (to, old[0], None if unsent else old[1])
        marks = bytes([(BIG_UNSENT[0] if unsent else 0) | (V_MISFIT[0] if old[0] is None else 0)])
        return [(Op.UPDATE, -1, 0, (key, None, None), None), (Op.UPDATE, 1, 0, new, marks if marks[0] else None)]

    def _truncate(self, key: int, to: int) -> list[tuple[object, ...]]:
        if to % 3:
            return []
        self.rows.clear()
        return [(Op.TRUNCATE, -1, 0, (None, None, None), None)]

    def _lose(self, key: int, to: int) -> list[tuple[object, ...]]:
        """A row goes and nobody is told; the next snapshot shows it."""
        if self.stream.changelog == "upsert":
            self.rows.pop(key, None)
        return []

    def _snapshot(self, key: int, to: int) -> list[tuple[object, ...]]:
        if self.stream.changelog != "upsert" or to % 2:
            return []
        rows = [(number, *row) for number, row in sorted(self.rows.items()) if row[0] is not None]
        for number in [n for n, row in self.rows.items() if row[0] is None]:
            del self.rows[number]
        reads = [(Op.READ, 1, at, row, None) for at, row in enumerate(rows, 1)]
        nothing = (None, None, None)
        return [(Op.SNAPSHOT_BEGIN, -1, 0, nothing, None), *reads, (Op.SNAPSHOT_END, -1, 99, nothing, None)]


def batch_of(stream: StreamSchema, changes: list[tuple[object, ...]]) -> ChangeBatch:
    names = ["_op", "_weight", "_commit", "_ordinal", "id", "v", "big", "_unchanged"]
    rows = [dict(zip(names, [int(change[0]), *change[1:]], strict=True)) for change in changes]  # type: ignore[call-overload]
    return ChangeBatch(stream, pa.RecordBatch.from_pylist(rows, log_schema(stream)))


def table_of(normaliser: Normaliser, stream: StreamSchema) -> pa.Table:
    """What a lake table of the stream holds: as often as its weight says, lake types."""
    rows = normaliser.rows()
    often = rows.column(WEIGHT).to_pylist()
    numbers = [number for number, count in enumerate(often) for _ in range(count)]
    return cast_rows(rows.take(pa.array(numbers, pa.int64())), lake_columns(stream.columns), "t")


def counted(rows: pa.Table) -> Counter[tuple[object, ...]]:
    return Counter(tuple(row.values()) for row in rows.select(["id", "v", "big"]).to_pylist())


def joined(stream: StreamSchema, base: pa.Table, batches: list[ChangeBatch]) -> Counter[tuple[object, ...]]:
    dataset = pads.dataset(base)
    tail = TailReader(lake_columns(stream.columns), stream.key, dataset).read(batches)
    with shared("tests") as connection:
        Relation("t", base, tail).install(connection)
        return counted(connection.sql("SELECT * FROM t").to_arrow_table())


ACTS = ["put", "put", "unsent", "unsent", "misfit", "delete", "move", "truncate", "lose", "snapshot"]


@pytest.mark.parametrize("stream", [KEYED, FULL, MULTISET], ids=["upsert", "full", "keyless"])
def test_at_every_cut_table_and_log_are_the_table_to_come(stream: StreamSchema) -> None:
    @example([("put", 1, 0), ("put", 2, 0), ("lose", 1, 0), ("snapshot", 0, 0)])
    @example([("put", 1, 0), ("truncate", 0, 0), ("put", 2, 0)])
    @example([("put", 1, 0), ("move", 1, 4), ("put", 2, 0), ("unsent", 2, 0)])
    @example([("put", 2, 0), ("put", 1, 0), ("delete", 2, 0), ("move", 1, 4)])
    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=9))
    def law(acts: list[tuple[str, int, int]]) -> None:
        source = Source(stream)
        for act in acts:
            source.act(*act)
        batches = [batch_of(stream, changes) for changes in source.sent]
        states, hidden = [], []
        normaliser = Normaliser(stream)
        for number in range(len(batches) + 1):
            if number:
                normaliser.apply([batches[number - 1]])
            states.append(table_of(normaliser, stream))
            hidden.append({int(key.strip('[]"')) for key in normaliser.hidden_keys()})
        for start in range(len(batches) + 1):
            for end in range(start, len(batches) + 1):
                found = joined(stream, states[start], batches[start:end])
                expected = counted(states[end])
                healed = {row for row in expected if row[0] in hidden[start] and row not in found}
                assert found == Counter({row: n for row, n in expected.items() if row not in healed})
        assert source.stream.changelog != "full" or counted(states[-1]) == Counter(
            {(key, *row): 1 for key, row in source.rows.items()}
        )

    law()


def test_a_stream_of_appends_grows() -> None:
    batch = batch_of(APPENDS, [(Op.INSERT, 1, 1, n, n, "x", None, None) for n in range(3)])
    base = cast_rows(pa.table({"id": [7], "v": ["a"], "big": [None]}), lake_columns(COLUMNS), "t")
    assert joined(APPENDS, base, [batch, batch]) == Counter(
        {(7, "a", None): 1, (0, "x", None): 2, (1, "x", None): 2, (2, "x", None): 2}
    )


def test_what_ends_before_it_has_begun_is_not_joined() -> None:
    base = lake_columns(COLUMNS).empty_table()
    end = batch_of(KEYED, [(Op.SNAPSHOT_END, -1, 1, 0, None, None, None, None)])
    with pytest.raises(NotToBeJoined, match="read anew"):
        joined(KEYED, base, [end])


@pytest.mark.parametrize(
    ("columns", "key", "why"),
    [
        (pa.schema([*COLUMNS, ("more", pa.int64())]), ("id",), "columns"),
        (pa.schema([("id", pa.int64()), *list(COLUMNS)[1:]]), ("id",), "columns"),
        (COLUMNS, ("v",), "key"),
    ],
)
def test_other_columns_wait_for_the_epoch_that_brings_them(columns: pa.Schema, key: tuple[str], why: str) -> None:
    stream = StreamSchema("t", columns, key, "upsert")
    change = pa.RecordBatch.from_pylist(
        [{"_op": 1, "_weight": 1, "_commit": 1, "_ordinal": 0, "id": 1, "v": "x"}], log_schema(stream)
    )
    reader = TailReader(lake_columns(COLUMNS), ("id",), pads.dataset(lake_columns(COLUMNS).empty_table()))
    with pytest.raises(NotToBeJoined, match=why):
        reader.read([ChangeBatch(stream, change)])
