"""Tables as information_schema describes them, as of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.capture.mysql.connection import Connection, execute
from headwater.capture.mysql.definition import ColumnDefinition, Index, TableDefinition, TableName
from headwater.capture.mysql.selection import SERVER_DATABASES
from headwater.capture.mysql.statement import unquoted

_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, 0), TABLE_COLLATION, TABLE_TYPE
FROM information_schema.TABLES
WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND TABLE_SCHEMA NOT IN %s"""

_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE, COLUMN_DEFAULT, EXTRA
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN %s ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"""

_KEYS = """
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"""

TRANSACTIONAL = ("innodb", "rocksdb", "tokudb", "ndbcluster")
"""Engines whose tables a consistent snapshot holds still."""


@dataclass(frozen=True)
class TableEntry:
    """A table that is there.

    Attributes:
        database, name: its name.
        engine: where it is stored.
        rows: about how many rows it has.
        charset: its default charset.
        sequence: it is a sequence of MariaDB, which is a table to the binlog alone.
    """

    database: str
    name: str
    engine: str
    rows: int
    charset: str | None
    sequence: bool = False

    @property
    def full_name(self) -> TableName:
        """(database, table)."""
        return self.database, self.name

    @property
    def qualified(self) -> str:
        """database.table."""
        return f"{self.database}.{self.name}"

    @property
    def transactional(self) -> bool:
        """Whether a consistent snapshot holds it still."""
        return self.engine.lower() in TRANSACTIONAL


def list_tables(connection: Connection) -> list[TableEntry]:
    """All tables that the user may see, in order of their names, without the server's own."""
    rows = execute(connection, _TABLES, (SERVER_DATABASES,))
    return sorted(
        (
            TableEntry(database, name, engine, int(count), collation and collation.split("_")[0], kind == "SEQUENCE")
            for database, name, engine, count, collation, kind in rows
        ),
        key=lambda entry: entry.full_name,
    )


def read_definitions(connection: Connection, entries: Sequence[TableEntry]) -> list[TableDefinition]:
    """The definitions of tables, as of now."""
    databases = tuple(sorted({entry.database for entry in entries}))
    if not databases:
        return []
    mariadb = "mariadb" in str(execute(connection, "SELECT VERSION()")[0][0]).lower()
    columns: dict[TableName, list[ColumnDefinition]] = {}
    for database, table, name, kind, charset, nullable, default, extra in execute(connection, _COLUMNS, (databases,)):
        constant = _constant(default, str(extra), mariadb=mariadb)
        computed = default is not None and constant is None and _text(default).upper() != "NULL"
        column = ColumnDefinition(name, _text(kind), charset, nullable == "YES", constant, computed)
        columns.setdefault((database, table), []).append(column)
    keys = _read_keys(connection, databases)
    return [_definition(entry, columns.get(entry.full_name, []), keys.get(entry.full_name, ())) for entry in entries]


def _definition(entry: TableEntry, columns: Sequence[ColumnDefinition], keys: tuple[Index, ...]) -> TableDefinition:
    if entry.sequence:
        return TableDefinition(*entry.full_name, ())
    return TableDefinition(*entry.full_name, tuple(columns), keys, entry.charset)


def _read_keys(connection: Connection, databases: tuple[str, ...]) -> dict[TableName, tuple[Index, ...]]:
    """Primary and unique keys over whole columns."""
    found: dict[TableName, dict[str, list[str | None]]] = {}
    for database, table, index, column, part in execute(connection, _KEYS, (databases,)):
        found.setdefault((database, table), {}).setdefault(index, []).append(None if part else column)
    return {
        table: tuple(Index(name, tuple(map(str, names))) for name, names in indexes.items() if None not in names)
        for table, indexes in found.items()
    }


def _constant(default: object, extra: str, *, mariadb: bool) -> str | None:
    """A default that is a constant, as its value's text. MariaDB writes an expression, MySQL the value."""
    if default is None or "DEFAULT_GENERATED" in extra:
        return None
    text = _text(default)
    if not mariadb:
        return None if text.upper().startswith("CURRENT_TIMESTAMP") else text
    if text[:1] == "'":
        return unquoted(text)
    return text if text.lstrip("+-")[:1].isdigit() else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
