"""A table's definition while a statement changes it: the parts of ALTER TABLE, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.capture.mysql.column_text import read_column, read_default
from headwater.capture.mysql.definition import PRIMARY, Index, TableDefinition, TableName
from headwater.capture.mysql.statement import NotUnderstood, Reading, Token, split

_INDEXES = ("INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK")
_NOT_COLUMNS = (*_INDEXES, "PARTITION", "PERIOD", "SYSTEM")
_ROWS_CHANGED = (
    ("DROP", "PARTITION"),
    ("TRUNCATE", "PARTITION"),
    ("EXCHANGE", "PARTITION"),
    ("CONVERT", "PARTITION"),
    ("CONVERT", "TABLE"),
    ("IMPORT", "TABLESPACE"),
    ("IMPORT", "PARTITION"),
    ("DISCARD", "TABLESPACE"),
    ("DISCARD", "PARTITION"),
    ("ADD", "SYSTEM"),
    ("DROP", "SYSTEM"),
    ("ADD", "PERIOD"),
    ("DROP", "PERIOD"),
)
"""Parts of ALTER TABLE that change rows of which the binlog does not speak, or add columns that nobody named."""


@dataclass(frozen=True)
class Altered:
    """What ALTER TABLE makes of a table.

    Attributes:
        table: the definition, under its old name.
        name: the name that it gets.
        origins: for each column the name that it had; None if it came.
    """

    table: TableDefinition
    name: TableName
    origins: tuple[str | None, ...]


def altered(before: TableDefinition, parts: Sequence[Sequence[Token]], database: str) -> Altered:
    """What ALTER TABLE makes of a table.

    Args:
        parts: tokens of each part.
        database: of a new name that names none.

    Raises:
        NotUnderstood: it cannot be said.
    """
    shape, name = Shape(before), before.full_name
    for part in parts:
        reading = Reading(part)
        new = _renamed(reading, database)
        if new is not None:
            name = new
        else:
            _apply(shape, reading)
    return Altered(shape.finished(), name, shape.origins)


def _renamed(reading: Reading, database: str) -> TableName | None:
    following = reading.peek(1).upper
    if reading.peek().upper != "RENAME" or following in ("COLUMN", "INDEX", "KEY"):
        return None
    reading.next()
    reading.take_any("TO", "AS", "=")
    return reading.table(database)


def _apply(shape: Shape, reading: Reading) -> None:
    for words in _ROWS_CHANGED:
        if reading.take(*words):
            raise NotUnderstood(f"{' '.join(words)} changes rows or columns of which the binlog does not speak")
    verb = reading.next().upper
    if verb == "ADD":
        _add(shape, reading)
    elif verb == "DROP":
        _drop(shape, reading)
    elif verb in ("MODIFY", "CHANGE"):
        _redefine(shape, reading, verb)
    elif verb == "RENAME":
        _rename(shape, reading)
    elif verb == "CONVERT":
        shape.without_charsets()
    elif verb == "ALTER":
        _alter_column(shape, reading)


def _add(shape: Shape, reading: Reading) -> None:
    word = reading.peek().upper
    if word in _INDEXES:
        return shape.add_index(reading)
    if word in _NOT_COLUMNS:
        return None
    reading.take("COLUMN")
    keep = reading.take("IF", "NOT", "EXISTS")
    several = reading.peek().text == "(" and reading.peek().kind == "sign"
    for part in split(reading.group()) if several else [reading.rest()]:
        if not (keep and shape.has(part[0].text)):
            shape.add(part, late=True)
    return None


def _drop(shape: Shape, reading: Reading) -> None:
    if reading.take("PRIMARY", "KEY"):
        return shape.drop_index(PRIMARY)
    if reading.take("INDEX") or reading.take("KEY") or reading.take("CONSTRAINT"):
        reading.take("IF", "EXISTS")
        return shape.drop_index(reading.name())
    if reading.take("FOREIGN", "KEY") or reading.take("CHECK"):
        return None
    reading.take("COLUMN")
    keep = reading.take("IF", "EXISTS")
    name = reading.name()
    if keep and not shape.has(name):
        return None
    return shape.drop(name)


def _redefine(shape: Shape, reading: Reading, verb: str) -> None:
    reading.take("COLUMN")
    keep = reading.take("IF", "EXISTS")
    name = reading.name() if verb == "CHANGE" else reading.peek().text
    if not (keep and not shape.has(name)):
        shape.add(reading.rest(), instead_of=name)


def _rename(shape: Shape, reading: Reading) -> None:
    if not reading.take("COLUMN"):
        return
    reading.take("IF", "EXISTS")
    old = reading.name()
    reading.expect("TO")
    shape.rename(old, reading.name())


def _alter_column(shape: Shape, reading: Reading) -> None:
    """ALTER COLUMN ... SET DEFAULT: rows that are there stay as they are, row images may leave it out."""
    if reading.take_any("INDEX", "KEY", "CHECK", "CONSTRAINT"):
        return
    reading.take("COLUMN")
    reading.take("IF", "EXISTS")
    name = reading.name()
    if reading.take("SET", "DEFAULT"):
        shape.set_default(name, *read_default(reading))
    elif reading.take("DROP", "DEFAULT"):
        shape.set_default(name, None, computed=False)
    else:
        shape.place(name)


class Shape:
    """A table's definition while a statement changes it."""

    def __init__(self, before: TableDefinition) -> None:
        self._before = before
        self._columns = list(before.columns)
        self._origins: list[str | None] = [column.name for column in before.columns]
        self._unique = list(before.unique)
        self.charset = before.charset

    @property
    def origins(self) -> tuple[str | None, ...]:
        """For each column the name that it had; None if it came."""
        return tuple(self._origins)

    def finished(self) -> TableDefinition:
        """The definition as it is now; columns of a primary key hold no nulls."""
        primary = {name.lower() for index in self._unique if index.name == PRIMARY for name in index.columns}
        columns = [replace(one, nullable=one.nullable and one.name.lower() not in primary) for one in self._columns]
        names = {column.name for column in columns}
        gone = {*self._before.gone, *(column.name for column in self._before.columns)} - names
        changed = replace(self._before, columns=tuple(columns), unique=tuple(self._unique), charset=self.charset)
        return replace(changed, gone=tuple(sorted(gone)))

    def place(self, name: str) -> int:
        """Where a column is.

        Raises:
            NotUnderstood: there is none of that name.
        """
        for at, column in enumerate(self._columns):
            if column.name.lower() == name.lower():
                return at
        raise NotUnderstood(f"there is no column {name!r}")

    def has(self, name: str) -> bool:
        """Whether there is a column of that name."""
        return any(column.name.lower() == name.lower() for column in self._columns)

    def add(self, part: Sequence[Token], instead_of: str = "", *, late: bool = False) -> None:
        """Adds a column, or puts it in another's place. `late`: rows may be there, which get its default."""
        text = read_column(part)
        at, origin = len(self._columns), None
        if instead_of:
            at = self.place(instead_of)
            self._columns.pop(at)
            origin = self._origins.pop(at)
            self._rename_in_keys(instead_of, text.column.name)
        if text.first:
            at = 0
        elif text.place:
            at = self.place(text.place) + 1
        missing = text.column.default if late else None
        self._columns.insert(at, replace(text.column, missing=missing))
        self._origins.insert(at, origin)
        name = text.column.name
        if text.primary:
            self._unique.insert(0, Index(PRIMARY, (name,)))
        if text.unique:
            self._unique.append(Index(name, (name,)))

    def drop(self, name: str) -> None:
        """Takes a column out, and out of the keys."""
        at = self.place(name)
        self._columns.pop(at)
        self._origins.pop(at)
        kept = [Index(i.name, tuple(c for c in i.columns if c.lower() != name.lower())) for i in self._unique]
        self._unique = [index for index in kept if index.columns]

    def rename(self, old: str, new: str) -> None:
        """Gives a column another name."""
        at = self.place(old)
        self._columns[at] = replace(self._columns[at], name=new)
        self._rename_in_keys(old, new)

    def set_default(self, name: str, default: str | None, computed: bool) -> None:
        """Gives a column another default."""
        at = self.place(name)
        self._columns[at] = replace(self._columns[at], default=default, computed_default=computed)

    def _rename_in_keys(self, old: str, new: str) -> None:
        self._unique = [
            Index(index.name, tuple(new if name.lower() == old.lower() else name for name in index.columns))
            for index in self._unique
        ]

    def add_index(self, reading: Reading) -> None:
        """Adds an index; only primary and unique keys over whole columns are kept."""
        name = ""
        if reading.take("CONSTRAINT") and reading.peek().upper not in ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
            name = reading.name()
        kind = reading.next().upper
        if kind not in ("PRIMARY", "UNIQUE"):
            return
        reading.take_any("KEY", "INDEX")
        reading.take("IF", "NOT", "EXISTS")
        if reading.peek().text != "(" and reading.peek().upper != "USING":
            name = reading.name()
        if reading.take("USING"):
            reading.next()
        columns = self._indexed(reading.group())
        if columns:
            chosen = PRIMARY if kind == "PRIMARY" else name or self._free_name(columns[0])
            self._unique.insert(0 if kind == "PRIMARY" else len(self._unique), Index(chosen, columns))

    def _indexed(self, found: Sequence[Token]) -> tuple[str, ...]:
        """Columns of a key; none if it is over a part of one or an expression."""
        names = []
        for part in split(found):
            if any(token.text == "(" for token in part):
                return ()
            names.append(self._columns[self.place(part[0].text)].name)
        return tuple(names)

    def _free_name(self, wanted: str) -> str:
        taken = {index.name.lower() for index in self._unique}
        names = [wanted, *(f"{wanted}_{number}" for number in range(2, len(taken) + 3))]
        return next(name for name in names if name.lower() not in taken)

    def drop_index(self, name: str) -> None:
        """Takes an index out; one that is not kept here is none of ours."""
        self._unique = [index for index in self._unique if index.name.lower() != name.lower()]

    def without_charsets(self) -> None:
        """Texts are stored in another charset now; the table map says which."""
        self._columns = [replace(column, charset=None) for column in self._columns]
