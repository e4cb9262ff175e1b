"""Columns between lake types and Delta's schema (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format).

| lake | Delta |
|---|---|
| bool, int32, int64, float32, float64 | boolean, integer, long, float, double |
| decimal128, date32, string, binary | decimal, date, string, binary |
| timestamp[us, UTC], timestamp[us] | timestamp, timestamp_ntz |
| list, struct, map | array, struct, map |
| time64[us], uuid | string, as text |
| fixed_size_binary | binary |

What a column of the last two rows is for Headwater stands in the column's metadata.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headwater.errors import UserError
from headwater.lake.files.version import Column, Shape
from headwater.schema import column_id, with_column_id

MAPPING_ID, MAPPING_NAME = "delta.columnMapping.id", "delta.columnMapping.physicalName"
_COLUMN, _TYPE, _NUMBER = "headwater.column", "headwater.type", "headwater.number"
_NESTED = 100_000
_ODD_NAME = re.compile(r"[ ,;{}()\n\t=]")
"""Characters that Delta's columns cannot have in files (PROTOCOL.md, "Column Mapping")."""

_NAMES: Mapping[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.timestamp("us", tz="UTC"): "timestamp",
    pa.timestamp("us"): "timestamp_ntz",
}
_TYPES: Mapping[str, pa.DataType] = {
    **{name: kind for kind, name in _NAMES.items()},
    "byte": pa.int32(),
    "short": pa.int32(),
}


def stored(kind: pa.DataType) -> pa.DataType:
    """The type that files have for a lake type."""
    if pa.types.is_time(kind) or kind == pa.uuid():
        return pa.string()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(stored(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(stored(kind.key_type), stored(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", stored(kind.value_type)))
    return kind


def needs_mapping(shape: Shape) -> bool:
    """Whether columns are called otherwise in files, or in a way that files cannot have."""
    return any(c.name != c.field.name or _ODD_NAME.search(c.field.name) for c in shape.columns)


def has_plain_timestamps(kind: pa.DataType | pa.Schema) -> bool:
    """Whether there is a timestamp without a zone, at any depth: a table feature of its own."""
    if isinstance(kind, pa.Schema):
        return any(has_plain_timestamps(field.type) for field in kind)
    if pa.types.is_nested(kind):
        return any(has_plain_timestamps(kind.field(i).type) for i in range(kind.num_fields))
    return bool(kind == pa.timestamp("us"))


def schema_fields(shape: Shape, *, mapped: bool) -> list[dict[str, Any]]:
    """A table's columns as Delta's schema lists them."""
    return [_column(column, mapped=mapped) for column in shape.columns]


def _column(column: Column, *, mapped: bool) -> dict[str, Any]:
    kind = column.field.type
    metadata: dict[str, Any] = {MAPPING_ID: column.number, MAPPING_NAME: column.name} if mapped else {}
    metadata[_NUMBER] = column.number
    identity = column_id(column.field)
    if identity is not None:
        metadata[_COLUMN] = identity
    if stored(kind) != kind:
        packed = pa.schema([pa.field("type", kind)]).serialize().to_pybytes()
        metadata[_TYPE] = base64.b64encode(packed).decode()
    counter = iter(range(_NESTED + column.number * 1000, _NESTED + (column.number + 1) * 1000)) if mapped else None
    return {"name": column.field.name, "type": _type(stored(kind), counter), "nullable": True, "metadata": metadata}


def highest_number(shape: Shape) -> int:
    """`delta.columnMapping.maxColumnId`: no column or nested field has a higher number."""
    return _NESTED + (shape.last + 1) * 1000


def _type(kind: pa.DataType, numbers: Any) -> Any:
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": [_nested(field, numbers) for field in kind]}
    if pa.types.is_map(kind):
        key, value = _type(kind.key_type, numbers), _type(kind.item_type, numbers)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": _type(kind.value_type, numbers), "containsNull": True}
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _NAMES[kind]


def _nested(field: pa.Field, numbers: Any) -> dict[str, Any]:
    metadata = {MAPPING_ID: next(numbers), MAPPING_NAME: field.name} if numbers is not None else {}
    return {"name": field.name, "type": _type(field.type, numbers), "nullable": True, "metadata": metadata}


def shape_of(fields: list[dict[str, Any]], last: int, table: str) -> Shape:
    """The columns that a Delta schema lists, of a table of ours or another writer's.

    Args:
        fields: as in the log.
        last: the highest number given away, 0 if it is not noted.
        table: the table's name, for messages.

    Raises:
        UserError: a type that Headwater has no counterpart for.
    """
    columns = []
    for given in fields:
        metadata = given.get("metadata") or {}
        number = metadata.get(_NUMBER, metadata.get(MAPPING_ID))
        if number is None:  # another writer's column
            number = last = 1 + max([last, *(f.get("metadata", {}).get(_NUMBER, 0) for f in fields)])
        field = pa.field(given["name"], _lake_type(given["type"], metadata, f"{table}.{given['name']}"))
        if _COLUMN in metadata:
            field = with_column_id(field, metadata[_COLUMN])
        columns.append(Column(field, int(number), metadata.get(MAPPING_NAME, given["name"])))
    return Shape(tuple(columns), max([last, *(column.number for column in columns)]))


def _lake_type(given: Any, metadata: Mapping[str, Any], where: str) -> pa.DataType:
    if _TYPE in metadata:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[_TYPE]))).field("type").type
    if isinstance(given, Mapping):
        if given["type"] == "struct":
            return pa.struct([(f["name"], _lake_type(f["type"], {}, where)) for f in given["fields"]])
        if given["type"] == "array":
            return pa.list_(pa.field("element", _lake_type(given["elementType"], {}, where)))
        if given["type"] == "map":
            return pa.map_(_lake_type(given["keyType"], {}, where), _lake_type(given["valueType"], {}, where))
    if isinstance(given, str):
        if given in _TYPES:
            return _TYPES[given]
        digits = re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", given)
        if digits:
            return pa.decimal128(int(digits[1]), int(digits[2]))
    raise UserError(
        f"column {where} has Delta type {given!r}, which Headwater does not read",
        hint="pip install --upgrade headwater",
    )
