"""Schemas between Arrow and Iceberg: field ids, what may change, and columns as files hold them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import ValidationError
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from headwater.errors import UserError
from headwater.lake.columns import lake_columns, widens

FIELD_ID = b"PARQUET:field_id"


def columns_of(schema: Schema) -> pa.Schema:
    """A table's columns as Arrow lake types."""
    return lake_columns(schema_to_pyarrow(schema, include_field_ids=False))


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


def evolution(table: str, held: pa.Schema, wanted: pa.Schema) -> pa.Schema | None:
    """What to add to or widen in the columns `held`, so that they take rows of `wanted`; None if nothing.

    A column that is held and no longer wanted stays, and is null in new rows.

    Raises:
        UserError: a column has changed its type in a way that is not a widening.
    """
    changed = []
    for field in wanted:
        if field.name not in held.names:
            changed.append(field)
            continue
        old = held.field(field.name).type
        if old.equals(field.type):
            continue
        if not (widens(old, field.type) or (pa.types.is_nested(old) and old.id == field.type.id)):
            raise _not_a_widening(table, field.name, old, field.type)
        changed.append(field)
    return pa.schema(changed) if changed else None


def _not_a_widening(table: str, column: str, old: object, new: object) -> UserError:
    return UserError(
        f"table {table!r}: column {column!r} is {old} and cannot become {new}",
        hint=f'cast it back in the model (CAST("{column}" AS ...)), or land it under another name; '
        "only int to bigint, float to double and more digits of a decimal are done in place",
    )


def apply_evolution(table: Table, name: str, changed: pa.Schema) -> None:
    """Adds and widens columns by field id, in one commit of the catalog.

    Raises:
        UserError: Iceberg cannot do it (a change inside a nested type).
    """
    try:
        with table.update_schema() as update:
            update.union_by_name(changed)
    except (ValidationError, ValueError) as error:
        raise UserError(
            f"table {name!r}: columns {changed.names} cannot be changed: {error}", hint="land them under other names"
        ) from error


def fill_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` in the columns of a file: those that the rows lack are null."""
    count, held = rows.num_rows, set(rows.column_names)
    columns = [rows.column(f.name).cast(f.type) if f.name in held else pa.nulls(count, f.type) for f in schema]
    return pa.table(columns, schema=schema)


def project(rows: pa.Table, ids: dict[int, str], schema: Schema, columns: pa.Schema) -> pa.Table:
    """A file's rows in a table's present columns.

    Args:
        rows: as read from the file.
        ids: the file's top-level column names by field id.
        schema: the table's schema, which gives the ids of `columns`.
        columns: what to return, lake types.
    """
    found = []
    for field in columns:
        name = ids.get(schema.find_field(field.name).field_id)
        found.append(pa.nulls(rows.num_rows, field.type) if name is None else _adapt(rows.column(name), field.type))
    return pa.table(found, schema=columns)


def _adapt(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as an older schema wrote it, in today's type."""
    if values.type.equals(kind):
        return values
    if pa.types.is_struct(kind):
        return pa.chunked_array([_adapt_struct(chunk, kind) for chunk in values.chunks], kind)
    return pc.cast(values, kind)


def _adapt_struct(values: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    present = {values.type.field(i).name: child for i, child in enumerate(values.flatten())}
    children = [
        _adapt(pa.chunked_array([present[field.name]]), field.type).combine_chunks()
        if field.name in present
        else pa.nulls(len(values), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=values.is_null())
