"""A PostgreSQL table as of one LSN, for comparing a mirror with it. See `headwater.capture.verification`.

A temporary slot exports a snapshot at a known LSN and is given up as soon as the snapshot is imported, so that it keeps
no write-ahead log. The table, or each partition, is then read in ranges of blocks, a few seconds each.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from headwater.capture.postgres.canonical import canonical, lengthened
from headwater.capture.postgres.connection import Connection, connect, failed
from headwater.capture.postgres.lsn import lsn_text, parse_lsn
from headwater.capture.postgres.preconditions import quoted
from headwater.capture.postgres.rows import Places, decode_copy
from headwater.capture.postgres.selection import did_you_mean, qualify
from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.slot import CreatedSlot
from headwater.capture.postgres.snapshot import begin_snapshot
from headwater.capture.postgres.table import Table, as_read
from headwater.capture.postgres.wire import read_copy
from headwater.change import marks
from headwater.digest import Digest, Digests
from headwater.errors import InvariantBroken, UserError
from headwater.schema import StreamSchema

PART_BLOCKS = 8192
"""Blocks read by one statement: 64 MB."""

_ROWS, _BYTES = 10_000, 16 << 20

_PARTS = """
SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int, greatest(c.reltuples, 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(oid)s AND c.relkind = 'r'
   OR c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s) WHERE isleaf) AND c.relkind = 'r'"""


@dataclass(frozen=True)
class _Part:
    """A table with rows of its own: the table, or a leaf of it."""

    schema: str
    name: str
    blocks: int


def temporary_slot(replication: Connection) -> CreatedSlot:
    """Makes a slot that goes with its connection, and exports its snapshot."""
    name = sql.Identifier(f"headwater_verify_{secrets.token_hex(8)}")
    command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput").format(name)
    try:
        row = replication.execute(command).fetchone()
    except psycopg.Error as error:
        failed(error, "making a temporary replication slot")
    if row is None:
        raise InvariantBroken("CREATE_REPLICATION_SLOT gave no row")
    return CreatedSlot(parse_lsn(str(row[1])), str(row[2]))


def open_table_at(
    settings: PostgresSettings, captured: Callable[[Connection], Sequence[Table]], name: str
) -> PostgresTableAt:
    """See `headwater.capture.verification.Verifiable`.

    Args:
        settings: of the source.
        captured: the captured tables as a connection sees them.
        name: of the table; without a schema, `public` is meant.
    """
    replication = connect(settings, replication=True)
    connection = None
    try:
        created = temporary_slot(replication)
        connection = connect(settings)
        begin_snapshot(connection, created.snapshot)
        tables = {table.qualified: table for table in captured(connection)}
        wanted = qualify(name)
        if wanted not in tables:
            near = did_you_mean(wanted, list(tables)) or f"captured: {', '.join(tables)}"
            raise UserError(f"table {wanted} is not captured", hint=near)
        return PostgresTableAt(connection, tables[wanted], created.lsn)
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    finally:
        replication.close()


class PostgresTableAt:
    """See `TableAt`.

    Args:
        connection: sees the exported snapshot; taken over.
        table: the table as captured.
        lsn: of the snapshot.
    """

    def __init__(self, connection: Connection, table: Table, lsn: int) -> None:
        self._connection = connection
        self._table = table
        self._layout = as_read(table)
        self.stream: StreamSchema = table.stream
        self.position = lsn
        self.told = lsn_text(lsn)
        found = self._all(_PARTS.encode(), {"oid": table.oid})
        self._parts = [_Part(str(row[0]), str(row[1]), int(str(row[2]))) for row in found]
        self.expected = int(sum(float(str(row[3])) for row in found))

    def digests(self, buckets: int) -> Digests:
        """See `TableAt.digests`."""
        query = sql.SQL(
            "SELECT _hw_bucket, count(*), sum(('x' || substr(_hw_hash, 1, 15))::bit(60)::int8),"
            " sum(('x' || substr(_hw_hash, 16, 15))::bit(60)::int8) FROM ({}) h GROUP BY _hw_bucket"
        )
        found: Digests = {}
        for where in self._ranges():
            for row in self._all(query.format(self._hashed(where, buckets, ())), None):
                bucket, *sums = (int(str(value)) for value in row)
                found[bucket] = found.get(bucket, Digest()) + Digest(*sums)
        return found

    def rows(self, buckets: int, chosen: Sequence[int]) -> Iterator[pa.Table]:
        """See `TableAt.rows`."""
        names = self._names()
        for where in self._ranges():
            hashed = self._hashed(where, buckets, self._table.columns)
            query = sql.SQL("COPY (SELECT {} FROM ({}) h WHERE _hw_bucket = ANY ({})) TO STDOUT").format(
                names, hashed, sql.Literal(list(chosen))
            )
            yield from self._decoded(query.as_bytes(self._connection))

    def close(self) -> None:
        """See `TableAt.close`."""
        self._connection.close()

    def _decoded(self, query: bytes) -> Iterator[pa.Table]:
        try:
            for frames in read_copy(self._connection, query, _ROWS, _BYTES):
                places = Places(np.zeros(len(frames), np.uint64), np.zeros(len(frames), np.int64), None)
                batch = decode_copy(self._layout, frames, places).batch
                if batch is None:
                    continue
                whole = np.ones(len(batch), np.bool_)
                for mask in marks(batch)[1].values():
                    whole &= ~mask
                rows = pa.Table.from_batches([batch.rows]).filter(pa.array(whole))
                yield rows.select(self.stream.columns.names)
        except psycopg.Error as error:
            failed(error, f"reading table {self._table.qualified}")

    def _hashed(self, where: sql.Composed, buckets: int, columns: Sequence[object]) -> sql.Composed:
        """Rows with their hash and bucket, and the columns if asked for. `OFFSET 0` keeps each text from being made
        more than once."""
        table = self._table
        place = {column.name: f"_hw_t{number}" for number, column in enumerate(table.columns)}
        texts = ", ".join(
            f"{canonical(column, quoted(column.name))} AS {place[column.name]}" for column in table.columns
        )
        row = " || ".join(lengthened(text) for text in place.values()) or "''"
        key = " || ".join(lengthened(place[name]) for name in table.key) or row
        own = sql.SQL("*") if columns else sql.SQL("NULL")
        return sql.SQL(
            "SELECT *, md5({row}) AS _hw_hash,"
            " ('x' || substr(md5({key}), 1, 4))::bit(16)::int % {buckets} AS _hw_bucket"
            " FROM (SELECT {own}, {texts} {where} OFFSET 0) AS texts_of_values"
        ).format(
            row=sql.SQL(row), key=sql.SQL(key), buckets=sql.Literal(buckets), own=own, texts=sql.SQL(texts), where=where
        )

    def _names(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self._table.columns)

    def _ranges(self) -> Iterator[sql.Composed]:
        """FROM and WHERE of each part of the table that one statement reads."""
        condition = sql.SQL(f"AND ({self._table.row_filter})" if self._table.row_filter else "")
        for part in self._parts:
            for first in range(0, part.blocks, PART_BLOCKS):
                yield sql.SQL("FROM ONLY {} WHERE ctid >= {}::tid AND ctid < {}::tid {}").format(
                    sql.Identifier(part.schema, part.name),
                    sql.Literal(f"({first},0)"),
                    sql.Literal(f"({first + PART_BLOCKS},0)"),
                    condition,
                )

    def _all(self, query: bytes | sql.Composed, parameters: dict[str, object] | None) -> list[tuple[object, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:
            failed(error, f"reading table {self._table.qualified}")
