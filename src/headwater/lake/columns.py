"""Types of lake columns: what an open table format can hold, and how other Arrow types are mapped onto it.

The target is what Iceberg format v2 has (https://iceberg.apache.org/spec/#primitive-types). Types that it lacks are
mapped onto one that holds every value, so that the map can be turned round; a type for which there is none is refused.

| Arrow | lake |
|---|---|
| int8, int16, uint8, uint16 | int32 |
| uint32 | int64 |
| uint64 | decimal128(20, 0) |
| float16 | float32 |
| decimal32, decimal64; decimal256 of up to 38 digits | decimal128 |
| timestamp[s, ms] | timestamp[us] |
| timestamp[ns], time64[ns] | the same in us; a value that would lose digits is an error |
| timestamp with any zone | timestamp[us, UTC], the same instant |
| time32, date64 | time64[us], date32 |
| interval, duration | string |
| dictionary, large and view types, extension types | the type that they stand for |
| null | string |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import UserError
from headwater.schema import column_id, with_column_id

_SAME: frozenset[pa.DataType] = frozenset(
    [pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32(), pa.string(), pa.binary(), pa.uuid()]
)
_WIDER: Mapping[pa.DataType, pa.DataType] = {
    pa.int8(): pa.int32(),
    pa.int16(): pa.int32(),
    pa.uint8(): pa.int32(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.month_day_nano_interval(): pa.string(),
    pa.null(): pa.string(),
}
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_WIDENINGS = {(pa.int32(), pa.int64()), (pa.float32(), pa.float64())}


def lake_columns(schema: pa.Schema) -> pa.Schema:
    """The columns as a lake table holds them: names and ids kept, types mapped, all nullable, no other metadata.

    Raises:
        UserError: a column's type has no counterpart, or two columns differ only in case.
    """
    _refuse_lookalikes(schema.names)
    return pa.schema([_identified(pa.field(field.name, _column_type(field)), column_id(field)) for field in schema])


def _identified(field: pa.Field, identity: str | None) -> pa.Field:
    return field if identity is None else with_column_id(field, identity)


def _refuse_lookalikes(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise UserError(
                f"columns {other!r} and {name!r} differ at most in case",
                hint="rename one of them (SELECT ... AS another_name)",
            )


def _column_type(field: pa.Field) -> pa.DataType:
    mapped = _lake_type(field.type)
    if mapped is None:
        raise UserError(
            f"column {field.name!r} has type {field.type}, which a lake table cannot hold",
            hint=f'cast it in the model, for example CAST("{field.name}" AS VARCHAR)',
        )
    return mapped


def _lake_type(given: pa.DataType) -> pa.DataType | None:
    if given in _SAME:
        return given
    if given in _WIDER:
        return _WIDER[given]
    if pa.types.is_duration(given):
        return pa.string()
    if isinstance(given, pa.BaseExtensionType):
        return _lake_type(given.storage_type)
    if pa.types.is_dictionary(given):
        return _lake_type(given.value_type)
    if pa.types.is_nested(given):
        return _nested_type(given)
    return _parametric_type(given)


def _parametric_type(given: pa.DataType) -> pa.DataType | None:
    if pa.types.is_timestamp(given):
        return pa.timestamp("us", tz="UTC" if given.tz else None)
    if pa.types.is_time(given):
        return pa.time64("us")
    if pa.types.is_decimal(given) and given.precision <= 38 and given.scale >= 0:
        return pa.decimal128(given.precision, given.scale)
    return given if pa.types.is_fixed_size_binary(given) else None


def _nested_type(given: pa.DataType) -> pa.DataType | None:
    if pa.types.is_struct(given):
        children = [(child.name, _inner_type(child.type)) for child in given]
        return None if any(kind is None for _, kind in children) else pa.struct(children)
    if pa.types.is_map(given):
        key, item = _inner_type(given.key_type), _inner_type(given.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if any(is_list(given) for is_list in _LISTS):
        element = _inner_type(given.value_type)
        return None if element is None else pa.list_(pa.field("element", element))
    return None


def _inner_type(given: pa.DataType) -> pa.DataType | None:
    """Type inside a list, map or struct: there Arrow's own cast must do the work, so intervals are not to be had."""
    is_span = pa.types.is_duration(given) or given == pa.month_day_nano_interval()
    return None if is_span else _lake_type(given)


def widens(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether a lake column of type `old` may become `new` without rewriting a file (the spec's type promotions)."""
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return bool(new.scale == old.scale and new.precision >= old.precision)
    return (old, new) in _WIDENINGS


def cast_rows(rows: pa.Table, columns: pa.Schema, table: str) -> pa.Table:
    """`rows` with exactly `columns` (lake types): reordered and cast, never losing a digit.

    Columns of `rows` that are not in `columns` are left out; the caller has seen to those.

    Raises:
        UserError: a column is missing, or a value cannot be held by its column's type.
    """
    missing = [name for name in columns.names if name not in rows.column_names]
    if missing:
        raise UserError(f"table {table!r}: the rows lack columns {missing}", hint="run `headwater plan`")
    cast = [_cast_column(rows.column(field.name), field, table) for field in columns]
    return pa.table(cast, schema=columns) if cast else rows.select([])


def _cast_column(values: pa.ChunkedArray, field: pa.Field, table: str) -> pa.ChunkedArray:
    if values.type.equals(field.type):
        return values
    convert = _CONVERSIONS.get(values.type.id)
    try:
        return convert(values) if convert and pa.types.is_string(field.type) else pc.cast(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"table {table!r}, column {field.name!r}: a {values.type} cannot be held as {field.type}: {error}",
            hint=f'cast the column in the model, for example CAST("{field.name}" AS VARCHAR)',
        ) from error


def _spans_as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Intervals and durations in DuckDB's text form, for example `1 month 2 days 00:00:03`."""
    rows = pa.table({"span": values})
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        text = connection.sql("SELECT CAST(span AS VARCHAR) AS text FROM rows").to_arrow_table()
    return text.column("text").cast(pa.string())


_CONVERSIONS: Mapping[int, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    pa.month_day_nano_interval().id: _spans_as_text,
    pa.duration("us").id: _spans_as_text,
}
