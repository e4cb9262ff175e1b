"""From the bytes of rows to Arrow batches: one path for the snapshot, the stream and records decoded once more.

A column is converted at once. If that fails, the values that do not fit are found by halving, their records go
whole to the rejects, and the rest goes on. A record with two rows (old and new) is rejected as one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.postgres import kernels, record
from headwater.capture.postgres.table import Layout
from headwater.capture.postgres.types import Column, binary_array
from headwater.capture.postgres.wire import Frames
from headwater.change import CHANGE_COLUMNS, REJECT_SCHEMA, WEIGHT, ChangeBatch, Op, key_text, log_schema
from headwater.errors import InvariantBroken


@dataclass(frozen=True)
class Places:
    """Where each record of a run stands: arrays of one value per record.

    Attributes:
        commits: uint64 `Position.commit`.
        ordinals: int64 `Position.ordinal`.
        times_us: int64 commit times, microseconds since 1970 UTC; None if unknown.
    """

    commits: np.ndarray
    ordinals: np.ndarray
    times_us: np.ndarray | None


@dataclass(frozen=True)
class Decoded:
    """What became of a run: its batch (None if nothing is left) and its rejects (rows of `REJECT_SCHEMA`)."""

    batch: ChangeBatch | None
    rejects: list[dict[str, object]]


@dataclass(frozen=True)
class Fields:
    """The fields of rows: arrays [field, row] of where each value starts in `buffer`, its length and kind; and per row
    the record it came from, its `Op` and its weight."""

    buffer: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    record_of: np.ndarray
    ops: np.ndarray
    weights: np.ndarray

    def column(self, field: int) -> pa.Array:
        """One field's values as text, binary."""
        if field < 0:
            return pa.nulls(self.ops.size, pa.binary())
        kinds = self.kinds[field]
        offsets, data = kernels.gather(self.buffer, self.starts[field], self.lengths[field], kinds)
        return binary_array(offsets, data, kinds == kernels.TEXT)

    def text(self, field: int, row: int) -> str | None:
        """One value as text; None if it is null or was not sent."""
        if field < 0 or self.kinds[field, row] != kernels.TEXT:
            return None
        start = int(self.starts[field, row])
        return bytes(self.buffer[start : start + int(self.lengths[field, row])]).decode(errors="replace")


def decode_stream(layout: Layout, messages: Frames, places: Places, header: int) -> Decoded:
    """Decodes row messages of pgoutput, each with `header` bytes before it.

    Raises:
        InvariantBroken: a message is not what the protocol says.
    """
    fields = _stream_fields(layout.width, messages, header)
    return _assemble(layout, fields, places, lambda i: (record.STREAM, messages[i][header:]))


def decode_copy(layout: Layout, rows: Frames, places: Places) -> Decoded:
    """Decodes rows in COPY's text format, each with its newline.

    Raises:
        InvariantBroken: a row does not have the right number of fields.
    """
    return _assemble(layout, _copy_fields(layout.width, rows), places, lambda i: (record.COPY, rows[i]))


def as_text(data: bytes) -> list[dict[str, object]]:
    """The rows of a rejected record for people: every value as PostgreSQL wrote it, null if it is null or was not sent.

    Args:
        data: as `record.frame` made it.

    Returns:
        One dict for each row, old and new, with the values by column and the row's `_weight`.

    Raises:
        UserError: these bytes are not a record of a PostgreSQL source.
    """
    found = record.unframe(data)
    width, columns = found.layout.width, found.layout.table.columns
    frames = Frames.of([found.data])
    fields = _stream_fields(width, frames, 0) if found.form == record.STREAM else _copy_fields(width, frames)
    places = [(column.name, field) for column, field in zip(columns, found.layout.wire, strict=True)]
    return [
        {**{name: fields.text(field, row) for name, field in places}, WEIGHT: int(weight)}
        for row, weight in enumerate(fields.weights)
    ]


def truncation(layout: Layout, commit: int, ordinal: int) -> ChangeBatch:
    """A batch of one TRUNCATE, for a snapshot that begins again."""
    places = Places(np.array([commit], np.uint64), np.array([ordinal]), None)
    batch = decode_stream(layout, Frames.of([b"T"]), places, 0).batch
    if batch is None:
        raise InvariantBroken("a truncation was rejected")
    return batch


def _room(width: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = (width, rows)
    return np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint8)


def _stream_fields(width: int, messages: Frames, header: int) -> Fields:
    buffer, begins, ends = messages.buffer, messages.begins, messages.ends
    room = 2 * len(messages)
    starts, lengths, kinds = _room(width, room)
    record_of, ops, weights = np.zeros(room, np.int64), np.zeros(room, np.uint8), np.zeros(room, np.int8)
    rows = kernels.scan_messages(buffer, begins + header, ends, starts, lengths, kinds, record_of, ops, weights)
    if rows < 0:
        raise InvariantBroken(f"row message {-1 - rows} of pgoutput does not fit its table's {width} columns")
    starts, lengths, kinds = starts[:, :rows], lengths[:, :rows], kinds[:, :rows]
    return Fields(buffer, starts, lengths, kinds, record_of[:rows], ops[:rows], weights[:rows])


def _copy_fields(width: int, rows: Frames) -> Fields:
    plain = np.empty_like(rows.buffer)
    starts, lengths, kinds = _room(width, len(rows))
    done = kernels.scan_copy(rows.buffer, rows.begins, rows.ends, plain, starts, lengths, kinds)
    if done < 0:
        raise InvariantBroken(f"row {-1 - done} of a COPY does not have {width} fields")
    heads = np.arange(done), np.full(done, Op.READ, np.uint8), np.ones(done, np.int8)
    return Fields(plain, starts, lengths, kinds, *heads)


def _assemble(layout: Layout, fields: Fields, places: Places, raw: record.Raw) -> Decoded:
    """Converts every column, takes the records that do not fit out, and puts the change columns before the rest."""
    arrays: list[pa.Array] = []
    misfits: dict[int, tuple[int, Column]] = {}
    for column, field in zip(layout.table.columns, layout.wire, strict=True):
        array, rows = _convert(column, fields.column(field))
        arrays.append(array)
        for row in rows:
            misfits.setdefault(int(fields.record_of[row]), (row, column))
    stream = layout.table.stream
    batch = pa.RecordBatch.from_arrays(_change_columns(layout, fields, places) + arrays, schema=log_schema(stream))
    if misfits:
        batch = batch.filter(pa.array(~np.isin(fields.record_of, list(misfits))))
    rejects = [_reject(layout, fields, places, raw, at, *misfits[at]) for at in sorted(misfits)]
    return Decoded(ChangeBatch(stream, batch) if batch.num_rows else None, rejects)


def _convert(column: Column, values: pa.Array) -> tuple[pa.Array, list[int]]:
    """The typed values, null where one does not fit, and the rows of those."""
    try:
        return column.convert(values), []
    except pa.ArrowInvalid:
        rows = _misfits(column, values, 0)
    bad = np.zeros(len(values), bool)
    bad[rows] = True
    return column.convert(pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), values)), rows


def _misfits(column: Column, values: pa.Array, first: int) -> list[int]:
    """Rows (counted from `first`) of the values that do not fit, by halving."""
    try:
        column.convert(values)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return [first]
        half = len(values) // 2
        return _misfits(column, values[:half], first) + _misfits(column, values[half:], first + half)
    return []


def _change_columns(layout: Layout, fields: Fields, places: Places) -> list[pa.Array]:
    """The change columns, in the order of `CHANGE_COLUMNS`."""
    at = fields.record_of
    time_type = CHANGE_COLUMNS[4].type
    times = pa.nulls(at.size, time_type) if places.times_us is None else pa.array(places.times_us[at]).cast(time_type)
    return [
        pa.array(fields.ops, pa.uint8()),
        pa.array(fields.weights, pa.int8()),
        pa.array(places.commits[at], pa.uint64()),
        pa.array(places.ordinals[at], pa.int64()),
        times,
        _unchanged(layout, fields),
    ]


def _unchanged(layout: Layout, fields: Fields) -> pa.Array:
    """The bits of `_unchanged`."""
    untouched = fields.kinds == kernels.UNCHANGED
    rows = untouched.any(axis=0)
    if not rows.any():
        return pa.nulls(rows.size, pa.binary())
    wire = np.array(layout.wire)
    flags = np.where(wire[:, None] >= 0, untouched[wire], False)
    bits = np.packbits(flags, axis=0, bitorder="little").T
    offsets = np.concatenate(([0], np.cumsum(rows * bits.shape[1])))
    return binary_array(offsets, np.ascontiguousarray(bits[rows]).reshape(-1), rows)


def _reject(
    layout: Layout, fields: Fields, places: Places, raw: record.Raw, at: int, row: int, column: Column
) -> dict[str, object]:
    """The reject of record `at`, whose row `row` has a value that `column` cannot hold."""
    table = layout.table
    form, data = raw(at)
    commit, ordinal = int(places.commits[at]), int(places.ordinals[at])
    time_us = None if places.times_us is None else int(places.times_us[at])
    wire = dict(zip((known.name for known in table.columns), layout.wire, strict=True))
    columns = {known.name: known for known in table.columns}
    key = [_key_text(columns[name], fields.text(wire[name], row)) for name in table.key]
    return {
        "stream": table.stream_name,
        "stage": "decode",
        "reason": column.misfit,
        "message": f"table {table.qualified}, column {column.name} ({column.source_type}): a value that "
        f"{column.arrow_type} cannot hold; text_columns: ['{table.name}.{column.name}'] captures it as text",
        "position": f"{commit}:{ordinal}",
        "key": json.dumps(key) if key else "",
        "record": record.frame(record.Record(layout, form, data, commit, ordinal, time_us)),
        "weight": -1 if form == record.STREAM and data.startswith(b"D") else 1,
    }


def _key_text(column: Column, text: str | None) -> str | None:
    """A key's value as later changes of the row will show it; one that its column cannot hold as it came."""
    try:
        return key_text(column.convert(pa.array([text], pa.string()).cast(pa.binary())))[0]
    except pa.ArrowInvalid:
        return text


def reject_batch(rejects: list[dict[str, object]]) -> pa.RecordBatch | None:
    """Rejects as Arrow rows; None if there are none."""
    return pa.RecordBatch.from_pylist(rejects, REJECT_SCHEMA) if rejects else None
