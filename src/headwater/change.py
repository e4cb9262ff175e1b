"""A batch of changes: what moves between the rooms of the house.

In the log a change is a row of its stream's columns preceded by the *change columns*:

| column      | type          | meaning |
|---|---|---|
| `_op`       | uint8         | `Op`: what happened at the source |
| `_weight`   | int8          | +1 the row appears, -1 it goes; an update of a `full` stream is both |
| `_commit`   | uint64        | `Position.commit` |
| `_ordinal`  | int64         | `Position.ordinal`; the two halves of an update or key change share it |
| `_time`     | timestamp[us, UTC] | commit time at the source, null if unknown |
| `_unchanged`| binary        | bits of columns, see below; null: all came and are held |

Of a stream of n columns, bit i of `_unchanged` (little endian) says that column i did not change and was not sent, and
bit n + i that it came with a value that its type cannot hold.

Past the source's normaliser (`headwater.engine.normalise`), models and tables see *deltas*: the stream's columns
and an int64 `_weight`, nothing else, in which every row is whole and every update is -1 old, +1 new.

A record that could not be decoded travels in the same group as a row of `REJECT_SCHEMA`, so that it is as durable as
its neighbours. Of an `upsert` stream the row that it brings travels as a change as well if its key can be held, with
the columns that cannot be held null and marked: the normaliser takes the row's old version back and keeps the new one
out of sight until later changes have made it whole. Of other streams the rejected row is left out, and the other half
of its update goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.position import Boundary
from headwater.schema import StreamSchema

WEIGHT = "_weight"


class Op(IntEnum):
    """What happened to a row at the source; a TRUNCATE happened to all.

    SNAPSHOT_BEGIN and SNAPSHOT_END frame a snapshot of an `upsert` stream that is taken while its changes are followed.
    Their rows have no values, and their weights say what is meant (`headwater.capture.incremental`). BEGIN: +1 rows are
    missing until the end, 0 some rows are read again, -1 all are. END: -1 it is complete, and after a BEGIN with -1
    rows that were neither read nor changed since are gone; 0 it was given up, or was of some rows only.
    """

    READ = 0
    INSERT = 1
    UPDATE = 2
    DELETE = 3
    TRUNCATE = 4
    SNAPSHOT_BEGIN = 5
    SNAPSHOT_END = 6


CHANGE_COLUMNS: tuple[pa.Field, ...] = (
    pa.field("_op", pa.uint8(), nullable=False),
    pa.field("_weight", pa.int8(), nullable=False),
    pa.field("_commit", pa.uint64(), nullable=False),
    pa.field("_ordinal", pa.int64(), nullable=False),
    pa.field("_time", pa.timestamp("us", tz="UTC")),
    pa.field("_unchanged", pa.binary()),
)

REJECT_SCHEMA = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("record", pa.binary(), nullable=False),
        pa.field("weight", pa.int64(), nullable=False),
    ]
)
"""One rejected record.

`stage` is one of decode, evaluate, late, gap; `reason` a code from a fixed list per stage; `key` the row's key as a
JSON array of the key columns' values as `key_text` writes them ("" if there is none); `record` the record whole: the
source's own bytes, enough for `Source.decode`, at decode; an Arrow IPC stream of one delta row at evaluate and late;
JSON (`capture.gap`) of a gap that was accepted.
`stream` names the stream at decode, and at the later stages "model/input"."""


def key_text(values: pa.Array) -> list[str | None]:
    """Values of a key column as a reject's `key` has them, the same for a record and for what it is decoded to."""
    if pa.types.is_binary(values.type):
        return [None if value is None else "\\x" + value.hex() for value in values.to_pylist()]
    return cast("list[str | None]", values.cast(pa.string()).to_pylist())


def log_schema(stream: StreamSchema) -> pa.Schema:
    """Schema of a stream's batches in the log: the change columns, then the stream's own, all nullable (a delete
    of an `upsert` stream fills only the key)."""
    return pa.schema([*CHANGE_COLUMNS, *(f.with_nullable(True) for f in stream.columns)])


def delta_schema(columns: pa.Schema) -> pa.Schema:
    """Schema of a delta over `columns`: the columns, then int64 `_weight`."""
    return pa.schema([*columns, pa.field(WEIGHT, pa.int64(), nullable=False)])


def unchanged_bits(unsent: NDArray[np.bool_], misfit: NDArray[np.bool_] | None = None) -> pa.Array:
    """The change column `_unchanged` of some rows.

    Args:
        unsent: bool [column, row]: which columns did not change and were not sent.
        misfit: bool [column, row]: which came with a value that cannot be held; None if there is none.
    """
    flags = unsent if misfit is None else np.concatenate([unsent, misfit])
    rows = flags.any(axis=0)
    if not rows.any():
        return pa.nulls(rows.size, pa.binary())
    bits = np.ascontiguousarray(np.packbits(flags, axis=0, bitorder="little").T)
    offsets = np.concatenate(([0], np.cumsum(rows * bits.shape[1]))).astype(np.int32)
    buffers = [pa.py_buffer(np.packbits(rows, bitorder="little")), pa.py_buffer(offsets), pa.py_buffer(bits[rows])]
    return pa.Array.from_buffers(pa.binary(), rows.size, buffers)


def marks(batch: ChangeBatch) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]:
    """The inverse of `unchanged_bits`: by column of which it is true of any row, the rows in which it was not sent, and
    those in which it came with a value that cannot be held. Few patterns occur, so each is looked at once."""
    unsent: dict[str, NDArray[np.bool_]] = {}
    misfit: dict[str, NDArray[np.bool_]] = {}
    names = batch.stream.columns.names
    patterns = batch.rows.column("_unchanged").dictionary_encode()
    numbers = patterns.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    for number, pattern in enumerate(patterns.dictionary.to_pylist()):
        bits = int.from_bytes(pattern, "little")
        for place, name in enumerate([*names, *names]):
            if bits >> place & 1:
                of = unsent if place < len(names) else misfit
                mask = of.setdefault(name, np.zeros(len(batch), np.bool_))
                mask |= numbers == number
    return unsent, misfit


@dataclass(frozen=True)
class ChangeBatch:
    """Changes of one stream in source order.

    Attributes:
        stream: the schema in force for these rows.
        rows: a record batch of `log_schema(stream)`.
    """

    stream: StreamSchema
    rows: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.rows.num_rows)


@dataclass(frozen=True)
class Group:
    """A whole number of source transactions, the unit that becomes durable at once and is never torn apart.

    Attributes:
        boundary: where the source stands after the group; an empty group only moves the boundary (a heartbeat).
        batches: changes by stream, in the order to be stored.
        rejects: records that could not be decoded, `REJECT_SCHEMA`; None if there are none.
        filtered: records read and left out on purpose (not a wanted table), by stream name.
        more: the transaction goes on in the next group: a huge one comes in parts, of which none counts until the last,
            whose boundary ends them all. A part's own boundary says nothing.
    """

    boundary: Boundary
    batches: tuple[ChangeBatch, ...] = ()
    rejects: pa.RecordBatch | None = None
    filtered: dict[str, int] = field(default_factory=dict)
    more: bool = False

    def __len__(self) -> int:
        """Number of records: changes and rejects."""
        rejected = int(self.rejects.num_rows) if self.rejects is not None else 0
        return sum(len(batch) for batch in self.batches) + rejected
