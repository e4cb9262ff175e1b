"""Joins by pairs: each change meets the rows that the other side has for its key.

A change of A meets B as it was, a change of B meets A as it is, so every pair of changed rows is met once. In outer,
semi and anti joins each row of a preserved input knows the weight of its matches: that it has its first or has lost its
last is what makes it appear or disappear by itself. Output columns are gathered only for pairs that satisfy the whole
condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import delta_schema
from headwater.engine.delta import concat, mask, rows_at, settled, weights
from headwater.engine.lazy import Delta, Lazy, lazily, lined_up, table
from headwater.engine.operators.join_ceiling import Ceilings
from headwater.engine.operators.join_condition import PairCondition
from headwater.engine.operators.join_side import JoinSide
from headwater.engine.share import Share
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Mask
from headwater.sql.join_plan import Join

_FEW_PAIRS = 1024
"""So few pairs are copied at once."""

_PRESERVED = {"INNER": (), "LEFT": (0,), "RIGHT": (1,), "FULL": (0, 1), "SEMI": (0,), "ANTI": (0,), "MARK": (0,)}
"""By the kind of a join, the inputs whose rows show by whether they have a match."""


class JoinOperator:
    """Runs a `Join` node."""

    def __init__(self, node: Join, worker: Worker) -> None:
        self._node, self._worker = node, worker
        self._preserved = _PRESERVED[node.word]
        self._shows_pairs = node.word in ("INNER", "LEFT", "RIGHT", "FULL")
        self._sides = self._empty_sides()
        self._ceilings = Ceilings(node.ceiling, worker.memory) if node.ceiling is not None else None
        self._condition = PairCondition(node, worker) if node.residual else None
        self._columns = [[name for side, name in node.shown if side == number] for number in (0, 1)]
        self._schema = delta_schema(node.schema)

    def _empty_sides(self) -> list[JoinSide]:
        return [JoinSide(self._node, i, self._worker, counted=self._counted(i)) for i in (0, 1)]

    def _counted(self, number: int) -> bool:
        """Whether the matches of the rows of an input are counted."""
        return number in self._preserved

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[Delta | None]) -> Delta | None:
        found: list[Delta | None] = []
        for own, delta in enumerate(deltas if self._ceilings is None else self._limited(self._ceilings, deltas)):
            if delta is not None and delta.num_rows:
                found += self._arrive(own, self._sides[own].conformed(delta))
        return concat(found)

    def _limited(self, ceilings: Ceilings, deltas: Sequence[Delta | None]) -> list[Delta | None]:
        """The deltas without the rows that match nothing, now or later."""
        given = list(deltas)
        rows, groups = given[ceilings.side], given[1 - ceilings.side]
        if groups is not None and groups.num_rows:
            ceilings.note(groups)
        if rows is not None and rows.num_rows:
            given[ceilings.side] = ceilings.passed(rows)
        return given

    def _arrive(self, own: int, delta: Delta) -> list[Delta | None]:
        """The result's changes from changes of one input, which are then added to its rows."""
        found: list[Delta | None] = []
        void = self._sides[own].void(delta)
        if void is not None:
            unmatched = mask(delta, void)
            found.append(self._alone(own, unmatched, np.zeros(unmatched.num_rows, np.bool_)))
            delta = mask(delta, ~void)
        if own in self._preserved or not self._node.left_keys:
            # Without keys all rows of the other side are met: what takes itself back is not worth that.
            delta = table(delta)
            delta = settled(delta) or delta.slice(0, 0)
        if delta.num_rows:
            matches, pairs = self._meet(own, delta)
            found += [*pairs, *self._turned(1 - own), self._alone(own, delta, matches > 0)]
            self._sides[own].apply(delta, matches)
        return found

    def _meet(self, own: int, delta: Delta) -> tuple[Longs, list[Delta | None]]:
        """The weight of the matches of each row of a delta, and the pairs as rows of the result."""
        side, other = self._sides[own], self._sides[1 - own]
        mine, matches = weights(delta), np.zeros(delta.num_rows, np.int64)
        found: list[Delta | None] = []
        for rows, slots in other.pairs(side.keys_of(delta)):
            if self._condition is not None:
                rows, slots = self._satisfying(self._condition, own, delta, rows, slots)
            theirs = other.rows.weights_of(slots)
            if side.counts is not None:
                np.add.at(matches, rows, theirs)
            if other.counts is not None:
                other.counts.add(slots, mine[rows])
            if self._shows_pairs and len(rows):
                found.append(self._pairs(own, delta, rows, slots, mine[rows] * theirs))
        return matches, found

    def _pairs(self, own: int, delta: Delta, rows: Longs, slots: Longs, values: Longs) -> Delta:
        """Rows of the result from rows of a delta and of the other input. Many are not copied before it is known which
        of them are wanted."""
        shown, columns = delta.select(self._columns[own]), self._columns[1 - own]
        if len(rows) <= _FEW_PAIRS:
            given = table(rows_at(shown, rows)), self._sides[1 - own].rows.take(slots, columns)
            return self._result(*(given if own == 0 else given[::-1]), values)
        sides = _rows_of(shown, rows), self._sides[1 - own].rows.pick(slots, columns)
        left, right = sides if own == 0 else sides[::-1]
        named = list(zip(self._node.shown, self._node.schema.names, strict=True))
        beside = [(left, [(new, old) for (side, old), new in named if side == 0])]
        beside += [(right, [(new, old) for (side, old), new in named if side == 1])]
        return lined_up(self._schema, [rows.renamed(names) for rows, names in beside], pa.chunked_array([values]))

    def _satisfying(
        self, condition: PairCondition, own: int, delta: Delta, rows: Longs, slots: Longs
    ) -> tuple[Longs, Longs]:
        """The pairs for which the residual condition is true."""
        other = self._sides[1 - own].rows

        def gather(columns: Sequence[tuple[int, str]]) -> list[pa.ChunkedArray]:
            ours = rows_at(delta.select([name for side, name in columns if side == own]), rows)
            theirs = other.take(slots, [name for side, name in columns if side != own])
            return [(ours if side == own else theirs).column(name) for side, name in columns]

        at = condition.true(gather, lambda: weights(delta)[rows] * other.weights_of(slots), len(rows))
        return (rows, slots) if len(at) == len(rows) else (rows[at], slots[at])

    def _alone(self, own: int, delta: Delta, has: Mask) -> pa.Table | None:
        """What changed rows show by themselves, having matches or not."""
        if own not in self._preserved:
            return None
        shown = np.ones(len(has), np.bool_) if self._node.word == "MARK" else has == (self._node.word == "SEMI")
        rows = table(delta) if shown.all() else table(mask(delta, shown))
        return self._single(own, rows, weights(rows), has[shown])

    def _turned(self, number: int) -> list[pa.Table | None]:
        """What shows of the rows that have begun or ceased to have a match."""
        side = self._sides[number]
        if side.counts is None:
            return []
        slots, has = side.counts.turned()
        return self._became(number, side.rows.take(slots, self._columns[number]), side.rows.weights_of(slots), has)

    def _became(self, number: int, rows: pa.Table, there: Longs, has: Mask) -> list[pa.Table | None]:
        """What rows of an input show, of these weights, that have a match now or have none any more."""
        if self._node.word == "MARK":
            return [self._single(number, rows, -there, ~has), self._single(number, rows, there, has)]
        return [self._single(number, rows, np.where(has == (self._node.word == "SEMI"), there, -there), has)]

    def _single(self, number: int, rows: pa.Table, values: Longs, has: Mask) -> pa.Table | None:
        """Rows of one input as rows of the result."""
        if not len(values):
            # Of rows of which no column is shown, Arrow does not know how many there are.
            return None
        more = [pa.array(has)] if self._node.word == "MARK" else []
        return self._result(None if number else rows, rows if number else None, values, more)

    def _result(
        self, left: pa.Table | None, right: pa.Table | None, values: Longs, more: Sequence[pa.Array] = ()
    ) -> pa.Table:
        """Rows of the result from rows of the inputs beside each other, or of one with NULLs beside it."""
        arrays: list[pa.Array | pa.ChunkedArray] = []
        for (side, name), field in zip(self._node.shown, self._node.schema, strict=False):
            rows = right if side else left
            arrays.append(rows.column(name) if rows is not None else pa.nulls(len(values), field.type))
        return pa.Table.from_arrays([*arrays, *more, pa.array(values)], schema=self._schema)

    def advance(self, closed_us: int) -> pa.Table | None:
        for side in self._sides:
            side.forget(closed_us)
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        for name, side in zip(("left", "right"), self._sides, strict=True):
            side.rows.checkpoint(folder / name, previous / name if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        self._sides = self._empty_sides()
        for name, side in zip(("left", "right"), self._sides, strict=True):
            side.restore([part / name for part in parts], share)
        for number in filter(self._counted, (0, 1)):
            self._count_again(number)
        if self._ceilings is not None:
            for _, rows in self._sides[1 - self._ceilings.side].scan(self._ceilings.columns):
                self._ceilings.note(rows)

    def _count_again(self, own: int) -> None:
        """Counts the matches of every row: they are not in the checkpoint, for they follow from the rows."""
        side, other = self._sides[own], self._sides[1 - own]
        for slots, rows in side.scan(sorted({*self._node.keys_of(own), *self._named(own)})):
            matches = np.zeros(len(slots), np.int64)
            for at, met in other.pairs(side.keys_of(rows)):
                if self._condition is not None:
                    at, met = self._satisfying(self._condition, own, rows, at, met)
                np.add.at(matches, at, other.rows.weights_of(met))
            side.put(slots, matches)

    def _named(self, own: int) -> list[str]:
        """The columns of an input that the residual condition names."""
        return [name for side, name in self._condition.needed if side == own] if self._condition is not None else []

    def keeps(self) -> str:
        left, right = (side.rows.num_rows for side in self._sides)
        return f"{left} + {right} rows"


def _rows_of(delta: Delta, rows: Longs) -> Lazy:
    """Rows of a delta; those that follow one another, as where each has one match, are not copied."""
    first, count = int(rows[0]), len(rows)
    follow = int(rows[-1]) - first + 1 == count and bool((np.diff(rows) == 1).all())
    if follow and not isinstance(delta, Lazy):
        return lazily(delta.slice(first, count))
    return lazily(delta) if follow and count == delta.num_rows else rows_at(lazily(delta), rows)
