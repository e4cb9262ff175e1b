"""From one version of a stream's columns to the next: which column is which, and what becomes of the rows there are.

A column is known by its id (`headwater.schema.column_id`), so a rename is one, and a column dropped and made again
under its name is not. Where a source gives no ids, the name decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import CHANGE_COLUMNS, WEIGHT, log_schema
from headwater.schema import DEFAULT, PROMISED, StreamSchema, column_id, default_of

EMPTIED = b"headwater.emptied"
"""Field metadata: a column that went, null in all rows."""

GONE = b"headwater.gone"
"""Field metadata: a column that the source no longer has. Its values stay in the rows that are there."""

_CHANGE_COLUMNS = [field.name for field in CHANGE_COLUMNS]


@dataclass(frozen=True)
class Evolution:
    """How rows of the columns before become rows of the columns after.

    Attributes:
        columns: the columns after: those before, renamed and retyped, then those that came. One that went stays.
        origin: for each of them the name that it had before; None if it came.
        refills: rows that are there change their values: a column came with a default, or has a type that is not
            simply a wider one.
        same: nothing is different.
    """

    columns: pa.Schema
    origin: tuple[str | None, ...]
    refills: bool
    same: bool

    def carry(self, rows: pa.Table) -> pa.Table:
        """Rows of the columns before, perhaps with a `_weight`, in the columns after. A value that has no place in its
        new type is null: whoever sends such a change sends the rows again."""
        arrays = [self._column(rows, field, name) for field, name in zip(self.columns, self.origin, strict=True)]
        fields = list(self.columns)
        if WEIGHT in rows.column_names:
            arrays.append(rows.column(WEIGHT))
            fields.append(rows.schema.field(WEIGHT))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _column(self, rows: pa.Table, field: pa.Field, origin: str | None) -> pa.ChunkedArray | pa.Array:
        if origin is not None:
            return recast(rows.column(origin), field.type)
        default = default_of(field)
        if default is None:
            return pa.nulls(rows.num_rows, field.type)
        return pa.repeat(default.cast(field.type), rows.num_rows)


def evolution(before: StreamSchema, now: StreamSchema) -> Evolution:
    """Holds the columns that a source sends now against those that are known."""
    matched = _matches(before.columns, now.columns)
    taken = {field.name.casefold() for field in now.columns}
    fields: list[pa.Field] = []
    origin: list[str | None] = []
    refills = False
    for field in before.columns:
        successor = matched.get(field.name)
        if successor is not None and is_promised(field):
            refills |= default_of(now.columns.field(successor)) is not None
            fields.append(now.columns.field(successor).with_nullable(True))
            origin.append(None)
            continue
        if successor is not None:
            sent = now.columns.field(successor)
            kind, plain = _joined_type(field.type, sent.type)
            refills |= not plain
            fields.append(sent.with_type(kind).with_nullable(field.nullable or sent.nullable))
        elif field.name.casefold() in taken:
            refills = True
            continue
        elif now.changelog == "full" and not {EMPTIED, PROMISED} & set(field.metadata or {}):
            refills = True  # old rows are sent without it, and must be found
            fields.append(field.with_nullable(True).with_metadata({**_lasting(field), EMPTIED: b"1", GONE: b"1"}))
            origin.append(None)
            continue
        else:
            mark = {} if is_promised(field) else {GONE: b"1"}
            fields.append(field.with_nullable(True).with_metadata({**(field.metadata or {}), **mark}))
        origin.append(field.name)
    for field in now.columns:
        if field.name not in matched.values():
            refills |= default_of(field) is not None
            fields.append(field.with_nullable(True))
            origin.append(None)
    columns = pa.schema(fields, before.columns.metadata)
    return Evolution(columns, tuple(origin), refills, columns.equals(before.columns, check_metadata=True))


def restart(before: StreamSchema, now: StreamSchema) -> StreamSchema:
    """The version that a stream without rows goes on with: what its source sends now. What is known besides is not
    forgotten, for a change that is still on its way may bring it."""
    matched = _matches(before.columns, now.columns)
    return promise(now, pa.schema([field for field in before.columns if field.name not in matched]))


def promise(stream: StreamSchema, columns: pa.Schema) -> StreamSchema:
    """The stream with those of `columns` that it does not know, null until a change brings them."""
    known = _matches(columns, stream.columns)
    names = {field.name.casefold() for field in stream.columns}
    new = [field for field in columns if field.name not in known and field.name.casefold() not in names]
    marked = [field.with_metadata({**_lasting(field), PROMISED: b"1"}).with_nullable(True) for field in new]
    return StreamSchema(stream.name, pa.schema([*stream.columns, *marked]), stream.key, stream.changelog)


def _lasting(field: pa.Field) -> dict[bytes, bytes]:
    return {name: value for name, value in (field.metadata or {}).items() if name != DEFAULT}


def gone(columns: pa.Schema) -> frozenset[str]:
    """The columns that a source no longer has."""
    return frozenset(field.name for field in columns if GONE in (field.metadata or {}))


def is_promised(field: pa.Field) -> bool:
    """Whether no change has brought the column yet."""
    return PROMISED in (field.metadata or {})


def align(rows: pa.RecordBatch | pa.Table, stream: StreamSchema, columns: pa.Schema) -> pa.Table:
    """Changes of a stream in the columns in force, which are the result of `evolution` up to `stream`."""
    matched = {after: name for name, after in _matches(stream.columns, columns).items()}
    arrays = [
        rows.column(matched[field.name]).cast(field.type)
        if field.name in matched
        else pa.nulls(rows.num_rows, field.type)
        for field in columns
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def realigned(rows: pa.Table, stream: StreamSchema) -> pa.RecordBatch:
    """Log rows of a version of a stream as rows of the present one; a column that was not there then is null."""
    columns = log_schema(stream)
    if rows.schema.equals(columns):
        return rows.to_batches()[0]
    own = pa.schema([field for field in rows.schema if field.name not in _CHANGE_COLUMNS])
    then = StreamSchema(stream.name, own)
    aligned = align(rows.select(own.names), then, stream.columns)
    changes = [rows.column(name) for name in _CHANGE_COLUMNS]
    return pa.Table.from_arrays([*changes, *aligned.columns], schema=columns).combine_chunks().to_batches()[0]


def _matches(before: pa.Schema, now: pa.Schema) -> dict[str, str]:
    """Which column of `now` continues which of `before`, by name."""
    by_id = {column_id(field): field.name for field in now if column_id(field) is not None}
    found: dict[str, str] = {}
    for field in before:
        identity = column_id(field)
        if identity is not None and identity in by_id:
            found[field.name] = by_id[identity]
        elif field.name in now.names and (identity is None or column_id(now.field(field.name)) is None):
            found[field.name] = field.name
    return found


def _joined_type(before: pa.DataType, now: pa.DataType) -> tuple[pa.DataType, bool]:
    """The type of a column from now on, and whether it simply holds what was there: the wider of the two, or else the
    new one."""
    if before.equals(now) or widens(now, before):
        return before, True
    return now, widens(before, now)


def widens(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of a type is the same value in another, in which open table formats hold it as well without a
    file being written again."""
    if pa.types.is_integer(old) and pa.types.is_integer(new):
        signed = pa.types.is_signed_integer(old) and pa.types.is_signed_integer(new)
        return bool(signed and new.bit_width >= old.bit_width)
    if pa.types.is_decimal128(old) and pa.types.is_decimal128(new):
        return bool(new.scale == old.scale and new.precision >= old.precision)
    if pa.types.is_floating(old) and pa.types.is_floating(new):
        return bool(new.bit_width >= old.bit_width)
    return False


def recast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """Values in another type; all null if one of them has no place in it."""
    if values.type.equals(kind):
        return values
    try:
        return pc.cast(values, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(values), kind)
