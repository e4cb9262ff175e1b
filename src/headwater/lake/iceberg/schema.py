"""Schemas between Arrow and Iceberg: types, field ids, and columns as files hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from headwater.lake.columns import lake_columns
from headwater.schema import with_column_id

FIELD_ID = b"PARQUET:field_id"

NOTE = "headwater.column: "
"""How a column's doc begins; then comes the id that its source has for it."""

_PLAIN: Mapping[pa.DataType, IcebergType] = {
    pa.bool_(): BooleanType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.float32(): FloatType(),
    pa.float64(): DoubleType(),
    pa.date32(): DateType(),
    pa.time64("us"): TimeType(),
    pa.timestamp("us"): TimestampType(),
    pa.timestamp("us", "UTC"): TimestamptzType(),
    pa.string(): StringType(),
    pa.binary(): BinaryType(),
    pa.uuid(): UUIDType(),
}


def file_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema to write a data file with: lake types that carry Iceberg's field ids down to the leaves."""
    return pa.schema([_small(field) for field in schema_to_pyarrow(schema, include_field_ids=True)])


def _small(field: pa.Field) -> pa.Field:
    """The field with 32-bit offsets in place of PyIceberg's large types; ids kept."""
    kind = field.type
    if pa.types.is_large_string(kind):
        kind = pa.string()
    elif pa.types.is_large_binary(kind):
        kind = pa.binary()
    elif pa.types.is_large_list(kind):
        kind = pa.list_(_small(kind.value_field))
    elif pa.types.is_map(kind):
        kind = pa.map_(_small(kind.key_field), _small(kind.item_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([_small(child) for child in kind])
    return field.with_type(kind)


def columns_of(schema: Schema) -> pa.Schema:
    """A table's columns as Arrow lake types, with the ids that their sources have for them."""
    columns = lake_columns(schema_to_pyarrow(schema, include_field_ids=False))
    ids = {field.name: (field.doc or "") for field in schema.fields}
    noted = {name: doc.removeprefix(NOTE) for name, doc in ids.items() if doc.startswith(NOTE)}
    return pa.schema([with_column_id(f, noted[f.name]) if f.name in noted else f for f in columns])


def iceberg_type(kind: pa.DataType, ids: Iterator[int]) -> IcebergType:
    """The Iceberg type of a lake type; fields inside it get the next of `ids`, all optional but the keys of maps."""
    if pa.types.is_struct(kind):
        own = [(next(ids), child) for child in kind]
        return StructType(
            *(NestedField(number, c.name, iceberg_type(c.type, ids), required=False) for number, c in own)
        )
    if pa.types.is_list(kind):
        element = next(ids)
        return ListType(element, iceberg_type(kind.value_type, ids), element_required=False)
    if pa.types.is_map(kind):
        key, value = next(ids), next(ids)
        return MapType(key, iceberg_type(kind.key_type, ids), value, iceberg_type(kind.item_type, ids), False)
    if pa.types.is_decimal(kind):
        return DecimalType(kind.precision, kind.scale)
    if pa.types.is_fixed_size_binary(kind) and kind != pa.uuid():
        return FixedType(kind.byte_width)
    return _PLAIN[kind]


def find_field(schema: Schema, name: str) -> NestedField | None:
    """A top-level column by its exact name, which may have dots in it."""
    return next((field for field in schema.fields if field.name == name), None)


def fill_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` in the columns of a file: those that the rows lack, also inside of nested ones, are null."""
    count, held = rows.num_rows, set(rows.column_names)
    columns = [
        _chunkwise(rows.column(f.name), f.type, None) if f.name in held else pa.nulls(count, f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)


def project(rows: pa.Table, ids: dict[int, str], schema: Schema, columns: pa.Schema) -> pa.Table:
    """A file's rows in a table's columns, found by field id down to the leaves: a column or nested field that was
    renamed is the one that it was, one that was dropped and made again under its name is not.

    Args:
        rows: as read from the file, with the field ids that Parquet has.
        ids: the file's top-level column names by field id.
        schema: the table's schema, which gives the ids of `columns`.
        columns: what to return, lake types; null if the schema or the file has none of the name.
    """
    found = []
    for field in columns:
        now = find_field(schema, field.name)
        name = ids.get(now.field_id) if now is not None else None
        if name is None or now is None:
            found.append(pa.nulls(rows.num_rows, field.type))
        else:
            found.append(_chunkwise(rows.column(name), field.type, now.field_type))
    return pa.table(found, schema=columns)


def _chunkwise(values: pa.ChunkedArray, kind: pa.DataType, now: IcebergType | None) -> pa.ChunkedArray:
    if not pa.types.is_nested(kind):
        return values if values.type.equals(kind) else pc.cast(values, kind)
    return pa.chunked_array([_adapted(chunk, kind, now) for chunk in values.chunks], kind)


def _adapted(values: pa.Array, kind: pa.DataType, now: IcebergType | None) -> pa.Array:
    """Values of a column as they are in another type.

    Args:
        values: as they are; nested fields carry Parquet's field ids if `now` is given.
        kind: the type to return.
        now: the same as Iceberg has it, whose field ids say which field is which; names do if None, or where the file
            has no ids.
    """
    if pa.types.is_struct(kind):
        return _adapted_struct(values, kind, now)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        values = pa.concat_arrays([values, values.slice(0, 0)]) if values.offset else values
        gone = np.append(values.is_null().to_numpy(zero_copy_only=False), False)
        offsets = pa.array(values.offsets.to_numpy(), pa.int32(), mask=gone if gone.any() else None)
        if pa.types.is_list(kind):
            inner = now.element_type if isinstance(now, ListType) else None
            return pa.ListArray.from_arrays(offsets, _adapted(values.values, kind.value_type, inner), type=kind)
        key, item = (now.key_type, now.value_type) if isinstance(now, MapType) else (None, None)
        keys, items = _adapted(values.keys, kind.key_type, key), _adapted(values.items, kind.item_type, item)
        return pa.MapArray.from_arrays(offsets, keys, items, type=kind)
    return values if values.type.equals(kind) else pc.cast(values, kind)


def _adapted_struct(values: pa.StructArray, kind: pa.StructType, now: IcebergType | None) -> pa.StructArray:
    fields, parts = list(values.type), values.flatten()
    by_id = {_id_of(field): part for field, part in zip(fields, parts, strict=True) if _id_of(field) is not None}
    by_name = {field.name: part for field, part in zip(fields, parts, strict=True)}
    children = []
    for field in kind:
        inner = _child(now, field.name)
        held = by_id.get(inner.field_id) if inner is not None and by_id else by_name.get(field.name)
        nothing = held is None or (now is not None and inner is None)
        children.append(
            pa.nulls(len(values), field.type)
            if nothing
            else _adapted(held, field.type, inner.field_type if inner is not None else None)
        )
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=values.is_null())


def _child(kind: IcebergType | None, name: str) -> NestedField | None:
    fields = kind.fields if isinstance(kind, StructType) else ()
    return next((field for field in fields if field.name == name), None)


def _id_of(field: pa.Field) -> int | None:
    return int(field.metadata[FIELD_ID]) if field.metadata and FIELD_ID in field.metadata else None
