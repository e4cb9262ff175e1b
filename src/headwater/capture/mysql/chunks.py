"""Parts of a table read in the order of its key, each as of one place of the binary log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pymysql

from headwater.capture.mysql.catalog import TableEntry
from headwater.capture.mysql.connection import Connection, execute, quoted
from headwater.capture.mysql.definition import TableDefinition
from headwater.capture.mysql.packets import Frames, select
from headwater.capture.mysql.pinned import Pinned, pin
from headwater.capture.mysql.server import Server
from headwater.capture.mysql.snapshot import query
from headwater.capture.mysql.table import Table
from headwater.capture.mysql.types import Column
from headwater.change import key_text
from headwater.errors import SourceUnavailable, UserError

_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal")
_TEXTS = ("char", "varchar", "binary", "varbinary", "date", "datetime", "timestamp")
_ORDERED = frozenset((*_NUMBERS, *_TEXTS))
"""Types that a literal is compared with in the order in which ORDER BY puts them; ENUM is not."""

Keys = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chunk:
    """Rows of a table as of one place.

    Attributes:
        definition: the table's, under which they were asked for.
        number: commit number of the place: every transaction before it is in the rows, and none after.
        frames: the rows in the text protocol.
        after: the last row's key, as texts of `key_texts`; empty if there is no more to be read.
        upto: the last key that is to be read, as such texts; empty if the table has no rows or no order.
        asked: the keys that were asked for; empty for a part of the table's order.
    """

    definition: TableDefinition
    number: int
    frames: tuple[Frames, ...]
    after: tuple[str, ...]
    upto: tuple[str, ...] = ()
    asked: Keys = ()

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(len(frames) for frames in self.frames)


class Chunks:
    """Reads chunks, each on a connection of its own, so that no transaction stays open between two.

    Args:
        connect: opens a connection.
        server: what it leads to.
        era: of commit numbers.
        rows: of a chunk, at most.
    """

    def __init__(self, connect: Callable[[], Connection], server: Server, era: int, rows: int) -> None:
        self._connect = connect
        self._server = server
        self._era = era
        self._rows = rows

    def pin(self, definition: TableDefinition, since: int) -> Pinned | None:
        """A connection that sees the table as of one place; None if that is before the commit number `since`: a
        transaction is sent to replicas before it can be seen."""
        pinned = pin(self._connect, self._server, [_entry(definition)], 1, self._era)
        if pinned.place.number >= since:
            return pinned
        pinned.close()
        return None

    def read(
        self,
        definition: TableDefinition,
        table: Table,
        where: str,
        after: Sequence[str],
        upto: tuple[str, ...] = (),
        since: int = 0,
    ) -> Chunk | None:
        """Reads the next rows after the key `after` up to `upto`; up to the table's last key now, if that is empty.

        Args:
            definition, table: which.
            where: a condition on the rows; empty for all.
            after, upto: texts of keys.
            since: see `pin`; None if no such place can be seen now.

        Raises:
            SourceUnavailable: not now.
            SourceStopped: the table is not as `definition` says, or may not be read.
        """
        ordered = is_ordered(table)
        conditions = [f"({where})"] if where else []
        if after:
            conditions.append(f"({beyond(table, after)})")
        pinned = self.pin(definition, since)
        if pinned is None:
            return None
        try:
            upto = upto or (self._last_key(pinned.connections[0], table) if ordered else ())
            if upto:
                conditions.append(f"NOT ({beyond(table, upto)})")
            text = query(table, " AND ".join(conditions))
            if ordered:
                text += f" ORDER BY {', '.join(quoted(name) for name in table.key)} LIMIT {self._rows}"
            frames = tuple(select(pinned.connections[0], text, f"reading {table.qualified}"))
        finally:
            pinned.close()
        rows = sum(len(part) for part in frames)
        last = key_texts(table, frames[-1]) if ordered and rows == self._rows else ()
        return Chunk(definition, pinned.place.number, frames, last, upto)

    def read_keys(
        self, definition: TableDefinition, table: Table, where: str, keys: Keys, since: int = 0
    ) -> Chunk | None:
        """Reads the rows that have these keys, of an ordered table; see `read`."""
        conditions = [f"({where})"] if where else []
        conditions.append(these(table, keys))
        pinned = self.pin(definition, since)
        if pinned is None:
            return None
        try:
            text = query(table, " AND ".join(conditions))
            frames = tuple(select(pinned.connections[0], text, f"reading {table.qualified}"))
        finally:
            pinned.close()
        return Chunk(definition, pinned.place.number, frames, (), asked=keys)

    def _last_key(self, connection: Connection, table: Table) -> tuple[str, ...]:
        order = ", ".join(f"{quoted(name)} DESC" for name in table.key)
        text = f"{query(table, '')} ORDER BY {order} LIMIT 1"
        found = [frames for frames in select(connection, text, f"reading {table.qualified}") if len(frames)]
        return key_texts(table, found[-1]) if found else ()

    def require_condition(self, table: Table, where: str) -> None:
        """Tries a condition.

        Raises:
            UserError: it is none.
        """
        connection = self._connect()
        try:
            execute(connection, f"SELECT 1 FROM {quoted(table.database, table.name)} WHERE ({where}) LIMIT 0")  # noqa: S608 - the user's own condition
        except pymysql.MySQLError as error:
            raise UserError(f"the condition on {table.qualified} is not valid: {error.args[-1]}") from None
        finally:
            connection.close()

    def expected(self, table: Table) -> int | None:
        """About how many rows a table has, by the server's statistics."""
        connection = self._connect()
        try:
            rows = execute(
                connection,
                "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
                (table.database, table.name),
            )
        except pymysql.MySQLError as error:
            raise SourceUnavailable(f"asking about {table.qualified}: {error}", hint="trying again") from error
        finally:
            connection.close()
        return int(rows[0][0]) if rows and rows[0][0] is not None else None


def _entry(definition: TableDefinition) -> TableEntry:
    return TableEntry(definition.database, definition.name, "", 0, definition.charset)


def is_ordered(table: Table) -> bool:
    """Whether a table can be read in chunks of its key's order."""
    return bool(table.key) and all(column.base in _ORDERED for column in key_columns(table))


def key_columns(table: Table) -> list[Column]:
    """The key's columns in the key's order."""
    named = {column.name: column for column in table.columns}
    return [named[name] for name in table.key]


def key_texts(table: Table, frames: Frames) -> tuple[str, ...]:
    """The key of the last row: numbers and texts as they are, bytes in hexadecimal."""
    values = _values(frames.payload(len(frames) - 1))
    places = {column.name: at for at, column in enumerate(table.columns)}
    found = []
    for column in key_columns(table):
        value = values[places[column.name]] or b""
        found.append(value.hex() if pa.types.is_binary(column.natural_type) else value.decode())
    return tuple(found)


def keys_of(table: Table, rows: pa.RecordBatch) -> Keys | None:
    """The keys of changes, as `key_texts` has them; None if they are captured as something that the server would not
    read as the same."""
    columns = []
    for column in key_columns(table):
        values = rows.column(column.name)
        if pa.types.is_binary(column.natural_type) != pa.types.is_binary(values.type):
            return None
        columns.append([str(text).removeprefix("\\x").removesuffix("Z") if not pa.types.is_string(values.type) else text
                        for text in key_text(values)])  # fmt: skip
    return tuple(zip(*columns, strict=True))


def these(table: Table, keys: Keys) -> str:
    """The condition that a row has one of these keys."""
    columns = key_columns(table)
    names = ", ".join(quoted(column.name) for column in columns)
    rows = (", ".join(map(_literal, columns, key)) for key in keys)
    return f"({names}) IN ({', '.join(f'({row})' for row in rows)})"


def _values(row: bytes) -> list[bytes | None]:
    """The values of one row in the text protocol: each with its length before it, 0xFB for null."""
    values: list[bytes | None] = []
    at = 0
    while at < len(row):
        size, at = row[at], at + 1
        if size == 0xFB:
            values.append(None)
            continue
        if size > 0xFB:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[size]
            size, at = int.from_bytes(row[at : at + width], "little"), at + width
        values.append(row[at : at + size])
        at += size
    return values


def beyond(table: Table, after: Sequence[str]) -> str:
    """The condition that a row's key is beyond `after`, in a form for which the server uses the key's index."""
    columns = key_columns(table)
    literals = [_literal(column, text) for column, text in zip(columns, after, strict=True)]
    names = [quoted(column.name) for column in columns]
    parts = []
    for at in range(len(names)):
        same = [f"{name} = {literal}" for name, literal in zip(names[:at], literals[:at], strict=True)]
        parts.append("(" + " AND ".join([*same, f"{names[at]} > {literals[at]}"]) + ")")
    return f"{names[0]} >= {literals[0]} AND ({' OR '.join(parts)})"


def _literal(column: Column, text: str) -> str:
    """A value as SQL; in this session a backslash is nothing special in a string."""
    if pa.types.is_binary(column.natural_type):
        return f"x'{text}'"
    if pa.types.is_integer(column.natural_type) or pa.types.is_decimal(column.natural_type):
        return text
    return "'" + text.replace("'", "''") + "'"
