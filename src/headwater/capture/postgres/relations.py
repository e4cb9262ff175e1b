"""The captured tables as the stream describes them, and what happens when a table's definition changes under way.

A new column is carried from then on, a dropped one stays and is null. What would change the meaning of what the log
holds already (a renamed column, another type, another key) stops the source with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from headwater.capture.postgres.catalog import as_wanted
from headwater.capture.postgres.pgoutput import RelationColumn, RelationMessage
from headwater.capture.postgres.table import FULL, NOTHING, Layout, Table, require_streams
from headwater.capture.postgres.types import Column
from headwater.errors import SourceStopped

Describe = Callable[[str, int, int], Column]
"""Looks a type up: column name, type id, modifier."""


class Relations:
    """What each table id in the stream stands for.

    Args:
        tables: the captured tables.
        text_columns: patterns of columns wanted as text.
        describe: looks up types that the stream names by id only.
    """

    def __init__(self, tables: Sequence[Table], text_columns: Sequence[str], describe: Describe) -> None:
        self._tables = {table.oid: table for table in tables}
        self._names = {table.qualified: table.oid for table in tables}
        self._text_columns = text_columns
        self._describe = describe
        self._layouts: dict[int, Layout] = {}
        self._messages: dict[int, RelationMessage] = {}

    def layout(self, oid: int) -> Layout | None:
        """The layout in force for a table's rows; None if the table is not captured."""
        return self._layouts.get(oid)

    def table(self, oid: int) -> Table | None:
        """A captured table as it is now; None if it is not captured."""
        return self._tables.get(oid)

    def named(self, name: str) -> Table | None:
        """A captured table, schema.table, as it is now; None if it is not captured."""
        return self._tables.get(self._names.get(name, -1))

    def add(self, table: Table) -> None:
        """Captures one more table from here on."""
        self._tables[table.oid] = table
        self._names[table.qualified] = table.oid
        message = self._messages.pop(table.oid, None)
        if message is not None:
            self.declare(message)

    def adopt(self, read: Table) -> Table:
        """A captured table with the columns that it was read with, which the stream may not have spoken of yet; those
        that are dropped stay."""
        table = self._tables[read.oid]
        now = {column.name: column for column in read.columns}
        kept = tuple(now.get(column.name, column) for column in table.columns)
        added = tuple(column for column in read.columns if column.name not in {known.name for known in kept})
        if kept + added != table.columns:
            table = self._tables[read.oid] = replace(table, columns=kept + added)
        return table

    def stream_name(self, oid: int) -> str:
        """Name of the stream that a table which is not captured would feed."""
        message = self._messages[oid]
        return Table(oid, message.schema, message.name, ()).stream_name

    def declare(self, message: RelationMessage) -> bool:
        """Takes note of a Relation message; whether the table's layout is another one now.

        Raises:
            SourceStopped: the change is one that cannot be carried on with.
        """
        if self._messages.get(message.oid) == message:
            return False
        table = self._tables.get(message.oid)
        if table is not None:
            self._layouts[message.oid] = self._evolved(table, message)
            self._tables[message.oid] = self._layouts[message.oid].table
        elif f"{message.schema}.{message.name}" in self._names:
            raise _stop(f"{message.schema}.{message.name}", "was dropped and made again")
        self._messages[message.oid] = message
        return True

    def _evolved(self, table: Table, message: RelationMessage) -> Layout:
        if (table.schema, table.name) != (message.schema, message.name):
            raise _stop(table.qualified, f"was renamed to {message.schema}.{message.name}")
        wire = {column.name: place for place, column in enumerate(message.columns)}
        known = {column.name: column for column in table.columns}
        _refuse_rename(table, self._sent_so_far(table), message, known)
        kept = [self._kept(table, column, message, wire) for column in table.columns]
        added = [self._wanted(table, column) for column in message.columns if column.name not in known]
        _refuse_other_key(table, message)
        columns = tuple(kept + added)
        if columns != table.columns:
            table = replace(table, columns=columns)
            require_streams([table])
        return Layout(table, tuple(wire.get(column.name, -1) for column in columns), len(message.columns))

    def _sent_so_far(self, table: Table) -> list[tuple[str, int]]:
        last = self._messages.get(table.oid)
        return [(column.name, column.oid) for column in (last.columns if last else table.columns)]

    def _kept(self, table: Table, column: Column, message: RelationMessage, wire: dict[str, int]) -> Column:
        """A known column as it is now; one that is dropped stays as it was."""
        if column.name not in wire:
            return column
        sent = message.columns[wire[column.name]]
        if (sent.oid, sent.typmod) == (column.oid, column.typmod):
            return column
        now = self._wanted(table, sent)
        if now.arrow_type != column.arrow_type:
            change = f"from {column.source_type} to {now.source_type}"
            raise _stop(table.qualified, f"has another type in column {column.name!r}: {change}")
        return now

    def _wanted(self, table: Table, sent: RelationColumn) -> Column:
        column = self._describe(sent.name, sent.oid, sent.typmod)
        return as_wanted(column, table.qualified, 0, self._text_columns)


def _refuse_rename(
    table: Table, before: Sequence[tuple[str, int]], message: RelationMessage, known: dict[str, Column]
) -> None:
    """A column that is gone and a new one of its type in its place are taken for a rename, which must not become a
    column that falls silent and another that begins. `before`: name and type of the columns sent so far."""
    sent = {column.name for column in message.columns}
    for (name, oid), now in zip(before, message.columns, strict=False):
        if name not in sent and now.name not in known and now.oid == oid:
            raise _stop(table.qualified, f"has column {name!r} renamed to {now.name!r}")


def _refuse_other_key(table: Table, message: RelationMessage) -> None:
    identifying = {column.name for column in message.columns if column.identifies}
    if message.identity == FULL and table.changelog != "append":
        return
    if message.identity == NOTHING and table.changelog != "full":
        return
    if table.changelog == "full" or identifying != (set(table.key) if table.changelog == "upsert" else set()):
        raise _stop(table.qualified, "has another key or replica identity")


def _stop(table: str, what: str) -> SourceStopped:
    return SourceStopped(
        f"table {table} {what}; everything before that is in the log",
        hint=f"undo the change, or leave the table out: tables: [..., '!{table}'], or begin again with an empty state "
        "folder, which takes a new snapshot",
    )
