"""How a table's columns follow what its rows look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import pyarrow as pa

from headwater.errors import UserError
from headwater.lake.columns import widens
from headwater.lake.files.version import Column, Shape
from headwater.schema import column_id, successors


@dataclass(frozen=True)
class Evolved:
    """Columns that the next commit will bring.

    Attributes:
        shape: the columns.
        key: the key.
        rewrite: files hold columns in another type; they are to be written anew.
        renamed: columns have come to be called otherwise, or have gone.
        touched: columns that are not what they were.
    """

    shape: Shape
    key: tuple[str, ...]
    rewrite: bool = False
    renamed: bool = False
    touched: frozenset[str] = frozenset()


def new_shape(columns: pa.Schema) -> Shape:
    """The shape of a table that is being made."""
    numbered = [Column(field, number, field.name) for number, field in enumerate(columns, start=1)]
    return Shape(tuple(numbered), len(numbered))


def evolved(
    table: str, shape: Shape, wanted: pa.Schema, key: tuple[str, ...], *, anew: bool = False, remove: bool = False
) -> Evolved | None:
    """What has to become of a table's columns so that it takes rows of `wanted`; None if nothing.

    Columns are the same if their ids are, or their names where one has no id; nested fields if their names are.

    Args:
        table: the table's name, for messages.
        shape: the columns that it has.
        wanted: lake types, with ids where there are any.
        key: the key from now on.
        anew, remove: see `headwater.lake.table_format.Table.evolve`.

    Raises:
        UserError: a column has changed its type in a way that is not a widening, and not `anew`.
    """
    successor = successors(shape.schema, wanted)
    taken = {name.casefold() for name in wanted.names}
    stay: list[Column] = []
    rewrite = False
    for column in shape.columns:
        after = successor.get(column.field.name)
        kind = None if after is None else _continued(table, column.field, after, anew=anew, remove=remove)
        if after is not None and kind is not None:
            rewrite = rewrite or kind != column.field.type
            stay.append(Column(_field(column.field, after, kind), column.number, column.name))
        elif after is None and not remove and column.field.name.casefold() not in taken:
            stay.append(column)
    continued = {column.field.name for column in stay}
    last = shape.last
    for field in wanted:
        if field.name not in continued:
            last += 1
            stay.append(Column(field, last, _free_name(field.name, (*stay, *shape.columns))))
    columns = tuple(_in_order(stay, wanted.names))
    if columns == shape.columns and Shape(columns, last).schema.equals(shape.schema, check_metadata=True):
        return None
    former = {column.number: column.field for column in shape.columns}
    touched = {c.field.name for c in columns if former.get(c.number, pa.field("", pa.null())) != c.field}
    kept = {column.number: column.field.name for column in columns}
    renamed = any(kept.get(number) != field.name for number, field in former.items())
    return Evolved(Shape(columns, last), key, rewrite and not anew, renamed, frozenset(touched))


def _continued(table: str, held: pa.Field, after: pa.Field, *, anew: bool, remove: bool) -> pa.DataType | None:
    """The column's type as it goes on, None if another one is to stand in its place.

    Raises:
        UserError: it cannot go on, and the rows that are there stay.
    """
    kind = _joined(held.type, after.type, remove=remove)
    if anew and (kind is None or (kind != held.type and pa.types.is_nested(kind))):
        return None
    if kind is None:
        raise UserError(
            f"table {table!r}: column {held.name!r} is {held.type} and cannot become {after.type}",
            hint=f'cast it back in the model (CAST("{held.name}" AS ...)), or land it under another name; '
            "only int to bigint, float to double and more digits of a decimal are done in place",
        )
    return kind


def _joined(held: pa.DataType, wanted: pa.DataType, *, remove: bool) -> pa.DataType | None:
    """The type that holds the values of both, None if there is none."""
    if pa.types.is_struct(held) and pa.types.is_struct(wanted):
        return _joined_struct(held, wanted, remove=remove)
    if pa.types.is_list(held) and pa.types.is_list(wanted):
        element = _joined(held.value_type, wanted.value_type, remove=remove)
        return None if element is None else pa.list_(pa.field("element", element))
    if pa.types.is_map(held) and pa.types.is_map(wanted):
        item = _joined(held.item_type, wanted.item_type, remove=remove)
        return None if item is None or held.key_type != wanted.key_type else pa.map_(held.key_type, item)
    return wanted if held == wanted or widens(held, wanted) else None


def _joined_struct(held: pa.StructType, wanted: pa.StructType, *, remove: bool) -> pa.DataType | None:
    by_name = {child.name: child for child in wanted}
    fields: dict[str, pa.Field] = {}
    for child in held:
        if child.name in by_name:
            kind = _joined(child.type, by_name[child.name].type, remove=remove)
            if kind is None:
                return None
            fields[child.name] = child.with_type(kind)
        elif not remove:
            fields[child.name] = child
    for child in wanted:
        fields.setdefault(child.name, child)
    ordered = [*(name for name in by_name), *(name for name in fields if name not in by_name)]
    stands = [name for name in fields if name in by_name] == list(by_name)
    return pa.struct([fields[name] for name in (fields if stands else ordered)])


def _field(held: pa.Field, after: pa.Field, kind: pa.DataType) -> pa.Field:
    named = held.with_name(after.name).with_type(kind)
    return named.with_metadata(after.metadata) if column_id(after) is not None else named


def _in_order(columns: list[Column], wanted: Sequence[str]) -> list[Column]:
    """As they stand, if the wanted ones do so in their order; else those first, in it."""
    if [column.field.name for column in columns if column.field.name in wanted] == list(wanted):
        return columns
    rank = {name: number for number, name in enumerate(wanted)}
    return sorted(columns, key=lambda column: rank.get(column.field.name, len(rank)))


def _free_name(name: str, columns: Sequence[Column]) -> str:
    """The name that a new column has in files: its own, if no other column has or had it there."""
    taken = {column.name.casefold() for column in columns}
    return name if name.casefold() not in taken else f"{name}-{uuid4().hex[:8]}"


def plain_names(shape: Shape) -> Shape:
    """The shape with every column called in files what it is called in the table."""
    return Shape(tuple(Column(column.field, column.number, column.field.name) for column in shape.columns), shape.last)
