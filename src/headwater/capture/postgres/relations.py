"""The captured tables as the stream describes them, and what happens when a table's definition changes under way.

Columns are followed by their numbers (`identity`), so a renamed column stays the column that it is. What the rows that
are there hold in a column that came, or whose type changed, is known from the catalog as long as they were not written
anew; where it is not known, or a number is a guess, the table is put down to be read anew (`Known.reread`), and until
that has happened such values are null. How much of this goes on by itself is the source's `on_schema_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from headwater.capture.postgres.catalog import as_wanted
from headwater.capture.postgres.definition import Definition
from headwater.capture.postgres.identity import Identified, Sent, identify
from headwater.capture.postgres.known import Describe, Known, by_number
from headwater.capture.postgres.pgoutput import RelationMessage
from headwater.capture.postgres.redefinition import changes, is_known_after
from headwater.capture.postgres.table import FULL, NOTHING, Layout, Table, require_streams
from headwater.capture.postgres.types import Column
from headwater.capture.schema_policy import Change, SchemaGuard
from headwater.capture.settings import SchemaPolicy

Look = Callable[[int], Definition | None]
"""A table's definition as of now, by its id; None if it is gone."""


class Relations:
    """What each table id in the stream stands for.

    Args:
        tables: the captured tables, as they are where the stream begins.
        text_columns: patterns of columns wanted as text.
        describe: looks up types that the stream names by id only.
        look: asks the catalog for a table; without it columns go by their names.
        known: what a resume point remembers of the tables; kept up to date.
        policy: by schema.table, what may change without asking.
        source: the source's name, for the commands in messages.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        text_columns: Sequence[str],
        describe: Describe,
        look: Look | None = None,
        known: Known | None = None,
        policy: Callable[[str], SchemaPolicy] = lambda _: "evolve",
        source: str = "NAME",
    ) -> None:
        self._tables = {table.oid: table for table in tables}
        self._names = {table.qualified: table.oid for table in tables}
        self._text_columns = text_columns
        self._describe = describe
        self._look = look
        self.known = known if known is not None else Known()
        self._guard = SchemaGuard(source, policy, self.known.accepted)
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
        definition = self._look(table.oid) if self._look is not None else None
        self.known.note(table, definition.file if definition else 0)
        message = self._messages.pop(table.oid, None)
        if message is not None:
            self.declare(message)

    def adopt(self, read: Table, *, reached: bool) -> Table:
        """A captured table with the definition that it was read with, which the stream may not have spoken of yet. Of
        a column that is read before the stream brings it, rows that are not read have the value that they got when it
        came.

        Args:
            read: the table as the reading had it.
            reached: the stream has brought all that the reading could see; so no older definition can come any more.
        """
        known = self._tables[read.oid]
        if _drawn(read) == _drawn(known):
            return known
        definition = self._look(read.oid) if self._look is not None else None
        missing = {a.number: a.missing for a in definition.attributes} if definition else {}
        missing |= {column.number: column.missing for column in known.columns}
        now = replace(read, columns=tuple(replace(c, missing=missing.get(c.number)) for c in read.columns))
        if known.changelog == "upsert" and now.identity == FULL and now.key == known.key:
            now = replace(now, identity=known.identity)
        if reached:
            self._tables[read.oid] = now
            self.known.note(now, self._file(now, definition))
        else:
            self.known.ahead[read.oid] = repr(_drawn(now))
        return now

    def stream_name(self, oid: int) -> str:
        """Name of the stream that a table which is not captured would feed."""
        message = self._messages[oid]
        return Table(oid, message.schema, message.name, ()).stream_name

    def declare(self, message: RelationMessage, xid: int = 0) -> bool:
        """Takes note of a Relation message; whether the table's layout is another one now.

        Args:
            message: what the stream says of a table.
            xid: the transaction that it came in; 0 if that is not known.

        Raises:
            SchemaChanged: the change is one that the user is to decide on.
        """
        table = self._tables.get(message.oid)
        name = f"{message.schema}.{message.name}"
        if table is None:
            if name in self._names:
                raise self._guard.stopped(name, "was dropped and made again", another=True)
            known = self._messages.get(message.oid)
            self._messages[message.oid] = message
            return known != message
        if table.qualified != name:
            raise self._guard.stopped(table.qualified, f"was renamed to {name}", another=True)
        before = self._layouts.get(message.oid)
        layout = self._followed(table, message, xid)
        self._messages[message.oid] = message
        if before is not None and _alike(before, layout):
            return False
        self._layouts[message.oid] = layout
        self._tables[message.oid] = layout.table
        return True

    def _followed(self, table: Table, message: RelationMessage, xid: int) -> Layout:
        definition = self._look(message.oid) if self._look is not None else None
        found = _identified(table, message, definition, self.known.given(message.oid), xid)
        if found is None:
            raise self._guard.stopped(table.qualified, "has columns that are not those of the table that was captured")
        columns = self._columns(table, message, found.numbers, definition)
        key, identity = _key(table, message, columns, definition)
        now = replace(table, columns=columns, key=key, identity=identity)
        require_streams([now])
        self._judge(table, now, changes(table, now), found, definition)
        self.known.note(now, self._file(now, definition))
        return Layout(now, tuple(range(len(columns))), len(columns))

    def _judge(
        self, table: Table, now: Table, found: Sequence[Change], numbers: Identified, definition: Definition | None
    ) -> None:
        """Holds changes against the policy, and puts down a table whose rows are not known any more."""
        name, file = table.qualified, self.known.file(table.oid)
        sure = numbers.sure and (definition is None or is_known_after(table, now, definition, file))
        sure = sure and self.known.ahead.get(table.oid, repr(_drawn(now))) == repr(_drawn(now))
        if sure:
            self.known.ahead.pop(table.oid, None)
        if not found and sure:
            return
        self._guard.judge(name, found, known=sure)
        if not sure:
            self.known.read_anew(table)

    def _file(self, table: Table, definition: Definition | None) -> int:
        """The file to remember of a table: the present one only if the catalog has not gone on meanwhile, for what was
        written anew by changes that are still to come would be missed."""
        before = self.known.file(table.oid)
        if definition is None:
            return before or 0
        now = [(a.number, a.name, a.kind) for a in definition.attributes if a.name is not None]
        here = [(column.number, column.name, (column.oid, column.typmod)) for column in table.columns]
        return definition.file if before is None or now == here else before

    def _columns(
        self, table: Table, message: RelationMessage, numbers: Sequence[int], definition: Definition | None
    ) -> tuple[Column, ...]:
        was, now = by_number(table.columns), {a.number: a for a in definition.attributes} if definition else {}
        columns = []
        for sent, number in zip(message.columns, numbers, strict=True):
            before = was.get(number)
            if before is not None and (before.oid, before.typmod) == (sent.oid, sent.typmod):
                columns.append(replace(before, name=sent.name))
                continue
            described = self._describe(sent.name, sent.oid, sent.typmod)
            column = as_wanted(described, table.qualified, self._text_columns)
            attribute = now.get(number)
            fits = before is None and attribute is not None and attribute.kind == (sent.oid, sent.typmod)
            columns.append(replace(column, number=number, missing=attribute.missing if fits and attribute else None))
        return tuple(columns)


def _drawn(table: Table) -> tuple[object, ...]:
    return table.key, *((column.number, column.name, column.oid, column.typmod) for column in table.columns)


def _alike(one: Layout, other: Layout) -> bool:
    """Whether rows decode to the same stream."""
    same = (one.wire, one.width) == (other.wire, other.width) and one.table.columns == other.table.columns
    return same and (one.table.key, one.table.changelog) == (other.table.key, other.table.changelog)


def _identified(
    table: Table, message: RelationMessage, definition: Definition | None, given: int, xid: int
) -> Identified | None:
    sent = [Sent(column.name, (column.oid, column.typmod)) for column in message.columns]
    if definition is not None and all(column.number for column in table.columns):
        known = {column.number: Sent(column.name, (column.oid, column.typmod)) for column in table.columns}
        return identify(known, sent, definition.attributes, given, xid)
    numbers = {column.name: column.number for column in table.columns}
    fresh = iter(range(max(numbers.values(), default=0) + 1, 1 << 16))
    return Identified(tuple(numbers[c.name] if c.name in numbers else next(fresh) for c in message.columns), True)


def _key(
    table: Table, message: RelationMessage, columns: Sequence[Column], definition: Definition | None
) -> tuple[tuple[str, ...], str]:
    """The key and replica identity from a message on. One that flags no column (NOTHING) or all of them (FULL) says
    nothing of the key: then what is known of it stands, as long as the catalog does not say that it is gone."""
    names = {column.number: column.name for column in columns}
    before = [names.get(column.number) for column in _of(table.columns, table.key)]
    kept = tuple(name for name in before if name is not None)
    if message.identity == NOTHING:
        return (kept if len(kept) == len(table.key) else ()), table.identity
    if message.identity == FULL:
        numbers = {column.number for column in _of(columns, kept)}
        lost = len(kept) < len(table.key) or (definition is not None and set(definition.key) != numbers)
        return (() if lost else kept), (table.identity if table.changelog == "upsert" and not lost else FULL)
    flagged = tuple(column.name for column in message.columns if column.identifies)
    if set(flagged) == set(kept):
        return kept, message.identity
    ordered = tuple(names[number] for number in definition.key if number in names) if definition else ()
    return (ordered if set(ordered) == set(flagged) else flagged), message.identity


def _of(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    by_name: Mapping[str, Column] = {column.name: column for column in columns}
    return [by_name[name] for name in names]
