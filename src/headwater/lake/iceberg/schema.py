"""Schemas between Arrow and Iceberg: field ids, what may change, and columns as files hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import ValidationError
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Transaction

from headwater.errors import UserError
from headwater.lake.columns import lake_columns, widens
from headwater.schema import column_id, with_column_id

FIELD_ID = b"PARQUET:field_id"

NOTE = "headwater.column: "
"""How a column's doc begins; then comes the id that its source has for it."""


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


@dataclass(frozen=True)
class ColumnChanges:
    """What has to be done to a table's columns, in this order.

    Attributes:
        dropped: columns that make room for another one of their name.
        renamed: former and new names.
        changed: columns to add or widen.
        identified: columns whose id is to be noted.
    """

    dropped: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    changed: pa.Schema
    identified: pa.Schema

    @property
    def touched(self) -> set[str]:
        """Names of columns that are not what they were."""
        return {*self.dropped, *(after for _, after in self.renamed), *self.changed.names}


def evolution(table: str, held: pa.Schema, wanted: pa.Schema, *, anew: bool = False) -> ColumnChanges | None:
    """What has to be done to the columns `held`, so that they take rows of `wanted`; None if nothing.

    Columns are the same if their ids are, or their names where one has no id. A column that is held and no longer
    wanted stays, and is null in new rows, unless another one takes its name.

    Args:
        table: the table's name.
        held, wanted: lake types, with ids where there are any.
        anew: all rows are about to be replaced, so a column may become another one.

    Raises:
        UserError: a column has changed its type in a way that is not a widening, and not `anew`.
    """
    successor = _successors(held, wanted)
    dropped, renamed, changed, identified = [], [], [], []
    for field in held:
        after = successor.get(field.name)
        if after is None:
            if field.name in wanted.names:
                dropped.append(field.name)
            continue
        fits = field.type.equals(after.type) or (_fits(field.type, after.type) and not (anew and _nested(field)))
        if not fits and not anew:
            raise _not_a_widening(table, field.name, field.type, after.type)
        if not fits:
            dropped.append(field.name)
            changed.append(after)
        else:
            renamed += [(field.name, after.name)] if field.name != after.name else []
            changed += [after] if field.type != after.type else []
        if column_id(after) is not None and (not fits or column_id(field) is None):
            identified.append(after)
    continued = {field.name for field in successor.values()}
    added = [field for field in wanted if field.name not in continued]
    changed += added
    identified += [field for field in added if column_id(field) is not None]
    if not (dropped or renamed or changed or identified):
        return None
    return ColumnChanges(tuple(dropped), tuple(renamed), pa.schema(changed), pa.schema(identified))


def _successors(held: pa.Schema, wanted: pa.Schema) -> dict[str, pa.Field]:
    """Which wanted column continues which held one, by its name."""
    by_id = {column_id(field): field for field in wanted if column_id(field) is not None}
    found = {}
    for field in held:
        identity = column_id(field)
        if identity is not None and identity in by_id:
            found[field.name] = by_id[identity]
        elif field.name in wanted.names and (identity is None or column_id(wanted.field(field.name)) is None):
            found[field.name] = wanted.field(field.name)
    return found


def _fits(old: pa.DataType, new: pa.DataType) -> bool:
    return widens(old, new) or bool(pa.types.is_nested(old) and old.id == new.id)


def _nested(field: pa.Field) -> bool:
    return bool(pa.types.is_nested(field.type))


def _not_a_widening(table: str, column: str, old: object, new: object) -> UserError:
    return UserError(
        f"table {table!r}: column {column!r} is {old} and cannot become {new}",
        hint=f'cast it back in the model (CAST("{column}" AS ...)), or land it under another name; '
        "only int to bigint, float to double and more digits of a decimal are done in place",
    )


def apply_evolution(change: Transaction, name: str, todo: ColumnChanges) -> None:
    """Drops, renames, widens and adds columns by field id.

    Raises:
        UserError: Iceberg cannot do it (a change inside a nested type).
    """
    try:
        if todo.dropped:
            with change.update_schema(allow_incompatible_changes=True) as update:
                for column in todo.dropped:
                    update.delete_column(column)
        for step in _in_steps(todo.renamed):
            with change.update_schema() as update:
                for before, after in step:
                    update.rename_column(before, after)
        if len(todo.changed):
            with change.update_schema() as update:
                update.union_by_name(pa.schema([field.remove_metadata() for field in todo.changed]))
        if len(todo.identified):
            with change.update_schema() as update:
                for field in todo.identified:
                    update.update_column(field.name, doc=f"{NOTE}{column_id(field)}")
    except (ValidationError, ValueError) as error:
        names = ", ".join(map(repr, sorted(todo.touched)))
        raise UserError(
            f"table {name!r}: columns {names} cannot be changed: {error}", hint="land them under other names"
        ) from error


def _in_steps(renamed: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Renames in an order in which no name is taken: where they change places, by way of names that nobody has."""
    if not {before for before, _ in renamed} & {after for _, after in renamed}:
        return [list(renamed)] if renamed else []
    aside = [(before, f"_headwater_{number}") for number, (before, _) in enumerate(renamed)]
    return [aside, [(name, after) for (_, name), (_, after) in zip(aside, renamed, strict=True)]]


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
