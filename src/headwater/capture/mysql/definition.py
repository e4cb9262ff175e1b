"""Tables as the server defines them, in the words of the server: what the schema history is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

PRIMARY = "PRIMARY"
TableName = tuple[str, str]
"""(database, table)."""


@dataclass(frozen=True)
class ColumnDefinition:
    """A column.

    Attributes:
        name: its name.
        type: SQL type as information_schema writes it, "int(10) unsigned".
        charset: of a text; None if the type has none or it is the one that the table map says.
        nullable: whether it may hold null.
        default: a constant default as text; None if there is none or it is computed.
        computed_default: it is computed, or the whole column is.
        missing: the constant, as text, that rows have in it that were there when it came; None for null.
    """

    name: str
    type: str
    charset: str | None = None
    nullable: bool = True
    default: str | None = None
    computed_default: bool = False
    missing: str | None = None


@dataclass(frozen=True)
class Index:
    """A primary or unique key."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class TableDefinition:
    """A table at one point of the binlog.

    Attributes:
        database, name: its name.
        columns: in order.
        unique: its primary and unique keys over whole columns, in the server's order.
        charset: the default of new columns; None if not known.
        gone: names of columns that it had: our rows may hold values under them still.
    """

    database: str
    name: str
    columns: tuple[ColumnDefinition, ...]
    unique: tuple[Index, ...] = ()
    charset: str | None = None
    gone: tuple[str, ...] = ()

    @property
    def full_name(self) -> TableName:
        """(database, table)."""
        return self.database, self.name

    @property
    def qualified(self) -> str:
        """database.table, for people and patterns."""
        return f"{self.database}.{self.name}"

    @property
    def shape(self) -> tuple[object, ...]:
        """Names and types of the columns, and the key."""
        return self.key, *((column.name, column.type) for column in self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        """Columns of the primary key, else of the first unique key without nulls; empty if there is neither."""
        required = {column.name for column in self.columns if not column.nullable}
        for index in sorted(self.unique, key=lambda one: one.name != PRIMARY):
            if index.name == PRIMARY or required.issuperset(index.columns):
                return index.columns
        return ()

    def column(self, name: str) -> ColumnDefinition | None:
        """A column by its name, which is the same in capitals."""
        return next((one for one in self.columns if one.name.lower() == name.lower()), None)

    def renamed(self, name: TableName) -> TableDefinition:
        """The same under another name."""
        return replace(self, database=name[0], name=name[1])


Definitions = Mapping[TableName, TableDefinition]


def to_json(tables: Sequence[TableDefinition]) -> str:
    """Definitions as compact JSON."""
    return json.dumps([asdict(table) for table in tables], separators=(",", ":"))


def from_json(text: str) -> list[TableDefinition]:
    """The definitions of `to_json`.

    Raises:
        ValueError, KeyError, TypeError: it is not of `to_json`.
    """
    return [_table(entry) for entry in json.loads(text)]


def _table(entry: dict[str, object]) -> TableDefinition:
    given = dict(entry)
    columns = tuple(ColumnDefinition(**column) for column in given.pop("columns"))  # type: ignore[attr-defined]
    unique = tuple(Index(one["name"], tuple(one["columns"])) for one in given.pop("unique"))  # type: ignore[attr-defined]
    given["gone"] = tuple(given.get("gone", ()))  # type: ignore[arg-type]
    return TableDefinition(columns=columns, unique=unique, **given)  # type: ignore[arg-type]
