"""Turns a stream's log batches into deltas in which every row is whole (Flink calls this "changelog normalise").

The log holds what the source sent (`headwater.change`): an `upsert` stream's deletes carry only the key, its updates
only the new row, perhaps with columns that "did not change", and a TRUNCATE carries nothing. Models and tables need the
rows that went as well as those that came. So a normaliser remembers the stream's content.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.change import WEIGHT, ChangeBatch, Op, delta_schema
from headwater.engine.changes import Changes, aligned, joined
from headwater.engine.evolution import Evolution, evolution, promise, restart
from headwater.engine.hidden import HiddenRows, Lacks
from headwater.engine.resync import CUTS, Resync
from headwater.engine.state.checkpoint_files import Json, read_manifest, storage, write_manifest
from headwater.engine.state.frozen import FrozenRows
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_store import RowStore
from headwater.engine.trace import At, altered, carried, images, trace_schema, traced
from headwater.errors import InvariantBroken
from headwater.index.consolidate import consolidate
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex
from headwater.position import Position
from headwater.schema import Changelog, StreamSchema


class Normaliser:
    """What a stream holds, and how it changes; one thread at a time.

    Args:
        stream: the stream's schema as far as it is known; batches may bring a newer one.
        memory: where the rows are kept; the heap if not given.

    Attributes:
        stream: the schema in force; `apply` may change it.
        refilled: the last `apply` changed values or the key of rows of which its delta says nothing: `rows` has to be
            taken whole.
        ignored: how many deletes named a key that was not there.
        tracing: whether `apply` keeps a trace.
    """

    def __init__(self, stream: StreamSchema, memory: Memory | None = None) -> None:
        self.stream = stream
        self.ignored = 0
        self.refilled = False
        self.tracing = False
        self._trace: list[pa.Table] = []
        self._memory = memory
        self._state = _empty_state(stream, memory)
        self._resync = Resync()
        self._hidden = HiddenRows(stream.columns, stream.key)

    def apply(self, batches: Sequence[ChangeBatch]) -> pa.Table:
        """Takes an epoch's batches of the stream in log order and returns what they change.

        Returns:
            A delta over `stream.columns`. For an `upsert` stream it is the net change; otherwise the rows with their
            weights as sent, netted only if a truncate undid some of them.

        Raises:
            InvariantBroken: a column was left out as unchanged but no previous value is known, or a row that is not
                there is retracted. The stream must be captured again; this normaliser is of no more use.
        """
        self.refilled = False
        self._trace = []
        parts: list[pa.Table] = []
        for run in _runs(batches):
            parts = [*self._follow(run[0], parts), *self._run(run)]
        delta = pa.concat_tables([delta_schema(self.stream.columns).empty_table(), *parts])
        return consolidate(delta) if len(parts) > 1 else delta

    @property
    def trace(self) -> pa.Table:
        """What the last `apply` did, change by change (`headwater.engine.trace`), if `tracing`."""
        return pa.concat_tables([trace_schema(self.stream.columns).empty_table(), *self._trace])

    def rows(self) -> pa.Table:
        """What the stream holds now, as the delta that would make it from nothing."""
        return self._state.rows()

    def frozen(self) -> FrozenRows:
        """What the stream holds now, for another thread to read while this one goes on."""
        return self._state.frozen()

    @property
    def hidden(self) -> int:
        """Number of rows that are kept out of sight because a column of theirs is not known."""
        return len(self._hidden)

    def hidden_keys(self) -> list[str]:
        """Their keys, as rejects have them."""
        return self._hidden.keys()

    def merged(self, replay: ChangeBatch) -> ChangeBatch:
        """A rejected record that can be decoded now, to be applied: of a row that has changed since only what is not
        known of it comes from the record."""
        return self._hidden.merged(replay)

    def take_healed(self) -> list[str]:
        """Keys, as rejects have them, of hidden rows that changes with columns left out have made whole since the last
        call."""
        return self._hidden.take_healed()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._state.nbytes

    def promise(self, columns: pa.Schema) -> None:
        """Adds columns that the source is known to have by now; they are null until a change brings them."""
        promised = promise(self.stream, columns)
        if len(promised.columns) > len(self.stream.columns):
            self._adopt(promised, evolution(self.stream, promised))

    def _follow(self, batch: ChangeBatch, before: list[pa.Table]) -> list[pa.Table]:
        """Takes over the schema of changes to come; returns what was computed before, in its columns."""
        same_key = (batch.stream.key, batch.stream.changelog) == (self.stream.key, self.stream.changelog)
        change = evolution(self.stream, batch.stream)
        if same_key and change.same:
            return before
        now = StreamSchema(batch.stream.name, change.columns, batch.stream.key, batch.stream.changelog)
        self.refilled |= change.refills or not self._keeps_key(change, now)
        if batch.rows.num_rows and batch.rows.column("_op")[0].as_py() == Op.TRUNCATE:
            before = [*before, _negated(self._state.clear())]  # first: its rows need not fit the new key
            self._note(before[-1], aligned(batch, batch.stream.columns).at)
            self._hidden.clear()
        if not self._state.num_rows and not len(self._hidden) and not change.same:
            now = restart(self.stream, batch.stream)
        self._resync.incomplete |= now.changelog == "full" and bool(self._state.num_rows)
        held = self._state.rows() if self.tracing and change.refills else None
        self._adopt(now, change)
        self._trace = [carried(part, change, now.columns) for part in self._trace]
        if held is not None and held.num_rows and batch.rows.num_rows:
            after = _in_columns(change.carry(held), now.columns)
            self._trace.append(altered(held, after, change, aligned(batch, now.columns).at))
        return [_in_columns(change.carry(part), now.columns) for part in before]

    def _keeps_key(self, change: Evolution, now: StreamSchema) -> bool:
        """Whether the key is of the columns that it was of."""
        origin = dict(zip(change.columns.names, change.origin, strict=True))
        return tuple(origin[name] for name in now.key) == self.stream.key

    def checkpoint(self, folder: Path, previous: Path | None = None) -> None:
        """Writes content and schema into `folder`; see `RowStore.checkpoint`.

        Raises:
            StorageFailed: the folder is of no use; the normaliser is as before.
            CorruptCheckpoint: `previous` cannot be read.
        """
        self._state.checkpoint(folder / "rows", previous / "rows" if previous else None)
        body: Json = {
            "name": self.stream.name,
            "columns": base64.b64encode(self.stream.columns.serialize()).decode(),
            "key": list(self.stream.key),
            "changelog": self.stream.changelog,
            "ignored": self.ignored,
            "resync": self._resync.checkpoint(folder, previous),
            "hidden": self._hidden.checkpoint(folder, previous),
        }
        with storage(folder):
            write_manifest(folder, body)

    @classmethod
    def restore(cls, folder: Path, memory: Memory | None = None) -> Normaliser:
        """Reads a normaliser back from the folder of a checkpoint.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        body = read_manifest(folder)
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(cast(str, body["columns"]))))
        key = tuple(cast("list[str]", body["key"]))
        stream = StreamSchema(cast(str, body["name"]), columns, key, cast(Changelog, body["changelog"]))
        restored = cls(stream, memory)
        restored.ignored = cast(int, body["ignored"])
        restored._state = RowStore.restore(folder / "rows", append_only=restored._state.append_only, memory=memory)
        restored._resync = Resync.restore(folder, cast("Json | None", body.get("resync")))
        if body.get("hidden"):
            restored._hidden.restore(folder)
        return restored

    def _adopt(self, stream: StreamSchema, change: Evolution) -> None:
        """Makes `stream` the schema in force, and puts the state into its shape."""
        columns = stream.columns
        state = _empty_state(stream, self._memory)
        if change.refills or _shape(state) != _shape(self._state):
            state.apply(_in_columns(change.carry(self._state.rows()), columns))
            self._state = state
        if (stream.columns, stream.key) != (self._hidden.columns, self._hidden.key) or change.refills:
            self._hidden = self._hidden.moved(stream, change)
        self._resync.follow(change, stream.key)
        self.stream = stream

    def _run(self, batches: list[ChangeBatch]) -> Iterator[pa.Table]:
        """Applies batches of one key and changelog; yields a delta per truncate and per part without one."""
        changes = joined([aligned(batch, self.stream.columns) for batch in batches])
        for start, stop in _segments(changes.op):
            if start:
                cut = self._cut(Op(int(changes.op[start - 1])), int(changes.weight[start - 1]))
                self._note(cut, changes.between(start - 1, start).at)
                yield cut
            if stop > start:
                self._resync.see(changes.rows.slice(start, stop - start))
                yield self._segment(changes.between(start, stop))

    def _note(self, delta: pa.Table, at: At) -> None:
        """Adds what one change, the first of `at`, did to many rows to the trace."""
        if self.tracing and delta.num_rows:
            self._trace.append(traced(delta, at.times(delta.num_rows)))

    def _cut(self, op: Op, weight: int) -> pa.Table:
        """Applies what concerns the stream as a whole: it is emptied, or a snapshot of it begins or ends."""
        if op == Op.TRUNCATE and self.stream.changelog == "full":
            self._resync.incomplete = False
        if op == Op.TRUNCATE:
            self._hidden.clear()
            return _negated(self._state.clear())
        delta = delta_schema(self.stream.columns).empty_table()
        if op == Op.SNAPSHOT_BEGIN:
            self._resync.begin(weight, pa.schema([self.stream.columns.field(name) for name in self.stream.key]))
        elif self._resync.running:
            whole = self._resync.seen is not None and weight < 0
            rows = self._state.rows() if whole else delta
            if whole:
                self._hidden.forget(self._resync.unseen(self._hidden.all()))
            delta = _negated(rows.filter(pa.array(self._resync.end(weight, rows))))
            self._state.apply(delta)
            if weight < 0:
                self._require_read()
        return delta

    def _segment(self, changes: Changes) -> pa.Table:
        """Applies changes with nothing among them that concerns the stream as a whole."""
        delta = sent = self._net_change(changes) if self.stream.changelog == "upsert" else self._as_sent(changes)
        if self.stream.changelog == "full" and self._resync.incomplete and pc.min(delta.column(WEIGHT)).as_py() < 0:
            delta = self._without_unknown(delta)
        if self.tracing and self.stream.changelog != "upsert":
            self._note_sent(sent, delta, changes)
        self._state.apply(delta)
        return delta

    def _note_sent(self, sent: pa.Table, delta: pa.Table, changes: Changes) -> None:
        """Adds changes to the trace that are as they were sent, less retractions of rows that are not held."""
        self._trace.append(traced(sent, changes.at))
        if delta is not sent:
            rest = consolidate(pa.concat_tables([delta, _negated(sent)]))
            self._note(rest, changes.between(len(changes) - 1, len(changes)).at)

    def _without_unknown(self, delta: pa.Table) -> pa.Table:
        """The delta without retractions of rows that are not held as they are: their columns have changed since they
        came, and the whole stream will be sent again."""
        after = consolidate(pa.concat_tables([self._state.rows(), delta]))
        missing = after.filter(pc.less(after.column(WEIGHT), 0))
        return consolidate(pa.concat_tables([delta, _negated(missing)])) if missing.num_rows else delta

    def _as_sent(self, changes: Changes) -> pa.Table:
        """The rows and their weights; an update's unchanged columns are those of the old row sent right before it."""
        source = np.where(changes.second_halves(), np.arange(len(changes)) - 1, -1)
        return _weighted(
            self._filled(changes, source, changes.rows.slice(0, 0), Lacks({}, np.zeros(0, np.bool_)))[0], changes.weight
        )

    def _net_change(self, changes: Changes) -> pa.Table:
        """Minus the state's rows of the keys named, plus the last row of each key that is not deleted in the end."""
        for name in changes.unchanged.keys() & set(self.stream.key):
            raise self._no_previous(changes, name, int(np.argmax(changes.unchanged[name])))
        index = KeyIndex(pa.schema([self.stream.columns.field(name) for name in self.stream.key]))
        keys, _ = index.find_or_insert(changes.rows)
        old = self._state.rows_of(changes.rows).select(self.stream.columns.names)
        hidden = self._hidden.rows_of(changes.rows)
        deleted = changes.weight < 0
        rows, lacks = changes.rows, Lacks({}, deleted)
        if deleted.any() or changes.unchanged or changes.misfit or hidden.num_rows or self.tracing:
            earlier = pa.concat_tables([old, hidden.select(old.column_names)])
            in_state = np.full(len(index), -1, np.int64)
            in_state[index.find(earlier)] = len(changes) + np.arange(len(earlier))
            before = _before(keys, in_state, deleted)
            self.ignored += int(np.count_nonzero(deleted & (before < 0)))
            before_lacks = self._hidden.lacks(hidden, after=len(old))
            rows, lacks = self._filled(changes, _value_sources(changes, before), earlier, before_lacks)
            if self.tracing:
                shown = np.concatenate([~lacks.any(len(changes)), np.arange(len(earlier)) < len(old)])
                self._trace.append(images(rows, earlier, before, shown, changes.weight, changes.at))
        last = np.empty(len(index), np.int64)
        last[keys] = np.arange(len(keys))
        last = last[~deleted[last]]
        if lacks.unknown or hidden.num_rows:
            last = self._hidden.settle(hidden, rows, last, lacks, changes.unchanged)
        new = rows.take(pa.array(last))
        both = [_weighted(old, np.full(len(old), -1)), _weighted(new, np.ones(len(new), np.int64))]
        delta = pa.concat_tables(both)
        return consolidate(delta) if len(old) and len(new) else delta

    def _filled(
        self, changes: Changes, source: Longs, earlier: pa.Table, earlier_lacks: Lacks
    ) -> tuple[pa.Table, Lacks]:
        """The rows with every unchanged column's value put in, and what is not known of them.

        Args:
            changes: the changes.
            source: for each change the row to take from: a change's number, `len(changes) + i` for row i of `earlier`,
                or -1 if there is none.
            earlier: rows from before the changes.
            earlier_lacks: what is not known of those.
        """
        rows, unknown, never = changes.rows, dict(changes.misfit), np.zeros(len(changes), np.bool_)
        for name, unsent in changes.unchanged.items():
            unsent = unsent & (changes.weight > 0)
            at = _followed(np.where(unsent, source, np.arange(len(changes))), len(earlier))
            if (at < 0).any() and not self._resync.lenient:
                raise self._no_previous(changes, name, int(np.argmax(at < 0)))
            own, of_earlier = (
                masks.get(name, np.zeros(size, np.bool_))
                for masks, size in ((changes.misfit, len(changes)), (earlier_lacks.unknown, len(earlier)))
            )
            unknown[name] = np.concatenate([own, of_earlier, [True]])[at]
            never |= np.concatenate([np.zeros(len(changes), np.bool_), of_earlier & earlier_lacks.never, [True]])[at]
            values = pa.chunked_array([*rows.column(name).chunks, *earlier.column(name).chunks], rows.column(name).type)
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(place), values.take(pa.array(at, mask=at < 0)))
        return rows, Lacks({name: mask for name, mask in unknown.items() if mask.any()}, never)

    def _require_read(self) -> None:
        """A snapshot has read every row, so nothing may be waited for any more."""
        waiting = self._hidden.never_sent()
        if waiting.num_rows:
            key = waiting.select(self.stream.key).slice(0, 1).to_pylist()[0]
            raise InvariantBroken(
                f"stream {self.stream.name!r}: a value of row {key} is sent as unchanged, but was never sent, and a "
                "whole snapshot did not read it",
                hint="The stream has a gap: capture it again from a snapshot, and report this.",
            )

    def _no_previous(self, changes: Changes, column: str, row: int) -> InvariantBroken:
        position = Position(int(changes.commit[row]), int(changes.ordinal[row]))
        return InvariantBroken(
            f"stream {self.stream.name!r} at {position}: column {column!r} is sent as unchanged, but was never sent",
            hint="The stream has a gap: capture it again from a snapshot, and report this.",
        )


def _runs(batches: Sequence[ChangeBatch]) -> Iterator[list[ChangeBatch]]:
    """Neighbours of one schema, together."""
    run: list[ChangeBatch] = []
    for batch in batches:
        if run and not _same(run[0].stream, batch.stream):
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def _same(one: StreamSchema, other: StreamSchema) -> bool:
    alike = (one.key, one.changelog) == (other.key, other.changelog)
    return alike and one.columns.equals(other.columns, check_metadata=True)


def _empty_state(stream: StreamSchema, memory: Memory | None) -> RowStore:
    """What remembers such a stream: only an upsert stream asks for old rows by key, an append stream for none."""
    key = stream.key if stream.changelog == "upsert" else ()
    return RowStore(stream.columns, key, append_only=stream.changelog == "append", memory=memory)


def _shape(state: RowStore) -> tuple[bool, tuple[str, ...], pa.Schema]:
    return state.append_only, state.key, state.columns


def _in_columns(delta: pa.Table, columns: pa.Schema) -> pa.Table:
    """The delta with exactly these columns, of which it may lack some."""
    arrays = [
        delta.column(field.name) if field.name in delta.column_names else pa.nulls(delta.num_rows, field.type)
        for field in columns
    ]
    return pa.Table.from_arrays([*arrays, delta.column(WEIGHT)], schema=delta_schema(columns))


def _weighted(rows: pa.Table, weights: Longs) -> pa.Table:
    arrays = [*rows.columns, pa.chunked_array([weights], pa.int64())]
    return pa.Table.from_arrays(arrays, schema=delta_schema(rows.schema))


def _negated(delta: pa.Table) -> pa.Table:
    return _weighted(delta.drop_columns([WEIGHT]), -delta.column(WEIGHT).to_numpy())


def _segments(op: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Cuts at truncates and at the ends of snapshots: start and stop of each part without one. Right before the start
    of each but the first stands such a change."""
    start = 0
    for cut in np.flatnonzero(np.isin(op, CUTS)).tolist():
        yield start, cut
        start = cut + 1
    yield start, len(op)


def _before(keys: Longs, in_state: Longs, deleted: Mask) -> Longs:
    """The row that each change finds under its key: a change's number, the state's row, or -1 if there is none."""
    order = np.argsort(keys, kind="stable")
    before = in_state[keys]
    again = keys[order[1:]] == keys[order[:-1]]
    earlier = order[:-1][again]
    before[order[1:][again]] = np.where(deleted[earlier], -1, earlier)
    return before


def _value_sources(changes: Changes, before: Longs) -> Longs:
    """Where each change's unchanged values come from: its key's row, or for a change of key the old key's."""
    moved = changes.second_halves() & (changes.weight > 0)
    return np.where(moved, np.roll(before, 1), before)


def _followed(at: Longs, earlier: int) -> Longs:
    """Follows pointers between changes to their ends, doubling the step (log2 of the longest chain turns).

    Args:
        at: for each change a change's number (an end if its own), or an end: from `len(at)` to below
            `len(at) + earlier`, or -1.
        earlier: see `at`.
    """
    ends = np.append(np.arange(len(at), len(at) + earlier), -1)
    while True:
        further = np.concatenate([at, ends])[at]
        if np.array_equal(further, at):
            return at
        at = further
