"""The types of a stream: its columns, its key, and what its changes can be relied on to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Changelog = Literal["append", "upsert", "full"]
"""How much a stream's changes say.

- `append`: rows only ever appear (a truncate aside).
- `upsert`: an update carries the new row, a delete only the key; who needs the old row must remember it.
- `full`: an update or delete carries the whole old row too.
"""


@dataclass(frozen=True)
class StreamSchema:
    """A stream's name and types.

    Attributes:
        name: the name that models use, unique in the project.
        columns: the row's columns in order, without the change columns of `headwater.change`. Field metadata may carry
            the source's own type under b"headwater.source_type".
        key: names of the key columns; empty for a table without a key.
        changelog: see `Changelog`.
    """

    name: str
    columns: pa.Schema
    key: tuple[str, ...] = ()
    changelog: Changelog = "append"

    def __post_init__(self) -> None:
        missing = [name for name in self.key if name not in self.columns.names]
        if missing:
            raise ValueError(f"stream {self.name!r}: key columns {missing} are not among its columns")
        if self.changelog == "upsert" and not self.key:
            raise ValueError(f"stream {self.name!r}: an upsert stream needs a key")


COLUMN = b"headwater.column"
"""Field metadata: what identifies the column at its source for ever, whatever it is called; see `column_id`."""

DEFAULT = b"headwater.default"
"""Field metadata: the value that rows which are there already have in a column that came; see `default_of`."""

PROMISED = b"headwater.promised"
"""Field metadata: the source has this column by now, but no change that was taken in has brought it yet."""


def column_id(field: pa.Field) -> str | None:
    """What identifies a column at its source, unique in its stream; None if its name is all there is to go by."""
    found = (field.metadata or {}).get(COLUMN)
    return None if found is None else found.decode()


def with_column_id(field: pa.Field, identity: str) -> pa.Field:
    """The field, identified."""
    return field.with_metadata({**(field.metadata or {}), COLUMN: identity.encode()})


def with_default(field: pa.Field, value: pa.Array) -> pa.Field:
    """The field of a column that came, whose value in rows that are there already is the one in `value`."""
    table = pa.table([value], schema=pa.schema([pa.field("value", field.type)]))
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return field.with_metadata({**(field.metadata or {}), DEFAULT: buffer.getvalue().to_pybytes()})


def default_of(field: pa.Field) -> pa.Scalar | None:
    """The value of a column in the rows that were there when it came; None for null."""
    found = (field.metadata or {}).get(DEFAULT)
    return None if found is None else pa.ipc.open_stream(found).read_all().column(0)[0]


def successors(held: pa.Schema, wanted: pa.Schema) -> dict[str, pa.Field]:
    """Which wanted column continues which held one, by the held one's name: that of the same id, or that of the same
    name if one of the two has no id."""
    by_id = {column_id(field): field for field in wanted if column_id(field) is not None}
    found = {}
    for field in held:
        identity = column_id(field)
        if identity is not None and identity in by_id:
            found[field.name] = by_id[identity]
        elif field.name in wanted.names and (identity is None or column_id(wanted.field(field.name)) is None):
            found[field.name] = wanted.field(field.name)
    return found
