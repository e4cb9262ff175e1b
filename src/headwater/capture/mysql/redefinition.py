"""What ALTER TABLE has made of a captured table, and whether its rows are known after it.

The server computes the rows anew by rules of its own (rounding, truncation, implicit defaults, expressions) and the
binlog says nothing of that. So rows count as known only where nothing can have been computed: a column that came with
null or a constant, a wider type, a longer text, labels added at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa

from headwater.capture.mysql.convert import default_value
from headwater.capture.mysql.table import Table
from headwater.capture.mysql.types import Column
from headwater.capture.schema_policy import Change, rekeyed, retyped, widened

_UNICODE = ("utf8mb4", "utf16", "utf32")
_BY_LENGTH = ("char", "varchar", "varbinary")
_BY_RANK = (
    ("tinytext", "text", "mediumtext", "longtext"),
    ("tinyblob", "blob", "mediumblob", "longblob"),
)


def changes(before: Table, now: Table, origins: Sequence[str | None], charset: str | None) -> list[Change]:
    """What of a table's definition is another than it was.

    Args:
        before, now: the table.
        origins: for each column of `now` the name that it had; None if it came.
        charset: of texts whose definition names none; None if not known.
    """
    was = {column.name: column for column in before.columns}
    pairs = list(zip(now.columns, origins, strict=True))
    found = [Change("added", f"has a new column {c.name!r}") for c, origin in pairs if origin is None]
    found += [Change("other", f"has lost its column {name!r}") for name in was if name not in origins]
    for column, origin in pairs:
        if origin is not None:
            found += _of_column(was[origin], column, charset)
    renamed = {origin: column.name for column, origin in pairs if origin is not None}
    if tuple(renamed.get(name) for name in before.key) != now.key:
        found.append(rekeyed(now.key, now.changelog))
    return found


def _of_column(before: Column, now: Column, charset: str | None) -> list[Change]:
    found = []
    if before.name != now.name:
        found.append(Change("other", f"has column {before.name!r} renamed to {now.name!r}"))
    types = f"from {before.source_type} to {now.source_type}"
    if before.arrow_type != now.arrow_type:
        found.append(retyped(now.name, before.arrow_type, now.arrow_type, types))
    elif not _same_values(before, now, charset):
        found.append(Change("other", f"has another type in column {now.name!r}: {types}"))
    return found


def is_known_after(
    before: Table, now: Table, origins: Sequence[str | None], charset: str | None, gone: Collection[str] = ()
) -> bool:
    """Whether the rows that are there hold what follows from what they held. With another key they are read anew too,
    for a reading under way goes by the key.

    Args:
        before, now, origins, charset: as of `changes`.
        gone: columns that the table once had, of which our rows may hold values still.
    """
    was = {column.name: column for column in before.columns}
    if before.key != now.key:
        return False
    for column, origin in zip(now.columns, origins, strict=True):
        if origin is None:
            if column.name in was or column.name in gone or not _came_with_a_constant(column):
                return False
        elif origin != column.name or not _same_values(was[origin], column, charset):
            return False
    return True


def _came_with_a_constant(column: Column) -> bool:
    """A constant of type TIMESTAMP is of the session's time zone, so it is none."""
    if column.base == "timestamp" or not column.default_known:
        return False
    return column.missing is None or bool(default_value(column, column.missing).is_valid)


def _same_values(before: Column, now: Column, charset: str | None) -> bool:
    """Whether every value of a column is the same in its new type."""
    if before.nullable and not now.nullable:
        return False
    if before.missing != now.missing and before.missing is not None:
        return False  # rows that are there have the constant, and the stream may not have told of it yet
    stored = now.charset or charset
    if before.charset is not None and before.charset != stored and stored not in _UNICODE:
        return False
    one, other = before.natural_type, now.natural_type
    if not pa.types.is_string(one) and not pa.types.is_binary(one) and before.base != "bit" and not _temporal(one):
        return bool(one == other) or widened(one, other)
    if before.base == now.base == "enum" or before.base == now.base == "set":
        return now.labels[: len(before.labels)] == before.labels
    if before.base == now.base and before.base in _BY_LENGTH:
        return before.numbers <= now.numbers
    for ranks in _BY_RANK:
        if before.base in ranks and now.base in ranks:
            return ranks.index(before.base) <= ranks.index(now.base)
    return before.source_type == now.source_type


def _temporal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind))
