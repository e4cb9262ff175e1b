"""A version of a table: its columns, its files, and what a commit of ours said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from headwater.index.kernels import Longs
from headwater.lake.table_format import Committed

NOTHING: Longs = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        field: its name and lake type; the metadata carries the id that the source has for it.
        number: identifies it for the table's life, whatever it is called (Parquet's field id).
        name: what it is called in files.
    """

    field: pa.Field
    number: int
    name: str


@dataclass(frozen=True)
class Shape:
    """The columns of a table in order, and the highest column number ever given away."""

    columns: tuple[Column, ...]
    last: int

    @property
    def schema(self) -> pa.Schema:
        """Names and lake types."""
        return pa.schema([column.field for column in self.columns])

    def column(self, name: str) -> Column | None:
        """The column of that name now."""
        return next((column for column in self.columns if column.field.name == name), None)


@dataclass(frozen=True)
class LiveFile:
    """A data file of a version.

    Attributes:
        name: its name in the table's folder.
        rows: how many rows it holds, deleted ones too.
        size: bytes.
        deleted: ascending positions of rows that are deleted.
        note: what the log keeps beside it.
    """

    name: str
    rows: int
    size: int
    deleted: Longs = field(default_factory=lambda: NOTHING)
    note: Mapping[str, object] = field(default_factory=dict)

    @property
    def live(self) -> int:
        """How many rows are not deleted."""
        return self.rows - len(self.deleted)


@dataclass(frozen=True)
class Head:
    """What a version says about itself.

    Attributes:
        number: counts up by one.
        at_us: when it was committed, microseconds since 1970 UTC.
        committed: the epoch that it made visible; None if it is not the commit of an epoch of ours.
        writer: who of us committed it.
        maintenance: files were written anew and no row changed.
        counts: of a commit of ours: rows `added` and `deleted`, `rows` and `files` there after it.
    """

    number: int
    at_us: int
    committed: Committed | None = None
    writer: str | None = None
    maintenance: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """A version of a table, whole.

    Attributes:
        head: what it says about itself.
        shape: its columns.
        key: columns that identify a row.
        files: by name.
        committed: the last commit of an epoch of ours, here or before.
        note: what the log keeps beside it.
    """

    head: Head
    shape: Shape
    key: tuple[str, ...]
    files: Mapping[str, LiveFile]
    committed: Committed | None = None
    note: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What a commit does.

    Attributes:
        head: what the new version says; its number is the former one's and one more.
        shape, key: the columns from now on.
        added: files that are new; they are durable.
        changed: files that stay, with more rows deleted.
        dropped: files that go.
    """

    head: Head
    shape: Shape
    key: tuple[str, ...]
    added: tuple[LiveFile, ...] = ()
    changed: tuple[LiveFile, ...] = ()
    dropped: tuple[LiveFile, ...] = ()

    def counted(self, before: Version) -> Change:
        """The change with its counts in the head."""
        files = self.files_after(before).values()
        gone = sum(file.live for file in self.dropped)
        gone += sum(before.files[file.name].live - file.live for file in self.changed)
        counts = {
            "added": sum(file.live for file in self.added),
            "deleted": gone,
            "rows": sum(file.live for file in files),
            "files": len(files),
        }
        return replace(self, head=replace(self.head, counts=counts))

    def files_after(self, before: Version) -> dict[str, LiveFile]:
        """The files of the version that it makes."""
        gone = {file.name for file in self.dropped}
        kept = {name: file for name, file in before.files.items() if name not in gone}
        return {**kept, **{file.name: file for file in (*self.changed, *self.added)}}
