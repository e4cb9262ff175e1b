"""An epoch that is written in parts: nobody sees one before the commit, and then the table is as if it had come at
once."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_model import (
    COLUMNS,
    KEYED,
    MULTISET,
    SOME,
    Row,
    agree,
    changed,
    delta,
    keyed_delta,
    multiset_delta,
    open_any,
    rows_of,
    shuffled,
    snapshot_epochs,
    weighted_rows,
)

from headwater.errors import InvariantBroken
from headwater.lake.table_format import Lake, TableSpec

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", None)
WRITES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["x", "y", "z", None])), max_size=6)


@dataclass(frozen=True)
class Epoch:
    """Its parts, of which the last comes with the commit; which of them replaces all before it, if any; how often it
    is begun in vain before."""

    parts: list[list[tuple[int, str | None]]]
    seed: int
    replaced: int | None
    failures: list[str]


EPOCHS = st.lists(
    st.builds(
        Epoch,
        parts=st.lists(WRITES, min_size=1, max_size=4),
        seed=st.integers(0, 1000),
        replaced=st.none() | st.none() | st.integers(0, 3),
        failures=st.lists(st.sampled_from(["crash", "forget"]), max_size=1),
    ),
    min_size=1,
    max_size=5,
)


class Run:
    """Plays epochs on a table and on a model of it."""

    def __init__(self, lake: Lake, spec: TableSpec, make) -> None:
        self.lake, self.spec, self.make = lake, spec, make
        self.table = lake.table(spec)
        self.history: list[Counter[Row]] = [Counter()]

    def play(self, number: int, epoch: Epoch) -> None:
        for failure in epoch.failures:
            self._parts(number, epoch, len(epoch.parts) - 1)
            if failure == "crash":
                self.table = self.lake.table(self.spec)
            else:
                self.table.forget_staged()
            assert rows_of(self.table.read()) == self.history[-1]
        state = self._parts(number, epoch, len(epoch.parts))
        self.history.append(state)
        assert rows_of(self.table.read()) == state

    def _parts(self, number: int, epoch: Epoch, count: int) -> Counter[Row]:
        state = self.history[-1]
        for at, writes in enumerate(epoch.parts[:count]):
            replaced = at == epoch.replaced
            state = Counter() if replaced else state
            change = self.make(state, writes)
            state = changed(state, change)
            part = delta(shuffled(change, epoch.seed))
            if at < len(epoch.parts) - 1:
                self.table.stage(number, part, replace=replaced)
                assert rows_of(self.table.read()) == self.history[-1]
            else:
                self.table.commit(number, part, {}, replace=replaced)
        return state


def play(format: str, spec: TableSpec, epochs: list[Epoch], make) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = open_any(format, Path(folder))
        run = Run(lake, spec, make)
        for number, epoch in enumerate(epochs, start=1):
            run.play(number, epoch)
        agree(lake, run.table, run.history[-1])
        assert snapshot_epochs(lake, spec.name) == list(range(1, len(epochs) + 1)), "one table snapshot per epoch"
        changes = list(run.table.changes(0))
        for number, change in enumerate(changes, start=1):
            total = Counter(run.history[number])
            total.subtract(run.history[number - 1])
            assert weighted_rows(change.rows) == Counter({row: n for row, n in total.items() if n})
        assert weighted_rows(pa.concat_tables(c.rows for c in changes)) == run.history[-1]
        lake.close()


@SOME
@given(EPOCHS)
def test_keyed_table_equals_its_model(format: str, epochs: list[Epoch]) -> None:
    play(format, KEYED, epochs, keyed_delta)


@SOME
@given(EPOCHS)
def test_multiset_equals_its_model(format: str, epochs: list[Epoch]) -> None:
    play(format, MULTISET, epochs, multiset_delta)


def test_rows_added_and_taken_back_in_one_epoch_are_in_no_change(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.stage(1, delta([(A, 1), (B, 1)]))
    table.stage(1, delta([(A, -1), (C, 1)]))
    table.commit(1, delta([(C, -1)]), {})
    agree(lake, table, Counter([B]))
    (change,) = table.changes(0)
    assert change.rows.to_pylist() == [{"id": 2, "name": "b", "amount": 2.0, "_weight": 1}]


def test_a_part_that_is_refused_leaves_nothing_of_the_epoch(lake: Lake, tmp_path: Path) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    files = sorted(tmp_path.rglob("*.parquet"))
    table.stage(2, delta([(A, -1), (B, 1)]))
    with pytest.raises(InvariantBroken, match="not there is retracted"):
        table.stage(2, delta([(A, -1)]))
    assert sorted(tmp_path.rglob("*.parquet")) == files, "what was committed before stays, and nothing else"
    table.commit(2, delta([(A, -1), (C, 1)]), {})
    agree(lake, table, Counter([C]))


def test_an_epoch_of_which_the_table_holds_the_end_takes_no_part(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(2, delta([(A, 1)]), {})
    with pytest.raises(InvariantBroken, match="comes too late"):
        table.stage(2, delta([(B, 1)]))


def test_columns_that_come_between_two_parts(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.stage(1, delta([(A, 1), (B, 1)]))
    wider = pa.schema([*COLUMNS, ("more", pa.int64())])
    table.evolve(wider)
    table.stage(1, delta([((2, "b", 2.0, None), -1), ((3, "c", None, 7), 1)], wider))
    table.commit(1, delta([], wider), {})
    assert rows_of(table.read(), wider) == Counter([(1, "a", 1.0, None), (3, "c", None, 7)])
    assert rows_of(lake.table(TableSpec("orders", wider, ("id",))).read(), wider) == rows_of(table.read(), wider)
