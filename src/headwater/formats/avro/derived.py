"""The Avro schema of Arrow columns: what a destination registers when the settings give none."""

from __future__ import annotations

import json
import re
from typing import Final

import pyarrow as pa

from headwater.errors import UserError

Json = str | dict[str, object] | list[object]

_PLAIN: Final = (
    (pa.types.is_boolean, "boolean"),
    (lambda kind: kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()), "int"),
    (lambda kind: kind in (pa.int64(), pa.uint32()), "long"),
    (lambda kind: kind in (pa.float16(), pa.float32()), "float"),
    (pa.types.is_float64, "double"),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "string"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "bytes"),
    (pa.types.is_null, "null"),
)


def schema_of(columns: pa.Schema, name: str) -> str:
    """A record of nullable fields, as JSON.

    Args:
        columns: the columns.
        name: of the record; what names may not hold becomes `_`.

    Raises:
        UserError: a column's name or type has no place in Avro.
    """
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name) or "row"
    return json.dumps(_record(list(columns), clean if not clean[0].isdigit() else f"_{clean}"))


def _record(fields: list[pa.Field], name: str) -> Json:
    for field in fields:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field.name):
            raise UserError(
                f"a field of Avro cannot be called {field.name!r}",
                hint="rename the column in the model: SELECT ... AS name",
            )
    made: list[object] = [_field(field, name) for field in fields]
    return {"type": "record", "name": name, "fields": made}


def _field(field: pa.Field, record: str) -> Json:
    kind = _type(field.type, f"{record}_{field.name}")
    return {"name": field.name, "type": kind if kind == "null" else ["null", kind], "default": None}


def _nullable(kind: pa.DataType, path: str) -> Json:
    made = _type(kind, path)
    return made if made == "null" else ["null", made]


def _type(kind: pa.DataType, path: str) -> Json:
    for fits, name in _PLAIN:
        if fits(kind):
            return name
    if pa.types.is_decimal(kind) or kind == pa.uint64():
        digits, scale = (20, 0) if kind == pa.uint64() else (kind.precision, max(kind.scale, 0))
        return {"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": scale}
    if pa.types.is_date(kind):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_time(kind):
        return {"type": "long", "logicalType": "time-micros"}
    if pa.types.is_timestamp(kind):
        return {"type": "long", "logicalType": "timestamp-micros" if kind.tz else "local-timestamp-micros"}
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type, path)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"type": "array", "items": _nullable(kind.value_type, f"{path}_item")}
    if pa.types.is_map(kind) and pa.types.is_string(kind.key_type):
        return {"type": "map", "values": _nullable(kind.item_type, f"{path}_value")}
    if pa.types.is_struct(kind):
        return _record(list(kind), path)
    raise UserError(f"Avro has no place for a column of type {kind}", hint="cast it in the model: CAST(... AS VARCHAR)")
