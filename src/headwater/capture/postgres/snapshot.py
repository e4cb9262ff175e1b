"""The initial snapshot: every captured table read whole, as of the exact LSN from which the slot sends changes.

The slot's creation exports a database snapshot in which every transaction that commits before the slot's consistent
point is visible, and none after. One second connection imports it and reads the tables one after the other with COPY.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg import sql

from headwater import failpoint
from headwater.capture.postgres.catalog import TableRow
from headwater.capture.postgres.connection import Connection, failed
from headwater.capture.postgres.resume import DONE, RUNNING, Standing, boundary_before
from headwater.capture.postgres.rows import Places, decode_copy, reject_batch, truncation
from headwater.capture.postgres.table import Layout, Table, as_read
from headwater.capture.postgres.wire import Frames, read_copy
from headwater.change import Group
from headwater.errors import SourceUnavailable

LOCK_WAIT = "30s"

_REWRITTEN = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) AND (c.oid = ANY(%(oids)s)
  OR EXISTS (SELECT FROM unnest(%(oids)s) AS root (oid), pg_partition_tree(root.oid) p WHERE p.relid = c.oid))"""

CHUNK_ROWS = 10_000
CHUNK_BYTES = 16 << 20


def begin_snapshot(connection: Connection, exported: str) -> None:
    """Makes `connection` see the database as the exported snapshot does, until it is closed.

    Raises:
        SourceUnavailable: the snapshot is gone already.
    """
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
    except psycopg.Error as error:
        failed(error, "importing the slot's snapshot")


def hold_tables(connection: Connection, rows: Sequence[TableRow]) -> None:
    """Keeps the tables from being emptied or rewritten until the snapshot is through.

    A truncated table looks empty to older snapshots as well, so its rows would be missing here while the stream still
    changes them. Whether that happened before the lock shows in the tables' file numbers: the query reads the
    catalog in the snapshot, the function reads it as of now.

    Raises:
        SourceUnavailable: it happened, or somebody holds a lock against us for longer than `LOCK_WAIT`.
    """
    names = sql.SQL(", ").join(sql.Identifier(row.schema, row.name) for row in rows)
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'".encode())
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    moved = connection.execute(_REWRITTEN, {"oids": [row.oid for row in rows]}).fetchone()
    if moved is not None:
        raise SourceUnavailable(
            f"table {moved[0]} was emptied or rewritten just as the snapshot began", hint="taking the snapshot again"
        )


@dataclass
class Snapshot:
    """A snapshot that can be read once.

    Attributes:
        connection: a connection that `begin_snapshot` was called on; closed at the end.
        tables: the captured tables, as they are in the snapshot.
        wanted: those of them to be read; none with `snapshot: never`.
        standing: goes into resume points.
        lsn: the slot's consistent point.
        again: the log holds part of an earlier attempt, so every stream is emptied first.
    """

    connection: Connection
    tables: Sequence[Table]
    wanted: Sequence[Table]
    standing: Standing
    lsn: int
    again: bool
    _ordinal: int = 0

    def groups(self) -> Iterator[Group]:
        """The snapshot in order; the last group is empty and ends it.

        Raises:
            SourceUnavailable: the connection broke.
            SourceStopped: a table cannot be read.
        """
        if self.again:
            yield self._truncations()
        for table in self.wanted:
            try:
                yield from self._read(table)
            except psycopg.Error as error:
                failed(error, f"reading table {table.qualified}")
            failpoint.reach("capture.snapshot.after_table")
        self.connection.close()
        yield Group(boundary_before(self.standing, self.lsn, self._ordinal, DONE))

    def _read(self, table: Table) -> Iterator[Group]:
        layout = as_read(table)
        query = _query(table).as_bytes(self.connection)
        for rows in read_copy(self.connection, query, CHUNK_ROWS, CHUNK_BYTES):
            yield self._group(layout, rows)

    def _group(self, layout: Layout, rows: Frames) -> Group:
        ordinals = np.arange(self._ordinal, self._ordinal + len(rows), dtype=np.int64)
        self._ordinal += len(rows)
        places = Places(np.full(len(rows), self.lsn - 1, np.uint64), ordinals, None)
        decoded = decode_copy(layout, rows, places)
        boundary = boundary_before(self.standing, self.lsn, self._ordinal - 1, RUNNING)
        return Group(boundary, (decoded.batch,) if decoded.batch else (), reject_batch(decoded.rejects))

    def _truncations(self) -> Group:
        batches = [truncation(as_read(table), self.lsn - 1, at) for at, table in enumerate(self.tables)]
        self._ordinal = len(batches)
        boundary = boundary_before(self.standing, self.lsn, self._ordinal - 1, RUNNING)
        return Group(boundary, tuple(batches))


def _query(table: Table) -> sql.Composed:
    """COPY in text format: the very text that pgoutput sends. A cast to text is not (bool, inet, char(n))."""
    return sql.SQL("COPY (SELECT {} FROM {}{}{}) TO STDOUT").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
        sql.SQL("" if table.partitioned else "ONLY "),
        sql.Identifier(table.schema, table.name),
        sql.SQL(f" WHERE {table.row_filter}" if table.row_filter else ""),
    )
