"""A table's definition as the catalog has it at the moment: the numbers of its columns, and what its rows look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from headwater.capture.postgres.catalog import describe_type
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.identity import Attribute
from headwater.capture.postgres.types import Column

_TABLE = """
SELECT n.nspname, c.relname, pg_relation_filenode(c.oid), c.relkind = 'p', COALESCE((
  SELECT i.indkey::int2[]::int[] FROM pg_index i
  WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s"""

_ATTRIBUTES = """
SELECT attnum, CASE WHEN attisdropped THEN NULL ELSE attname END, atttypid::int8, atttypmod,
       CASE WHEN atthasmissing THEN (attmissingval::text::text[])[1] END,
       xmin::text::int8
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND attgenerated = '' ORDER BY attnum"""


_FILES = """
SELECT oid::int8, COALESCE(pg_relation_filenode(oid), 0)::int8, relnatts::int8 FROM pg_class WHERE oid = ANY(%s)"""


@dataclass(frozen=True)
class Definition:
    """See above.

    Attributes:
        name: schema.table.
        file: the number of its file, which is another one once its rows have been written anew; 0 if it has none of its
            own, as a partitioned table.
        partitioned: its rows are in partitions, which have what is said of rows for themselves.
        attributes: every column that it ever had, by number.
        key: numbers of the primary key's columns, in the key's order.
    """

    name: str
    file: int
    partitioned: bool
    attributes: tuple[Attribute, ...]
    key: tuple[int, ...]


def read_definition(connection: Connection, oid: int) -> Definition | None:
    """The definition of a table; None if it is there no more."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = connection.execute(_TABLE, (oid,)).fetchone()
        if row is None:
            return None
        found = connection.execute(_ATTRIBUTES, (oid,)).fetchall()
    attributes = tuple(
        Attribute(number, name, (int(kind), modifier), text, xid) for number, name, kind, modifier, text, xid in found
    )
    return Definition(f"{row[0]}.{row[1]}", int(row[2] or 0), row[3], attributes, tuple(row[4]))


def read_files(connection: Connection, oids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """`Definition.file` of tables, and the highest number that a column of theirs was ever given."""
    return {oid: (file, given) for oid, file, given in connection.execute(_FILES, (list(oids),)).fetchall()}


class Lookup:
    """Asks the catalog about single things, with a connection each.

    Args:
        connected: gives a connection for a few questions.
    """

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def look(self, oid: int) -> Definition | None:
        """The definition of a table; None if it is there no more."""
        with self._connected() as connection:
            return read_definition(connection, oid)

    def describe(self, name: str, oid: int, typmod: int) -> Column:
        """A column of a type that is known by its id only."""
        with self._connected() as connection:
            return describe_type(connection, name, oid, typmod)
