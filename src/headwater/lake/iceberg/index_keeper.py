"""Where a table's key index comes from: the memory, a file, or the table itself, the first of them that will do."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.table import Table

from headwater.index.memory import Arrays
from headwater.lake.iceberg.index_store import IndexStore, IndexUnusable
from headwater.lake.iceberg.places import TableIndex

LEAST_ROWS = 10_000
"""An index of fewer rows is not kept in a file: it is built from the table as fast."""


class IndexKeeper:
    """Opens the index of one table, and keeps it in a file.

    Args:
        table: the table's name, for messages.
        memory: where the places are kept; the heap if None.
        store: the files; None keeps none.
        least_rows: an index of fewer is not kept.

    Attributes:
        origin: how the index was last opened, for people: "file", "file, brought up", or "table" and why.
    """

    def __init__(
        self, table: str, memory: Arrays | None, store: IndexStore | None, least_rows: int = LEAST_ROWS
    ) -> None:
        self._name, self._memory, self._store, self.least_rows = table, memory, store, least_rows
        self.origin = ""

    def empty(self, key: pa.Schema, *, unique: bool) -> TableIndex:
        """An index of no rows."""
        return TableIndex(self._name, key, unique, self._memory)

    def opened(self, known: TableIndex | None, table: Table, key: pa.Schema, *, unique: bool) -> TableIndex:
        """The index at the table's current snapshot.

        Args:
            known: one in memory, of the same key, which may stand at an earlier snapshot.
            table: the table.
            key: what tells its rows apart.
            unique: the table has a key.

        Raises:
            InvariantBroken: the table holds a key twice.
            OSError: a file of the table cannot be read.
        """
        if known is not None and self._brought_up(known, table):
            return known
        kept = self.kept(table, key, unique=unique)
        if kept is not None:
            return kept
        index = self.empty(key, unique=unique)
        index.load(table)
        index.changed = len(index.rows)
        return index

    def kept(self, table: Table, key: pa.Schema, *, unique: bool) -> TableIndex | None:
        """The index that the file holds, at the table's current snapshot; None if it holds none that will do.

        Raises:
            OSError: a file of the table cannot be read.
        """
        index = self.empty(key, unique=unique)
        if not self._restored(index, table):
            return None
        stood_at = index.snapshot
        if not self._brought_up(index, table):
            self.origin = "table: the file's index could not be brought up"
            return None
        self.origin += "" if index.snapshot == stood_at else ", brought up"
        return index

    def _brought_up(self, index: TableIndex, table: Table) -> bool:
        return index.snapshot == table.metadata.current_snapshot_id or index.follow(table)

    def _restored(self, index: TableIndex, table: Table) -> bool:
        """Reads the file into an empty index, if there is one and it can be used."""
        self.origin = "table: no file is kept"
        if self._store is None:
            return False
        try:
            stored = self._store.load(table.metadata, _identity(table, index), self._memory or Arrays())
        except IndexUnusable as error:
            self.origin = f"table: {self._store.path(table.metadata).name}: {error}"
            return False
        if stored is None:
            return False
        index.restore(stored, table)
        self.origin = "file"
        return True

    def save(self, index: TableIndex, table: Table, least_changed: float = 0.0) -> None:
        """Writes the index to its file, if it is large enough and has changed. It must stand at a table snapshot.

        Args:
            index: at the table's current snapshot.
            table: the table.
            least_changed: least share of its rows that must have changed since it was written or read last.

        Raises:
            OSError: it could not be written; the former file stands.
        """
        if self._store is None or not index.changed or len(index.rows) < self.least_rows:
            return
        if index.changed < least_changed * len(index.rows):
            return
        self._store.save(table.metadata, _identity(table, index), index.stored())
        index.changed = 0


def _identity(table: Table, index: TableIndex) -> list[str]:
    """What tells rows apart, as an index file says it: fields by id, and whether there is a key."""
    fields = [f"{table.schema().find_field(field.name).field_id} {field.type}" for field in index.key]
    return [*fields, "unique" if index.unique else "multiset"]
