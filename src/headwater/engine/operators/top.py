"""The first rows of each key in an order: ROW_NUMBER() <= n, ORDER BY ... LIMIT, DISTINCT ON.

Rows stand once in a store, and their numbers there in an ordered tree per key. What goes out is the difference
between the part of the tree that is shown before and after a step; the columns of a row are only fetched then. Of an
input that only appends no more than the first rows of each key are kept: a row that is not among them when it comes
never will be, and is turned away by its order key alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.delta import concat, mask, rows_at, shaped, weighted, weights
from headwater.engine.lazy import Delta, table
from headwater.engine.operators import top_kernels as kernels
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.operators.top_lists import Changes, Fresh, Gone, Lists, changes
from headwater.engine.order_key import OrderKey
from headwater.engine.share import Share
from headwater.engine.state.ordered import OrderedRows
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Words
from headwater.index.key_index import KeyIndex
from headwater.index.row_encoding import EncodedRows
from headwater.sql.plan import Top

_FEW = 64
"""So many rows of each key are looked for among those of a batch by insertion into a list."""

_LONG = 1024
"""Of longer lists only the part behind the first change is looked at."""

_NONE = np.zeros(0, np.int64)


class TopOperator:
    """Runs a `Top` node. Keys of closed windows are kept only if late rows may come."""

    def __init__(self, node: Top, worker: Worker) -> None:
        (source,) = node.inputs
        self._node, self._memory = node, worker.memory
        self._last = np.iinfo(np.int64).max if node.limit is None else node.offset + node.limit
        self._long = self._last > _LONG
        self._few = source.appends and node.limit is not None
        self._key = OrderKey(node.order, source, worker.session, node.wanted)
        self._shown = [name for name in node.names if name != node.rank]
        self._rows = RowStore(source.schema, (), append_only=self._few, memory=worker.memory)
        self._schema = delta_schema(source.schema)
        self._ends = WindowEnds(source, node.closes, worker.session) if worker.frees and node.closes else None
        self._reset()

    def _reset(self) -> None:
        keys = pa.schema([self._rows.columns.field(name) for name in self._node.keys])
        self._index = KeyIndex(keys, memory=self._memory) if self._node.keys else None
        self._tree = OrderedRows(self._key.width, self._memory, self._tails if self._key.has_tails else None)
        self._numbers = np.zeros(0, np.int64)
        self._end_of = np.zeros(0, np.int64)
        self._begins = np.zeros(0, np.int64)
        self._marks = np.zeros(0, np.uint8)
        self._make_room()

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[Delta | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is not None:
            delta = delta if self._few and self._ends is None else table(delta)
            delta = self._wanted(shaped(delta, self._schema))
        if delta is None or not delta.num_rows:
            return None
        if self._few:
            return self._appended(delta)
        named = self._since(self._groups(delta), self._key.words(delta)) if self._long else _NONE
        gone = Gone(self._rows, self._tree, self._window, self._shown)
        slots = self._rows.apply(delta, gone.note)
        rows = self._rows.take(slots, self._needed())
        return self._changed(Fresh(self._groups(rows), slots, self._key.words(rows)), gone, named)

    def _appended(self, delta: Delta) -> pa.Table | None:
        """A step of which only rows that may be among the first are taken in, and those that no longer are are
        forgotten."""
        given = weights(delta)
        if not given.all():
            delta = mask(delta, given != 0)
        needed = table(delta.select([*self._needed(), WEIGHT]))
        groups, words = self._groups(needed), self._key.words(needed)
        kept = np.flatnonzero(self._tree.surpass(groups, words, self._last))
        kept = self._best(groups, words, kept)
        if len(kept) < delta.num_rows:
            delta, groups = rows_at(delta, kept), groups[kept]
            words = words.reshape(-1, self._key.width)[kept].reshape(-1)
        if not len(kept):
            return None
        delta = table(delta)
        named = self._since(groups, words) if self._long else _NONE
        slots = self._rows.apply(delta)
        gone = Gone(self._rows, self._tree, self._window, self._shown)
        return self._changed(Fresh(groups, slots, words, delta.select(self._shown)), gone, named)

    def _changed(self, fresh: Fresh, gone: Gone, named: Longs) -> pa.Table | None:
        """Puts new rows into their places; what changes by that and by what is gone already in groups of these, and in
        those named."""
        self._make_room()
        touched = self._distinct(np.concatenate([named, fresh.groups]), gone.groups)
        before = gone.lists(self._window(touched[len(gone.groups) :]), self._rows.capacity)
        self._tree.insert(fresh.groups, fresh.slots, fresh.words, self._rows.weights_of(fresh.slots))
        after = self._window(touched)
        past = self._past(touched) if self._few else _NONE
        self._marks = self._memory.grown(self._marks, self._rows.capacity + gone.count)
        firsts = self._firsts(touched) if self._node.rank else None
        change = self._emitted(changes(before, after, self._marks, firsts), gone, fresh)
        if len(past):
            self._tree.remove(past)
            self._rows.discard(past)
        if self._index is not None:
            self._index.remove(touched[self._tree.counts(touched) == 0])
        return change

    def _window(self, groups: Longs) -> Lists:
        """What is shown of groups, from where it may change."""
        return Lists(*self._tree.window(groups, self._firsts(groups), self._last))

    def _firsts(self, groups: Longs) -> Longs:
        """The first ranks looked at."""
        least = np.full(len(groups), self._node.offset, np.int64)
        return np.maximum(least, self._begins[groups]) if self._long else least

    def _since(self, groups: Longs, words: Words) -> Longs:
        """Notes from which rank on changes of these order keys show: what stands before stays. Returns the groups."""
        self._begins = self._memory.grown(self._begins, len(self._numbers))
        self._begins[groups] = self._last
        np.minimum.at(self._begins, groups, self._tree.lower_bound(groups, words))
        return groups

    def _past(self, groups: Longs) -> Longs:
        """The entries behind the last that counts."""
        entries, copies, _ = self._tree.window(groups, self._last, np.iinfo(np.int64).max)
        return entries[copies == self._rows.weights_of(entries)] if len(entries) else _NONE

    def _emitted(self, found: Changes, gone: Gone, fresh: Fresh) -> pa.Table | None:
        """The rows that change with their weights and, if asked for, the numbers of their places."""
        here, parts = np.flatnonzero(found.entries < self._rows.capacity), []
        if fresh.rows is not None and not self._node.rank:
            come = np.flatnonzero(found.weights > 0)
            if np.array_equal(found.entries[come], fresh.slots):
                parts.append(self._numbered(fresh.rows, found, come))
                here = here[found.weights[here] < 0]
        if len(here):
            parts.append(self._numbered(self._rows.take(found.entries[here], self._shown), found, here))
        away = np.flatnonzero(found.entries >= self._rows.capacity)
        if len(away):
            parts.append(self._numbered(gone.rows(found.entries[away] - self._rows.capacity), found, away))
        return concat(parts)

    def _numbered(self, rows: pa.Table, found: Changes, at: Longs) -> pa.Table:
        """The rows of the changes numbered `at`."""
        columns = list(rows.columns)
        if self._node.rank:
            columns.append(pa.chunked_array([found.places[at] + 1]))
        return weighted(pa.Table.from_arrays(columns, schema=self._node.schema), found.weights[at])

    def _wanted(self, delta: pa.Table) -> pa.Table:
        """The delta without rows of windows whose keys are gone."""
        if self._ends is None or not delta.num_rows:
            return delta
        ends = self._ends.of(delta)
        self._ends.note(ends)
        closed = self._ends.closed(ends)
        return mask(delta, ~closed) if closed.any() else delta

    def _needed(self) -> list[str]:
        """The columns that a row is found its place by."""
        names = {*self._node.keys, *self._key.word_columns}
        return [name for name in self._rows.columns.names if name in names]

    def _groups(self, rows: pa.Table) -> Longs:
        """Each row's group; new keys get one."""
        if self._index is None:
            return np.zeros(rows.num_rows, np.int64)
        groups, created = self._index.find_or_insert(rows)
        self._make_room()
        if self._ends is not None and created.any():
            self._end_of = self._memory.grown(self._end_of, self._index.capacity)
            self._end_of[groups[created]] = self._ends.of(mask(rows, created))
        return groups

    def _make_room(self) -> None:
        groups = self._index.capacity if self._index is not None else 1
        self._numbers = self._memory.grown(self._numbers, groups)
        self._tree.reserve(groups, self._rows.capacity)

    def _distinct(self, groups: Longs, first: Longs) -> Longs:
        """Each group once, those of `first` (distinct) first."""
        both = np.concatenate([first, groups]) if len(first) else groups
        distinct = np.empty(len(both), np.int64)
        distinct = distinct[: kernels.number(both, self._numbers, distinct)]
        self._numbers[distinct] = 0
        return distinct

    def _best(self, groups: Longs, words: Words, which: Longs) -> Longs:
        """Of the rows of a batch numbered `which`, those that may be among the first of their group."""
        if self._last > _FEW or len(which) < 2:
            return which
        chosen = groups[which]
        distinct = np.empty(len(chosen), np.int64)
        count = kernels.number(chosen, self._numbers, distinct)
        kept = np.zeros(len(groups), np.bool_)
        if count < len(which):
            lists, counts = np.empty(count * self._last, np.int64), np.zeros(count, np.int64)
            kernels.best(groups, self._numbers, words, self._key.width, self._last, lists, counts, which, kept)
        self._numbers[distinct[:count]] = 0
        return np.flatnonzero(kept) if count < len(which) else which

    def _tails(self, entries: Longs) -> EncodedRows:
        return self._key.tails(self._rows.take(entries, self._key.tail_columns))

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._ends is not None and self._index is not None and self._ends.advance(closed_us):
            closed = np.flatnonzero(self._ends.closed(self._end_of[: self._index.capacity]))
            closed = closed[self._tree.counts(closed) > 0]
            entries = self._tree.window(closed, 0, np.iinfo(np.int64).max)[0]
            self._tree.remove(entries)
            self._rows.discard(entries)
            self._index.remove(closed)
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._rows.checkpoint(folder, previous)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        if share is None:
            (folder,) = parts
            self._rows = RowStore.restore(folder, append_only=self._few, memory=self._memory)
        else:
            self._rows.gather(parts, share, self._node.keys)
        self._reset()
        slots = self._rows.slots()
        if not len(slots):
            return
        rows = self._rows.take(slots, self._needed())
        if self._ends is not None:
            self._ends.note(self._ends.of(rows))
        groups = self._groups(rows)
        self._make_room()
        self._tree.insert(groups, slots, self._key.words(rows), self._rows.weights_of(slots))

    def keeps(self) -> str:
        keys = f" of {len(self._index)} keys" if self._index is not None else ""
        return f"{self._rows.num_rows} rows{keys}"
