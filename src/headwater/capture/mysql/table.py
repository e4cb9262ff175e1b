"""A captured table of MySQL or MariaDB: its columns, its key, the stream that it feeds, and how a row maps to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from headwater.capture.mysql.convert import default_value
from headwater.capture.mysql.types import Column
from headwater.schema import Changelog, StreamSchema, with_default


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is captured.

    Attributes:
        database, name: its name.
        columns: the columns that are captured.
        key: columns of the primary key, or of the first unique index over columns that are not null.
        stream_name: of the stream that it feeds.
    """

    database: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    stream_name: str = ""

    @property
    def qualified(self) -> str:
        """Database and name, for people and patterns."""
        return f"{self.database}.{self.name}"

    @property
    def changelog(self) -> Changelog:
        """With a key the new row is enough; without one the old row comes too."""
        return "upsert" if self.key else "full"

    @cached_property
    def stream(self) -> StreamSchema:
        """The stream that this table feeds."""
        columns = pa.schema([_field(column) for column in self.columns])
        return StreamSchema(self.stream_name or self.name, columns, self.key, self.changelog)


def _field(column: Column) -> pa.Field:
    if column.missing is None:
        return column.field
    value = default_value(column, column.missing)
    return with_default(column.field, pa.array([value.as_py()], column.arrow_type)) if value.is_valid else column.field


@dataclass(frozen=True, eq=False)
class Layout:
    """How the rows of one version of a table map to the stream's columns.

    Attributes:
        table: the table.
        wire: for each of its columns the field's place in a row; -1 if it is not sent (dropped at the source).
        width: number of fields in a row.
    """

    table: Table
    wire: tuple[int, ...]
    width: int


def as_read(table: Table) -> Layout:
    """The layout of rows selected with the table's columns in order."""
    return Layout(table, tuple(range(len(table.columns))), len(table.columns))
