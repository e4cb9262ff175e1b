"""A table's schema changed by field id: columns and nested fields that come, grow wider, are renamed, go and change
places. What is changed becomes visible together with the rows of the next commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertLastAssignedFieldId,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType

from headwater.errors import UserError
from headwater.lake.columns import widens
from headwater.lake.iceberg.schema import NOTE, columns_of, iceberg_type
from headwater.schema import column_id, successors

KEY_PROPERTY = "headwater.key"
"""Table property: the names of the key columns, as JSON."""


def key_of(metadata: TableMetadata) -> tuple[str, ...]:
    """The names of a table's key columns."""
    return tuple(json.loads(metadata.properties.get(KEY_PROPERTY, "[]")))


@dataclass(frozen=True)
class SchemaChange:
    """How a table is to look.

    Attributes:
        columns: its columns, lake types.
        key: its key.
        anew: all rows are replaced with it, so a column may become one of any other type.
        remove: columns no longer named leave the schema.
    """

    columns: pa.Schema
    key: tuple[str, ...]
    anew: bool = False
    remove: bool = False

    def on(self, table: Table) -> StagedChange:
        """The change thought through for a table as it is.

        Raises:
            UserError: see `evolved_schema`.
        """
        metadata, name = table.metadata, table.name()[-1]
        updates: list[TableUpdate] = []
        requirements: tuple[TableRequirement, ...] = ()
        schema = evolved_schema(name, metadata, self.columns, anew=self.anew, remove=self.remove)
        if schema is not None:
            updates += _schema_updates(metadata, schema)
            requirements = (
                AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
                AssertLastAssignedFieldId.model_validate({"last-assigned-field-id": metadata.last_column_id}),
            )
        if self.key != key_of(metadata):
            updates.append(SetPropertiesUpdate(updates={KEY_PROPERTY: json.dumps(self.key)}))
        after = update_table_metadata(metadata, tuple(updates)) if updates else metadata
        staged = Table(table.name(), after, table.metadata_location, table.io, table.catalog)
        return StagedChange(table, staged, tuple(updates), requirements)


@dataclass(frozen=True)
class StagedChange:
    """A change that the catalog does not know yet.

    Attributes:
        before: the table as the catalog has it.
        table: the table as it will be, without new rows.
        updates, requirements: for the catalog, before those of the rows; no updates if nothing is different.
    """

    before: Table
    table: Table
    updates: tuple[TableUpdate, ...]
    requirements: tuple[TableRequirement, ...]


def _schema_updates(metadata: TableMetadata, schema: Schema) -> list[TableUpdate]:
    """One new schema, or the former one that is the same again."""
    former = next((known for known in metadata.schemas if known == schema), None)
    if former is not None:
        return [SetCurrentSchemaUpdate.model_validate({"schema-id": former.schema_id})]
    return [
        AddSchemaUpdate.model_validate({"schema": schema}),
        SetCurrentSchemaUpdate.model_validate({"schema-id": -1}),
    ]


def touches(before: Schema, after: Schema, names: Sequence[str]) -> bool:
    """Whether any of these columns is another one, or of another type, than it was."""
    held, now = ({field.name: (field.field_id, field.field_type) for field in s.fields} for s in (before, after))
    return any(held.get(name) != now.get(name) for name in names)


def evolved_schema(
    table: str, metadata: TableMetadata, wanted: pa.Schema, *, anew: bool = False, remove: bool = False
) -> Schema | None:
    """The schema that takes rows of `wanted`; None if the present one does.

    Columns are the same if their ids are, or their names where one has no id; nested fields if their names are. What
    is held and no longer wanted stays, and is null in new rows, unless another one takes its name or `remove`. The
    order is that of `wanted` where columns have changed places.

    Args:
        table: the table's name, for messages.
        metadata: the table.
        wanted: lake types, with ids where there are any.
        anew: all rows are about to be replaced, so a column may become another one.
        remove: columns and nested fields that are no longer wanted leave the schema.

    Raises:
        UserError: a column has changed its type in a way that is not a widening, and not `anew`; or a column would go
            by which the table is partitioned or sorted.
    """
    held, ids = metadata.schema(), count(metadata.last_column_id + 1)
    successor = successors(columns_of(held), wanted)
    taken = {name.casefold() for name in wanted.names}
    stay: list[NestedField] = []
    for field in held.fields:
        after = successor.get(field.name)
        joined = None if after is None else _continued(table, field, after, ids, anew=anew, remove=remove)
        if joined is not None:
            stay.append(joined)
        elif after is None and not remove and field.name.casefold() not in taken:
            stay.append(_with(field, required=False))
    continued = {field.name for field in stay}
    added = [_new(field, ids) for field in wanted if field.name not in continued]
    fields = _in_order([*stay, *added], wanted.names)
    _refuse_unpinned(table, metadata, {field.field_id for field in fields})
    if tuple(fields) == held.fields:
        return None
    number = max(known.schema_id for known in metadata.schemas) + 1
    return Schema(*fields, schema_id=number, identifier_field_ids=held.identifier_field_ids)


def _continued(
    table: str, field: NestedField, after: pa.Field, ids: Iterator[int], *, anew: bool, remove: bool
) -> NestedField | None:
    """The column as it goes on, None if another one is to stand in its place.

    Raises:
        UserError: it cannot go on, and the rows that are there stay.
    """
    kind = _joined(field.field_type, after.type, ids, remove=remove)
    if anew and kind != field.field_type and isinstance(kind, StructType | ListType | MapType):
        return None
    if kind is None:
        if anew:
            return None
        held = schema_to_pyarrow(field.field_type, include_field_ids=False)
        raise UserError(
            f"table {table!r}: column {field.name!r} is {held} and cannot become {after.type}",
            hint=f'cast it back in the model (CAST("{field.name}" AS ...)), or land it under another name; '
            "only int to bigint, float to double and more digits of a decimal are done in place",
        )
    return _with(field, name=after.name, field_type=kind, doc=_doc(after) or field.doc)


def _joined(held: IcebergType, wanted: pa.DataType, ids: Iterator[int], *, remove: bool) -> IcebergType | None:
    """The type that holds the values of both without a file being written again, None if there is none."""
    if isinstance(held, StructType) and pa.types.is_struct(wanted):
        return _joined_struct(held, wanted, ids, remove=remove)
    if isinstance(held, ListType) and pa.types.is_list(wanted):
        element = _joined(held.element_type, wanted.value_type, ids, remove=remove)
        return None if element is None else ListType(held.element_id, element, held.element_required)
    if isinstance(held, MapType) and pa.types.is_map(wanted):
        key = _joined(held.key_type, wanted.key_type, ids, remove=remove)
        value = _joined(held.value_type, wanted.item_type, ids, remove=remove)
        if value is None or key != held.key_type:
            return None
        return MapType(held.key_id, held.key_type, held.value_id, value, held.value_required)
    if not held.is_primitive or pa.types.is_nested(wanted):
        return None
    other = iceberg_type(wanted, ids)
    before = schema_to_pyarrow(held, include_field_ids=False)
    return held if held == other else other if widens(before, wanted) else None


def _joined_struct(held: StructType, wanted: pa.StructType, ids: Iterator[int], *, remove: bool) -> StructType | None:
    by_name = {child.name: child for child in wanted}
    fields: list[NestedField] = []
    for child in held.fields:
        if child.name in by_name:
            kind = _joined(child.field_type, by_name[child.name].type, ids, remove=remove)
            if kind is None:
                return None
            fields.append(_with(child, field_type=kind))
        elif not remove:
            fields.append(_with(child, required=False))
    known = {field.name for field in fields}
    added = [_new(child, ids) for child in wanted if child.name not in known]
    return StructType(*_in_order([*fields, *added], list(by_name)))


def _in_order(fields: list[NestedField], wanted: list[str]) -> list[NestedField]:
    """As they stand, if the wanted ones do so in their order; else those first, in it."""
    named = [field for field in fields if field.name in wanted]
    if [field.name for field in named] == wanted:
        return fields
    rank = {name: number for number, name in enumerate(wanted)}
    return sorted(fields, key=lambda field: rank.get(field.name, len(rank)))


def _new(field: pa.Field, ids: Iterator[int]) -> NestedField:
    number = next(ids)
    return NestedField(number, field.name, iceberg_type(field.type, ids), required=False, doc=_doc(field))


def _with(field: NestedField, **changes: object) -> NestedField:
    return field.model_copy(update=changes)


def _doc(field: pa.Field) -> str | None:
    identity = column_id(field)
    return None if identity is None else f"{NOTE}{identity}"


def _refuse_unpinned(table: str, metadata: TableMetadata, there: set[int]) -> None:
    """Columns by which files are laid out now cannot go: readers would not know how the files are laid out.

    Raises:
        UserError: one would.
    """
    pinned: Mapping[str, list[int]] = {
        "partitioned": [field.source_id for field in metadata.spec().fields],
        "sorted": [field.source_id for field in metadata.sort_order().fields],
    }
    for how, sources in pinned.items():
        for source in sources:
            if source not in there:
                name = metadata.schema().find_column_name(source)
                raise UserError(
                    f"table {table!r} is {how} by column {name!r}, which is to go or to become another one",
                    hint=f"decide how the table is to be {how} without it (`table:` of the stream or model), and "
                    "start again; until then nothing is lost: the log keeps it",
                )
