"""What is sent for each record: its key and its value in one of three envelopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.deliver.destination import Batch, Op, Sync
from headwater.deliver.kafka_settings import KafkaSettings

Encode = Callable[[pa.Table], "list[bytes]"]
"""Rows as bytes, one each."""

CHANGE = pa.array(["upsert", "delete", "insert"])
"""Names of `Op`, in its order."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        row: the record's number in its batch.
        key: bytes; None for a record without a key.
        value: bytes; None is a tombstone.
    """

    row: int
    key: bytes | None
    value: bytes | None

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.key or b"") + len(self.value or b"")

    def shown(self) -> str:
        """For people."""
        key, value = (
            part.decode(errors="backslashreplace") if part is not None else "null" for part in (self.key, self.value)
        )
        return f"{key} -> {value}"


@dataclass(frozen=True)
class Encoders:
    """How keys and values are written."""

    key: Encode
    value: Encode


def messages(settings: KafkaSettings, sync: Sync, batch: Batch, encoders: Encoders) -> list[Message]:
    """The messages of a batch, in order; a delete in Debezium's envelope is followed by its tombstone."""
    keys: Sequence[bytes | None] = [None] * len(batch)
    if sync.key:
        keys = encoders.key(batch.rows.select(list(sync.key)))
    deleted = batch.op == Op.DELETE
    if settings.envelope == "upsert":
        kept = np.flatnonzero(~deleted)
        values: list[bytes | None] = [None] * len(batch)
        for row, value in zip(kept.tolist(), encoders.value(batch.rows.take(pa.array(kept))), strict=True):
            values[row] = value
        return [Message(row, key, value) for row, (key, value) in enumerate(zip(keys, values, strict=True))]
    table = debezium(sync, batch) if settings.envelope == "debezium" else changelog(batch)
    made = [Message(row, keys[row], value) for row, value in enumerate(encoders.value(table))]
    if settings.envelope == "changelog" or not settings.tombstones or not sync.key:
        return made
    return [one for message in made for one in _with_tombstone(message, deleted=bool(deleted[message.row]))]


def _with_tombstone(message: Message, *, deleted: bool) -> list[Message]:
    return [message, Message(message.row, message.key, None)] if deleted else [message]


def changelog(batch: Batch) -> pa.Table:
    """The rows, with what happened to each, its number and its epoch."""
    return (
        batch.rows.append_column("_op", CHANGE.take(pa.array(batch.op)))
        .append_column("_seq", pa.array(batch.seq))
        .append_column("_epoch", pa.array(batch.epoch))
    )


def debezium(sync: Sync, batch: Batch) -> pa.Table:
    """Debezium's envelope (its documentation, "Data change events"): `before` and `after` are null where there is no
    such row; `op` is c, u or d; a row of which it is not known what it was before is an update without `before`."""
    rows = pa.StructArray.from_arrays(
        [column.combine_chunks() for column in batch.rows.columns], fields=list(batch.rows.schema)
    )
    none = pa.nulls(len(batch), rows.type)
    deleted = pa.array(batch.op == Op.DELETE)
    known = batch.before if batch.before is not None else none
    before = pc.if_else(deleted, pc.if_else(known.is_valid(), known, rows), known)
    after = pc.if_else(deleted, none, rows)
    created = pc.invert(before.is_valid())
    op = pc.if_else(deleted, "d", pc.if_else(created, "c", "u"))
    count = len(batch)
    now = sync.clock.now_us() // 1000
    source = pa.StructArray.from_arrays(
        [
            pa.repeat(pa.scalar("headwater"), count),
            pa.repeat(pa.scalar(sync.project), count),
            pa.repeat(pa.scalar(sync.project), count),
            pa.repeat(pa.scalar(sync.model), count),
            pa.repeat(pa.scalar("false"), count),
            pa.repeat(pa.scalar(now, pa.int64()), count),
            pa.array(batch.seq),
            pa.array(batch.epoch),
        ],
        names=["connector", "name", "db", "table", "snapshot", "ts_ms", "seq", "epoch"],
    )
    return pa.table(
        {"before": before, "after": after, "source": source, "op": op, "ts_ms": pa.repeat(pa.scalar(now), count)}
    )
