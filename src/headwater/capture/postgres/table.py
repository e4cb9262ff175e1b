"""A captured table: its columns, its key, the stream that it feeds, and how a tuple on the wire maps to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from headwater.capture.postgres.types import Column
from headwater.change import CHANGE_COLUMNS
from headwater.errors import SourceStopped
from headwater.schema import Changelog, StreamSchema, with_column_id

FULL, NOTHING, BY_INDEX = "f", "n", "i"
DEFAULT_SCHEMA = "public"


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is captured.

    Attributes:
        oid: its id in the database.
        schema, name: its name.
        columns: the columns that are published.
        key: columns of the primary key, or of the replica identity's index.
        identity: `pg_class.relreplident`: d, f, i or n.
        partitioned: rows are in its partitions.
        row_filter: the publication's condition on its rows, as SQL; empty if it has none.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    identity: str = "d"
    partitioned: bool = False
    row_filter: str = ""

    @property
    def qualified(self) -> str:
        """Schema and name, for people and patterns."""
        return f"{self.schema}.{self.name}"

    @property
    def stream_name(self) -> str:
        """`orders` for public.orders, `sales_orders` for sales.orders."""
        return self.name if self.schema == DEFAULT_SCHEMA else f"{self.schema}_{self.name}"

    @property
    def changelog(self) -> Changelog:
        """What the replica identity lets changes say."""
        if self.identity == FULL:
            return "full"
        return "upsert" if self.key and self.identity != NOTHING else "append"

    @cached_property
    def stream(self) -> StreamSchema:
        """The stream that this table feeds."""
        columns = pa.schema([self._field(column) for column in self.columns])
        return StreamSchema(self.stream_name, columns, self.key, self.changelog)

    def _field(self, column: Column) -> pa.Field:
        return with_column_id(column.field, f"{self.oid}.{column.number}") if column.number else column.field


@dataclass(frozen=True, eq=False)
class Layout:
    """How the tuples of one version of a table map to the stream's columns.

    Attributes:
        table: the table.
        wire: for each of its columns the field's place in a tuple; -1 if it is not sent (dropped at the source).
        width: number of fields in a tuple.
    """

    table: Table
    wire: tuple[int, ...]
    width: int


def as_read(table: Table) -> Layout:
    """The layout of rows selected with the table's columns in order."""
    return Layout(table, tuple(range(len(table.columns))), len(table.columns))


def require_streams(tables: Sequence[Table]) -> None:
    """Refuses tables that cannot become streams.

    Raises:
        SourceStopped: two tables would feed one stream, or a column has the name of a change column.
    """
    reserved = {field.name for field in CHANGE_COLUMNS}
    seen: dict[str, Table] = {}
    for table in tables:
        other = seen.setdefault(table.stream_name, table)
        if other is not table:
            raise SourceStopped(
                f"tables {other.qualified} and {table.qualified} would both feed the stream {table.stream_name!r}",
                hint=f"leave one out: tables: [..., '!{table.qualified}']",
            )
        taken = sorted(reserved.intersection(column.name for column in table.columns))
        if taken:
            raise SourceStopped(
                f"table {table.qualified} has a column {taken[0]!r}, a name that Headwater's log needs for itself",
                hint=f"rename the column, or leave the table out: tables: [..., '!{table.qualified}']",
            )


def notes(table: Table) -> list[str]:
    """What the user should know of a table."""
    if table.key or table.identity == FULL:
        return []
    if table.identity == NOTHING:
        return [f"{table.qualified} has REPLICA IDENTITY NOTHING: only inserts are captured"]
    return [
        f"{table.qualified} has no primary key: only inserts can be captured, and PostgreSQL refuses UPDATE and DELETE "
        f"on it while it is published, until: ALTER TABLE {table.qualified} REPLICA IDENTITY FULL;"
    ]
