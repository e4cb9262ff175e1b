"""From the bytes of rows to Arrow batches: one path for the snapshot, the stream and records decoded once more.

`kernels_rows` finds every field of a run of events, `convert` turns each column into Arrow's type at once. A row with a
value that does not fit goes to the rejects, its record whole, and the rest goes on.

Row images that leave columns out (`binlog_row_image` MINIMAL or NOBLOB): of an update of a table with a key the column
is marked unchanged; of one without a key it is taken from the image before; of an insert it is the column's default.
What cannot be known stops the source rather than become a null.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.capture.mysql import convert, kernels_rows, record, sizes
from headwater.capture.mysql.convert import Values
from headwater.capture.mysql.events import EventType, broken
from headwater.capture.mysql.kernels_rows import ABSENT
from headwater.capture.mysql.table import Layout
from headwater.capture.mysql.table_map import TableMap
from headwater.capture.mysql.types import Column
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
from headwater.errors import InvariantBroken, SourceStopped, UserError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Row events of one table under one table map, in the order of the log; arrays of one value per event.

    Attributes:
        table_map: under which they were written.
        buffer: uint8 (`Events.buffer`).
        types, begins, ends: their type and body.
    """

    table_map: TableMap
    buffer: NDArray[np.uint8]
    types: NDArray[np.uint8]
    begins: Integers
    ends: Integers


@dataclass(frozen=True)
class Places:
    """Where each event, or row of a snapshot, stands: arrays of one value per event or row.

    Attributes:
        commits: uint64 `Position.commit`.
        ordinals: int64 `Position.ordinal`; of an event that of its first row, the others count on from it.
        times_us: int64 commit times, microseconds since 1970 UTC; None if unknown.
    """

    commits: NDArray[np.uint64]
    ordinals: Integers
    times_us: Integers | None


@dataclass(frozen=True)
class Decoded:
    """What became of a run: its batch (None if nothing is left), its rejects (rows of `REJECT_SCHEMA`), and how many
    records it had, an update as one."""

    batch: ChangeBatch | None
    rejects: list[dict[str, object]]
    records: int


@dataclass(frozen=True)
class _Fields:
    """The fields of rows: arrays [field, row] of where each value starts, its length and kind, and per row the event
    and record it came from, the record's bytes, its `Op` and its weight."""

    buffer: NDArray[np.uint8]
    starts: Integers
    lengths: Integers
    kinds: NDArray[np.uint8]
    bases: Integers
    event_of: Integers
    number_of: Integers
    froms: Integers
    tos: Integers
    ops: NDArray[np.uint8]
    weights: NDArray[np.int8]

    def values(self, field: int) -> Values:
        """One field's values; all null for -1."""
        if field < 0:
            rows = self.ops.size
            nothing = np.zeros(rows, np.int64)
            return Values(self.buffer, nothing, nothing, np.zeros(rows, np.uint8))
        bases = self.bases[:, field] if self.bases.size else None
        return Values(self.buffer, self.starts[field], self.lengths[field], self.kinds[field], bases)


def count_rows(rows: Rows, layout: Layout | None = None) -> Integers:
    """How many rows each event has, an update counted as one: int64 per event.

    Args:
        rows: the events.
        layout: the table's, for sizes that the table map does not tell (MariaDB's older temporal types); None for a
            table that is not captured.

    Raises:
        SourceStopped: an event is not what its table map says.
    """
    found = sizes.of(rows.table_map, layout)
    counts = np.zeros(rows.types.size, np.int64)
    done = kernels_rows.count_rows(rows.buffer, rows.types, rows.begins, rows.ends, *found, counts)
    if done < 0:
        raise _misshapen(rows.table_map, int(rows.types[-1 - done]))
    return counts


def decode_events(layout: Layout, rows: Rows, places: Places) -> Decoded:
    """Decodes row events.

    Args:
        layout: the table, and where its columns stand in the rows.
        rows: the events.
        places: per event.

    Raises:
        SourceStopped: an event is not what its table map says, the table's definition is not the one that they were
            written under, or what they leave out cannot be known.
    """
    if layout.width != rows.table_map.width:
        raise SourceStopped(
            f"table {layout.table.qualified} has {layout.width} columns here and {rows.table_map.width} in the binlog: "
            "its definition here is not the one that these rows were written under",
            hint="take a new snapshot of the table: headwater snapshot SOURCE.TABLE",
        )
    fields = _scan(layout, rows)
    _require_whole(layout, fields)

    def read(column: Column, field: int) -> convert.Converted:
        return convert.from_wire(column, rows.table_map.types[field], rows.table_map.metas[field], fields.values(field))

    def raw(row: int) -> tuple[int, bytes]:
        event = int(fields.event_of[row])
        begin, kind = int(rows.begins[event]), int(rows.types[event])
        _, _, first = kernels_rows.open_event(rows.buffer, kind, begin, int(rows.ends[event]), layout.width)
        head, image = slice(begin, first), slice(int(fields.froms[row]), int(fields.tos[row]))
        return kind, rows.buffer[head].tobytes() + rows.buffer[image].tobytes()

    return _Assembly(layout, fields, places, read, raw, rows.table_map).decoded()


def decode_text(layout: Layout, buffer: NDArray[np.uint8], begins: Integers, ends: Integers, places: Places) -> Decoded:
    """Decodes rows of the text protocol, selected by `types.select_expression` in the order of `layout.wire`.

    Args:
        layout: the table.
        buffer: uint8.
        begins, ends: per row, the payload of its packet.
        places: per row.

    Raises:
        InvariantBroken: a row does not have the right number of fields.
        SourceStopped: a value is not of its column's type at all.
    """
    count = begins.size
    starts, lengths = np.zeros((layout.width, count), np.int64), np.zeros((layout.width, count), np.int64)
    kinds = np.zeros((layout.width, count), np.uint8)
    done = kernels_rows.scan_text_rows(buffer, begins, ends, starts, lengths, kinds)
    if done < 0:
        raise InvariantBroken(f"row {-1 - done} of a SELECT does not have {layout.width} fields")
    numbers, no_bases = np.arange(count), np.empty((0, 0, 0), np.int64)
    ops, weights = np.full(count, Op.READ, np.uint8), np.ones(count, np.int8)
    fields = _Fields(
        buffer, starts, lengths, kinds, no_bases, numbers, np.zeros(count, np.int64), begins, ends, ops, weights
    )

    def read(column: Column, field: int) -> convert.Converted:
        return convert.from_text(column, fields.values(field))

    def raw(row: int) -> tuple[int, bytes]:
        return record.TEXT, buffer[int(begins[row]) : int(ends[row])].tobytes()

    return _Assembly(layout, fields, places, read, raw, None).decoded()


def decode_record(found: record.Record, layout: Layout) -> ChangeBatch:
    """Decodes a rejected record once more: the row of it that was rejected.

    Args:
        found: the record.
        layout: its own, or the same with other settings.

    Raises:
        UserError: the row still cannot be held.
    """
    decoded = _decoded_again(found, layout)
    still = next((reject for reject in decoded.rejects if reject["weight"] == found.weight), None)
    if still is not None or decoded.batch is None:
        why = str(still["message"]) if still else "the record brings no row"
        raise UserError(why, hint="add the column to the source's text_columns")
    batch = decoded.batch.rows
    return ChangeBatch(decoded.batch.stream, batch.filter(pc.equal(batch.column("_weight"), found.weight)))


def _decoded_again(found: record.Record, layout: Layout) -> Decoded:
    """All rows of a record."""
    data = np.frombuffer(found.data, np.uint8)
    begins, ends = np.zeros(1, np.int64), np.array([data.size])
    times = None if found.time_us is None else np.array([found.time_us])
    places = Places(np.array([found.commit], np.uint64), np.array([found.ordinal]), times)
    if found.kind == record.TEXT:
        return decode_text(layout, data, begins, ends, places)
    table, nullable = layout.table, (True,) * len(found.types)
    described = TableMap(0, table.database, table.name, found.types, found.metas, nullable)
    return decode_events(layout, Rows(described, data, np.array([found.kind], np.uint8), begins, ends), places)


def as_text(data: bytes) -> list[dict[str, object]]:
    """The rows of a rejected record for people: every value as text, null if it is null or was not sent.

    Args:
        data: as `record.frame` made it.

    Returns:
        One dict for each row, old and new, with the values by column and the row's `_weight`.

    Raises:
        UserError: these bytes are not a record of a MySQL source.
    """
    found = record.unframe(data)
    table = found.layout.table
    columns = tuple(replace(column, as_text=True) for column in table.columns)
    shown = _decoded_again(found, replace(found.layout, table=replace(table, columns=columns)))
    if shown.batch is None:
        return []
    names = [column.name for column in columns]
    return [{**{name: row[name] for name in names}, WEIGHT: row[WEIGHT]} for row in shown.batch.rows.to_pylist()]


def truncation(layout: Layout, commit: int, ordinal: int, time_us: int | None) -> ChangeBatch:
    """A batch of one TRUNCATE: the statement, or a snapshot that begins again."""
    stream = layout.table.stream
    arrays = [
        pa.array([Op.TRUNCATE], pa.uint8()),
        pa.array([-1], pa.int8()),
        pa.array([commit], pa.uint64()),
        pa.array([ordinal], pa.int64()),
        pa.array([time_us], pa.int64()).cast(CHANGE_COLUMNS[4].type),
        pa.nulls(1, pa.binary()),
        *(pa.nulls(1, column.type) for column in stream.columns),
    ]
    return ChangeBatch(stream, pa.RecordBatch.from_arrays(arrays, schema=log_schema(stream)))


def reject_batch(rejects: list[dict[str, object]]) -> pa.RecordBatch | None:
    """Rejects as Arrow rows; None if there are none."""
    return pa.RecordBatch.from_pylist(rejects, REJECT_SCHEMA) if rejects else None


def _misshapen(table_map: TableMap, kind: int) -> SourceStopped:
    what = f"a row event of type {kind} is not what the table map of {table_map.database}.{table_map.table} says"
    if kind == EventType.PARTIAL_UPDATE_ROWS:
        what += " (or it has changes to a JSON document without the document: binlog_row_image is not FULL)"
    return broken(what)


def _scan(layout: Layout, rows: Rows) -> _Fields:
    """Finds the fields of all rows."""
    found = sizes.of(rows.table_map, layout)
    updates = np.isin(rows.types, (24, 31, 39))
    counts = count_rows(rows, layout)
    room = int(counts.sum() + counts[updates].sum()) + 2
    width = layout.width
    starts, lengths = np.zeros((width, room), np.int64), np.zeros((width, room), np.int64)
    kinds = np.zeros((width, room), np.uint8)
    partial = (rows.types == EventType.PARTIAL_UPDATE_ROWS).any()
    bases = np.zeros((2, width, room) if partial else (0, 0, 0), np.int64)
    heads = np.zeros((4, room), np.int64)
    ops, weights = np.zeros(room, np.uint8), np.zeros(room, np.int8)
    key = np.zeros(width, bool)
    places = {column.name: field for column, field in zip(layout.table.columns, layout.wire, strict=True)}
    key[[places[name] for name in layout.table.key if places[name] >= 0]] = True
    keyed = layout.table.changelog == "upsert"
    where = rows.buffer, rows.types, rows.begins, rows.ends
    fields = starts, lengths, kinds
    count = kernels_rows.scan_rows(*where, *found, key, keyed, fields, bases, heads, ops, weights)
    if count < 0:
        raise _misshapen(rows.table_map, int(rows.types[-1 - count]))
    cut = (slice(None), slice(count))
    bases = bases[:, :, :count] if bases.size else bases
    event_of, number_of, froms, tos = heads[cut]
    found_fields = starts[cut], lengths[cut], kinds[cut], bases
    return _Fields(rows.buffer, *found_fields, event_of, number_of, froms, tos, ops[:count], weights[:count])


def _require_whole(layout: Layout, fields: _Fields) -> None:
    """Stops at rows that leave out what nobody else knows."""
    absent = fields.kinds == ABSENT
    if not absent.any():
        return
    inserts = fields.ops == Op.INSERT
    keyed = layout.table.changelog == "upsert"
    for column, field in zip(layout.table.columns, layout.wire, strict=True):
        if field < 0 or not absent[field].any():
            continue
        unknown = absent[field] & ~inserts if not keyed else np.zeros(inserts.size, bool)
        if not column.default_known:
            unknown |= absent[field] & inserts
        if column.name in layout.table.key:
            unknown |= absent[field]
        if unknown.any():
            raise SourceStopped(
                f"a row image of table {layout.table.qualified} leaves out column {column.name!r}, and what it holds "
                "cannot be known",
                hint="SET GLOBAL binlog_row_image = 'FULL', let sessions connect anew, and take a new snapshot of the "
                "table: headwater snapshot SOURCE.TABLE",
            )


@dataclass(frozen=True)
class _Assembly:
    """Puts a run together from its fields.

    Attributes:
        read: converts a column's field.
        raw: a row's record: its kind and bytes.
        table_map: None for the text protocol.
    """

    layout: Layout
    fields: _Fields
    places: Places
    read: Callable[[Column, int], convert.Converted]
    raw: Callable[[int], tuple[int, bytes]]
    table_map: TableMap | None

    def decoded(self) -> Decoded:
        """Converts every column, rejects rows with a value that does not fit, and puts the change columns before the
        rest. A rejected row of a table with a key stays in the batch, marked, if its key can be held
        (`headwater.change`)."""
        stream = self.layout.table.stream
        arrays: list[pa.Array] = []
        bad: dict[int, NDArray[np.bool_]] = {}
        for place, (column, field) in enumerate(zip(self.layout.table.columns, self.layout.wire, strict=True)):
            array, wrong = self._column(column, field)
            arrays.append(array)
            if wrong is not None and wrong.any():
                bad[place] = wrong
        records = self._records()
        total = int(records[-1]) + 1 if records.size else 0
        misfit = self._misfit(bad, records) if bad else None
        batch = pa.RecordBatch.from_arrays(self._change_columns(misfit) + arrays, schema=log_schema(stream))
        rejects: list[dict[str, object]] = []
        if misfit is not None:
            batch = batch.filter(pa.array(self._goes_on(misfit)))
            rejected = np.flatnonzero(misfit.any(axis=0)).tolist()
            keys = self._keys(arrays, misfit)
            rejects = [self._reject(row, int(np.argmax(misfit[:, row])), keys) for row in rejected]
        return Decoded(ChangeBatch(stream, batch) if batch.num_rows else None, rejects, total)

    def _misfit(self, bad: dict[int, NDArray[np.bool_]], records: Integers) -> NDArray[np.bool_]:
        """Which values cannot be held, bool [column, row]. What an update did not send of a row whose old key cannot be
        held cannot be known either, for that row is not here."""
        misfit = np.zeros((len(self.layout.table.columns), records.size), bool)
        for place, wrong in bad.items():
            misfit[place] = wrong
        nameless = np.flatnonzero(misfit[:, :-1].any(axis=0) & (self.fields.weights[:-1] < 0))
        after = nameless[records[nameless] == records[nameless + 1]] + 1
        misfit[:, after] |= self._unsent()[:, after]
        return misfit

    def _goes_on(self, misfit: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows are changes nevertheless."""
        table = self.layout.table
        if table.changelog != "upsert":
            return np.asarray(~misfit.any(axis=0))
        key = np.array([column.name in table.key for column in table.columns])
        return np.asarray(~misfit[key].any(axis=0) & ((self.fields.weights > 0) | ~misfit.any(axis=0)))

    def _keys(self, arrays: list[pa.Array], misfit: NDArray[np.bool_]) -> list[pa.Array]:
        """The key's columns as text; where one cannot be held, as the server prints it."""
        table, found = self.layout.table, []
        for place, (column, field) in enumerate(zip(table.columns, self.layout.wire, strict=True)):
            if column.name in table.key:
                texts = pa.array(key_text(arrays[place]), pa.string())
                if misfit[place].any():
                    printed, _ = self.read(replace(column, as_text=True), field)
                    texts = pc.if_else(pa.array(misfit[place]), printed, texts)
                found.append((table.key.index(column.name), texts))
        return [texts for _, texts in sorted(found, key=lambda entry: entry[0])]

    def _records(self) -> Integers:
        """Per row the number of its record within the run."""
        fields = self.fields
        if not fields.ops.size:
            return np.zeros(0, np.int64)
        begins = np.ones(fields.ops.size, bool)
        begins[1:] = (np.diff(fields.event_of) != 0) | (np.diff(fields.number_of) != 0)
        return np.cumsum(begins) - 1

    def _column(self, column: Column, field: int) -> convert.Converted:
        """A column's values, and where they do not fit."""
        if field < 0:
            return pa.nulls(self.fields.ops.size, column.arrow_type), None
        array, bad = self.read(column, field)
        absent = (self.fields.kinds[field] == ABSENT) & (self.fields.ops == Op.INSERT)
        if absent.any() and column.default is not None:
            array = pc.if_else(pa.array(absent), convert.default_value(column, column.default or ""), array)
        if bad is not None:
            array = pc.if_else(pa.array(bad), pa.scalar(None, array.type), array)
        return array, bad

    def _change_columns(self, misfit: NDArray[np.bool_] | None) -> list[pa.Array]:
        """The change columns, in the order of `CHANGE_COLUMNS`."""
        fields, places = self.fields, self.places
        at = fields.event_of
        time_type = CHANGE_COLUMNS[4].type
        times = (
            pa.nulls(at.size, time_type) if places.times_us is None else pa.array(places.times_us[at]).cast(time_type)
        )
        return [
            pa.array(fields.ops, pa.uint8()),
            pa.array(fields.weights, pa.int8()),
            pa.array(places.commits[at], pa.uint64()),
            pa.array(places.ordinals[at] + fields.number_of, pa.int64()),
            times,
            self._marks(misfit),
        ]

    def _marks(self, misfit: NDArray[np.bool_] | None) -> pa.Array:
        """The bits of `_unchanged`."""
        if misfit is None and not (self.fields.kinds == ABSENT).any():
            return pa.nulls(self.fields.ops.size, pa.binary())
        unsent = self._unsent()
        return unchanged_bits(unsent) if misfit is None else unchanged_bits(unsent & ~misfit, misfit)

    def _unsent(self) -> NDArray[np.bool_]:
        """Which values updates left out, bool [column, row]."""
        fields, wire = self.fields, np.array(self.layout.wire)
        untouched = (fields.kinds == ABSENT) & (fields.ops == Op.UPDATE)
        return np.where(wire[:, None] >= 0, untouched[wire], False)

    def _reject(self, row: int, place: int, keys: list[pa.Array]) -> dict[str, object]:
        """The reject of `row`, which has a value that the column at `place` cannot hold."""
        table, fields, places = self.layout.table, self.fields, self.places
        column, at, weight = table.columns[place], int(fields.event_of[row]), int(fields.weights[row])
        kind, data = self.raw(row)
        commit, ordinal = int(places.commits[at]), int(places.ordinals[at] + fields.number_of[row])
        time_us = None if places.times_us is None else int(places.times_us[at])
        types, metas = (self.table_map.types, self.table_map.metas) if self.table_map else ((), ())
        whole = record.Record(self.layout, kind, types, metas, data, commit, ordinal, time_us, weight)
        return {
            "stream": table.stream.name,
            "stage": "decode",
            "reason": column.misfit,
            "message": f"table {table.qualified}, column {column.name} ({column.source_type}): a value that "
            f"{column.arrow_type} cannot hold; text_columns: ['{table.name}.{column.name}'] captures it as text",
            "position": f"{commit}:{ordinal}",
            "key": json.dumps([texts[row].as_py() for texts in keys]) if keys else "",
            "record": record.frame(whole),
            "weight": weight,
        }
