"""What the log says of a mirror beyond its table: which of the table's rows are not to be shown, and which are besides.

The same rules as in the pipeline hold, because the same normaliser applies them: values that were not sent are filled
in from the table's row, a row with a value that cannot be held is out of sight, a TRUNCATE empties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from headwater.capture.incremental import COMPLETE, FIRST, WHOLE, marker
from headwater.change import WEIGHT, ChangeBatch, Op
from headwater.engine.normalise import Normaliser
from headwater.errors import HeadwaterError
from headwater.index.key_index import KeyIndex
from headwater.lake.columns import cast_rows, lake_columns
from headwater.lake.consolidate import net_change, weights_of
from headwater.runtime.mirror_at import as_read, in_columns
from headwater.schema import StreamSchema, column_id

FEW_KEYS = 1000
"""So many keys at most are looked up in the table by name; more by their range."""


class NotToBeJoined(Exception):
    """Table and log cannot be joined just now; the message says why. The next epoch changes that."""


@dataclass(frozen=True)
class Tail:
    """The difference between a table and the log's end.

    Attributes:
        emptied: none of the table's rows is there any more.
        touched: keys whose rows in the table are not to be shown; for a table with a key.
        rows: rows to show besides; lake types, columns of the table.
        gone: rows of a table without a key of which one each is not to be shown.
        changes: how many changes that are.
    """

    rows: pa.Table
    touched: pa.Table | None = None
    gone: pa.Table | None = None
    emptied: bool = False
    changes: int = 0


@dataclass
class TailReader:
    """Joins one table with the log.

    Attributes:
        columns: of the table, lake types.
        key: of the table.
        base: the table's rows.
    """

    columns: pa.Schema
    key: tuple[str, ...]
    base: pads.Dataset
    _keys: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        self._keys = pa.schema([self.columns.field(name) for name in self.key])

    def read(self, batches: Sequence[ChangeBatch]) -> Tail:
        """What the changes make of the table.

        Args:
            batches: what the log has of the stream beyond the table, in order.

        Raises:
            NotToBeJoined: it cannot be said from these changes alone.
        """
        changes = sum(map(len, batches))
        if not changes:
            return Tail(self.columns.empty_table())
        batches = _merged(batches)
        for batch in batches:
            self._require_same(batch.stream)
        ops = np.concatenate([batch.rows.column("_op").to_numpy() for batch in batches])
        weights = np.concatenate([batch.rows.column("_weight").to_numpy() for batch in batches])
        emptied = bool((ops == Op.TRUNCATE).any()) or _read_whole(ops, weights)
        try:
            if batches[-1].stream.changelog == "upsert":
                return self._upserted(batches, emptied=emptied, changes=changes)
            return self._as_sent(batches, emptied=emptied, changes=changes)
        except (HeadwaterError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise NotToBeJoined(f"its changes do not go with the table: {error}") from error

    def _require_same(self, stream: StreamSchema) -> None:
        """A batch whose columns are not the table's waits for the epoch that changes the table."""
        if stream.key != self.key:
            raise NotToBeJoined("its key is changing")
        for wanted in lake_columns(stream.columns):
            held = self.columns.field(wanted.name) if wanted.name in self.columns.names else None
            ids = {column_id(wanted), column_id(held) if held is not None else None} - {None}
            if held is None or held.type != wanted.type or len(ids) > 1:
                raise NotToBeJoined("its columns are changing")

    def _upserted(self, batches: Sequence[ChangeBatch], *, emptied: bool, changes: int) -> Tail:
        stream, last = batches[0].stream, batches[-1].stream
        normaliser = Normaliser(stream)
        normaliser.apply([marker(stream, Op.SNAPSHOT_BEGIN, FIRST, 0, 0)])
        normaliser.apply([*as_read(stream, self._needed(batches)), *batches])
        now = normaliser.rows().drop_columns([WEIGHT])
        return Tail(self._rows(now, last), self._touched(batches), None, emptied, changes)

    def _touched(self, batches: Sequence[ChangeBatch]) -> pa.Table:
        """The keys that the changes name, as the table writes them, each once."""
        parts = [self._in_table(batch.rows.filter(_names_a_row(batch.rows))) for batch in batches]
        keys = pa.concat_tables(parts)
        return keys.take(pa.array(np.unique(KeyIndex(self._keys).find_or_insert(keys)[0], return_index=True)[1]))

    def _needed(self, batches: Sequence[ChangeBatch]) -> pa.Table:
        """The table's rows of keys of which a change leaves out a value."""
        parts = [
            self._in_table(batch.rows.filter(pc.and_(_names_a_row(batch.rows), _partly(batch.rows))))
            for batch in batches
        ]
        keys = pa.concat_tables(parts)
        moved = [_moves(batch.rows) for batch in batches]
        if any(mask.any() for mask in moved):  # a row with a new key: the value left out is the old key's
            keys = pa.concat_tables([
                keys, *(self._in_table(b.rows.filter(pa.array(m))) for b, m in zip(batches, moved, strict=True))
            ])  # fmt: skip
        if not keys.num_rows:
            return self.columns.empty_table()
        index = KeyIndex(self._keys)
        index.find_or_insert(keys)
        rows = self.base.to_table(filter=_near(keys))
        return rows.filter(pa.array(index.find(rows) >= 0))

    def _in_table(self, rows: pa.RecordBatch) -> pa.Table:
        """The keys of log rows in the table's types."""
        return in_columns(pa.Table.from_batches([rows]), self._keys)

    def _rows(self, rows: pa.Table, stream: StreamSchema) -> pa.Table:
        """Rows of the stream as the table has them: columns that it has no more are null."""
        cast = cast_rows(rows, lake_columns(stream.columns), stream.name)
        return in_columns(cast, self.columns)

    def _as_sent(self, batches: Sequence[ChangeBatch], *, emptied: bool, changes: int) -> Tail:
        """Of a stream whose changes say all: the net of what was sent since it was last emptied."""
        parts: list[pa.Table] = []
        for batch in batches:
            rows = batch.rows
            cuts = np.flatnonzero(rows.column("_op").to_numpy() == Op.TRUNCATE)
            if len(cuts):
                parts, rows = [], rows.slice(int(cuts[-1]) + 1)
            if pc.any(_partly(rows)).as_py():
                raise NotToBeJoined("a value was not sent")
            weight = rows.column("_weight").cast(pa.int64())
            whole = self._rows(pa.Table.from_batches([rows]), batch.stream)
            parts.append(whole.append_column(WEIGHT, weight))
        delta = pa.concat_tables(parts)
        net = net_change(delta.drop_columns([WEIGHT]), weights_of(delta))
        if self.key:
            touched = pa.concat_tables([net.added, net.removed]).select(list(self.key))
            return Tail(net.added, touched, None, emptied, changes)
        gone = net.removed.take(np.repeat(np.arange(net.removed.num_rows), net.counts))
        return Tail(net.added, None, gone, emptied, changes)


def _merged(batches: Sequence[ChangeBatch]) -> list[ChangeBatch]:
    """Neighbours of one schema as one: a log of small transactions has very many, and each costs as much as a large
    one."""
    runs: list[list[ChangeBatch]] = []
    for batch in batches:
        if runs and (runs[-1][0].stream is batch.stream or runs[-1][0].stream == batch.stream):
            runs[-1].append(batch)
        else:
            runs.append([batch])
    return [
        run[0] if len(run) == 1 else ChangeBatch(run[0].stream, pa.concat_batches([batch.rows for batch in run]))
        for run in runs
    ]


def _read_whole(
    ops: np.ndarray[tuple[int], np.dtype[np.uint8]], weights: np.ndarray[tuple[int], np.dtype[np.int8]]
) -> bool:
    """Whether the stream was read anew as a whole, so that rows which are not among the changes are gone.

    Raises:
        NotToBeJoined: such a reading has ended that began before.
    """
    begins = np.flatnonzero(ops == Op.SNAPSHOT_BEGIN)
    for end in np.flatnonzero((ops == Op.SNAPSHOT_END) & (weights == COMPLETE)).tolist():
        before = begins[begins < end]
        if not len(before):
            raise NotToBeJoined("it has just been read anew")
        if weights[before[-1]] == WHOLE:
            return True
    return False


def _names_a_row(rows: pa.RecordBatch) -> pa.Array:
    return pc.less(rows.column("_op"), int(Op.TRUNCATE))


def _partly(rows: pa.RecordBatch) -> pa.Array:
    """Which rows came without a value, or with one that cannot be held."""
    return pc.is_valid(rows.column("_unchanged"))


def _moves(rows: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which changes are the first half of a change of key whose second half leaves out a value."""
    commit, ordinal, weight = (rows.column(name).to_numpy() for name in ("_commit", "_ordinal", "_weight"))
    first = np.zeros(rows.num_rows, np.bool_)
    pairs = (commit[1:] == commit[:-1]) & (ordinal[1:] == ordinal[:-1]) & (weight[:-1] < 0)
    first[:-1] = pairs & _partly(rows).to_numpy(zero_copy_only=False)[1:]
    return first


def _near(keys: pa.Table) -> pc.Expression:
    """A test that the rows of some keys pass, and not many others."""
    test: pc.Expression = pc.scalar(True)
    for name in keys.column_names:
        values = keys.column(name)
        if keys.num_columns == 1 and len(values) <= FEW_KEYS:
            return pc.field(name).isin(values.combine_chunks())
        if not pa.types.is_floating(values.type) and not pa.types.is_nested(values.type):
            ends = pc.min_max(values)
            test &= (pc.field(name) >= ends["min"]) & (pc.field(name) <= ends["max"])
    return test
