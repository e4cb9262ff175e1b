"""From the bytes of rows to Arrow batches: one path for the snapshot, the stream and records decoded once more.

A column is converted at once. If that fails, the values that do not fit are found by halving, their records go
whole to the rejects, and the rest goes on. Of a record with two rows (old and new) each is rejected or not by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.postgres import kernels, record
from headwater.capture.postgres.table import Layout
from headwater.capture.postgres.types import Column, binary_array
from headwater.capture.postgres.wire import Frames
from headwater.change import (
    CHANGE_COLUMNS,
    REJECT_SCHEMA,
    WEIGHT,
    ChangeBatch,
    Op,
    key_text,
    log_schema,
    unchanged_bits,
)
from headwater.errors import InvariantBroken, UserError


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
        offsets, begins, data = self._gathered
        values = data[begins[field] : begins[field + 1]]
        return binary_array(offsets[field], values, self.kinds[field] == kernels.TEXT)

    @cached_property
    def _gathered(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return kernels.gather(self.buffer, self.starts, self.lengths, self.kinds)

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
    """For places, lengths and kinds of fields; at most 17 times the bytes that hold them, which were counted."""
    shape = (width, rows)
    return np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint8)


def _stream_fields(width: int, messages: Frames, header: int) -> Fields:
    buffer, begins, ends = messages.buffer, messages.begins, messages.ends
    begins = begins + header
    rows = kernels.count_rows(buffer, begins, ends, width)
    if rows >= 0:
        starts, lengths, kinds = _room(width, rows)
        record_of, ops, weights = np.zeros(rows, np.int64), np.zeros(rows, np.uint8), np.zeros(rows, np.int8)
        rows = kernels.scan_messages(buffer, begins, ends, starts, lengths, kinds, record_of, ops, weights)
    if rows < 0:
        raise InvariantBroken(f"row message {-1 - rows} of pgoutput does not fit its table's {width} columns")
    return Fields(buffer, starts, lengths, kinds, record_of, ops, weights)


def _copy_fields(width: int, rows: Frames) -> Fields:
    short = np.flatnonzero(rows.ends - rows.begins < max(width, 1))
    if short.size:
        raise InvariantBroken(f"row {short[0]} of a COPY does not have {width} fields")
    plain = np.empty_like(rows.buffer)
    starts, lengths, kinds = _room(width, len(rows))
    done = kernels.scan_copy(rows.buffer, rows.begins, rows.ends, plain, starts, lengths, kinds)
    if done < 0:
        raise InvariantBroken(f"row {-1 - done} of a COPY does not have {width} fields")
    heads = np.arange(done), np.full(done, Op.READ, np.uint8), np.ones(done, np.int8)
    return Fields(plain, starts, lengths, kinds, *heads)


def decode_record(layout: Layout, found: record.Record) -> ChangeBatch:
    """The row that a rejected record was rejected for, decoded once more under `layout`.

    Raises:
        UserError: it still cannot be held.
    """
    time = None if found.time_us is None else np.array([found.time_us])
    places = Places(np.array([found.commit], np.uint64), np.array([found.ordinal]), time)
    frames = Frames.of([found.data])
    decoded = decode_stream(layout, frames, places, 0) if found.form == record.STREAM else None
    decoded = decoded or decode_copy(layout, frames, places)
    still = next((reject for reject in decoded.rejects if reject["weight"] == found.weight), None)
    if still is not None or decoded.batch is None:
        why = str(still["message"]) if still else "the record brings no row"
        raise UserError(why, hint="add the column to the source's text_columns")
    rows = decoded.batch.rows
    return ChangeBatch(decoded.batch.stream, rows.filter(pc.equal(rows.column("_weight"), found.weight)))


def _assemble(layout: Layout, fields: Fields, places: Places, raw: record.Raw) -> Decoded:
    """Converts every column, rejects rows with a value that does not fit, and puts the change columns before the rest.

    A rejected row of an `upsert` stream stays in the batch, marked, if its key can be held (`headwater.change`).
    """
    arrays: list[pa.Array] = []
    bad: dict[int, list[int]] = {}
    for place, (column, field) in enumerate(zip(layout.table.columns, layout.wire, strict=True)):
        array, rows = _convert(column, fields.column(field))
        arrays.append(array)
        if rows:
            bad[place] = rows
    misfit = _misfit(layout, fields, bad) if bad else None
    head = _change_columns(layout, fields, places, misfit)
    stream = layout.table.stream
    batch = pa.RecordBatch.from_arrays(head + arrays, schema=log_schema(stream))
    if misfit is None:
        return Decoded(ChangeBatch(stream, batch) if batch.num_rows else None, [])
    batch = batch.filter(pa.array(_goes_on(layout, fields, misfit)))
    rejected = np.flatnonzero(misfit.any(axis=0)).tolist()
    rejects = [_reject(layout, fields, places, raw, row, int(np.argmax(misfit[:, row]))) for row in rejected]
    return Decoded(ChangeBatch(stream, batch) if batch.num_rows else None, rejects)


def _misfit(layout: Layout, fields: Fields, bad: dict[int, list[int]]) -> np.ndarray:
    """Which values cannot be held, bool [column, row]. What an update did not send of a row whose old key cannot be
    held cannot be known either, for that row is not here."""
    misfit = np.zeros((len(layout.table.columns), fields.ops.size), bool)
    for place, rows in bad.items():
        misfit[place, rows] = True
    nameless = np.flatnonzero(misfit[:, :-1].any(axis=0) & (fields.weights[:-1] < 0))
    after = nameless[fields.record_of[nameless] == fields.record_of[nameless + 1]] + 1
    misfit[:, after] |= _unsent(layout, fields)[:, after]
    return misfit


def _goes_on(layout: Layout, fields: Fields, misfit: np.ndarray) -> np.ndarray:
    """Which rows are changes nevertheless."""
    table = layout.table
    if table.changelog != "upsert":
        return np.asarray(~misfit.any(axis=0))
    key = np.array([column.name in table.key for column in table.columns])
    return np.asarray(~misfit[key].any(axis=0) & ((fields.weights > 0) | ~misfit.any(axis=0)))


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


def _change_columns(layout: Layout, fields: Fields, places: Places, misfit: np.ndarray | None) -> list[pa.Array]:
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
        _marks(layout, fields, misfit),
    ]


def _marks(layout: Layout, fields: Fields, misfit: np.ndarray | None) -> pa.Array:
    """The bits of `_unchanged`."""
    if misfit is None and not (fields.kinds == kernels.UNCHANGED).any():
        return pa.nulls(fields.ops.size, pa.binary())
    unsent = _unsent(layout, fields)
    return unchanged_bits(unsent, misfit) if misfit is None else unchanged_bits(unsent & ~misfit, misfit)


def _unsent(layout: Layout, fields: Fields) -> np.ndarray:
    """Which values were left out because they did not change, bool [column, row]."""
    wire = np.array(layout.wire)
    return np.where(wire[:, None] >= 0, (fields.kinds == kernels.UNCHANGED)[wire], False)


def _reject(layout: Layout, fields: Fields, places: Places, raw: record.Raw, row: int, place: int) -> dict[str, object]:
    """The reject of the row `row`, which has a value that the column at `place` cannot hold."""
    table = layout.table
    column, at, weight = table.columns[place], int(fields.record_of[row]), int(fields.weights[row])
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
        "record": record.frame(record.Record(layout, form, data, commit, ordinal, time_us, weight)),
        "weight": weight,
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
