"""What PostgreSQL's system catalog says of tables, columns, types and publications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.selection import is_text_column
from headwater.capture.postgres.table import BY_INDEX, Table
from headwater.capture.postgres.types import Column

_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relreplident, c.relkind = 'p', c.relpersistence = 'u',
       has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 2, 3"""

_COLUMNS = """
SELECT attrelid, attname, atttypid, atttypmod, attndims, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attrelid, attnum"""

_KEYS = """
SELECT i.indrelid, i.indisprimary AND i.indimmediate, i.indisreplident, ARRAY(
  SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE k.place <= i.indnkeyatts ORDER BY k.place)::text[]
FROM pg_index i WHERE i.indrelid = ANY(%s) AND (i.indisprimary OR i.indisreplident) AND i.indisvalid"""

_DOMAINS = """
WITH RECURSIVE unwrapped (oid, base, typmod, dimensions) AS (
  SELECT t.oid, t.typbasetype, t.typtypmod, t.typndims FROM pg_type t WHERE t.oid = ANY(%s) AND t.typtype = 'd'
  UNION ALL
  SELECT u.oid, t.typbasetype, t.typtypmod, t.typndims FROM unwrapped u JOIN pg_type t ON t.oid = u.base
  WHERE t.typtype = 'd')
SELECT u.oid, u.base, u.typmod, u.dimensions FROM unwrapped u JOIN pg_type t ON t.oid = u.base
WHERE t.typtype <> 'd'"""


@dataclass(frozen=True)
class TableRow:
    """A table that could be captured, before its columns are read.

    Attributes:
        oid, schema, name, identity, partitioned: as in `Table`.
        unlogged: its changes are not in the write-ahead log.
        readable: we may SELECT from it.
        owned: we may put it into a publication.
    """

    oid: int
    schema: str
    name: str
    identity: str
    partitioned: bool
    unlogged: bool
    readable: bool
    owned: bool

    @property
    def qualified(self) -> str:
        """Schema and name."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Published:
    """What a publication says of one table: its columns (None: all) and its condition on rows ("": none)."""

    columns: frozenset[str] | None = None
    row_filter: str = ""


@dataclass(frozen=True)
class _Key:
    """A unique index: of which table, whether it is the primary key or the replica identity, and its columns."""

    table: int
    primary: bool
    identifying: bool
    columns: Sequence[str]

    def serves(self, identity: str) -> bool:
        """Whether changes name rows by it under that replica identity."""
        return self.identifying if identity == BY_INDEX else self.primary


def list_tables(connection: Connection) -> dict[str, TableRow]:
    """Every ordinary or partitioned table by schema.table."""
    rows = [TableRow(*row) for row in connection.execute(_TABLES).fetchall()]
    return {row.qualified: row for row in rows}


def read_tables(
    connection: Connection,
    rows: Sequence[TableRow],
    text_columns: Sequence[str],
    published: Mapping[str, Published],
) -> list[Table]:
    """The tables with their columns and keys, in the order of `rows`; of a published one only what is published."""
    oids = [row.oid for row in rows]
    columns = _columns(connection, oids)
    keys = [_Key(*key) for key in connection.execute(_KEYS, (oids,)).fetchall()]
    return [
        _table(row, columns[row.oid], keys, text_columns, published.get(row.qualified, Published())) for row in rows
    ]


def _table(
    row: TableRow,
    columns: Iterable[tuple[Column, int]],
    keys: Sequence[_Key],
    text_columns: Sequence[str],
    published: Published,
) -> Table:
    wanted = tuple(
        as_wanted(column, row.qualified, dimensions, text_columns)
        for column, dimensions in columns
        if published.columns is None or column.name in published.columns
    )
    names = {column.name for column in wanted}
    key = next((key for key in keys if key.table == row.oid and key.serves(row.identity)), None)
    key_columns = key.columns if key and names.issuperset(key.columns) else ()
    return Table(
        row.oid, row.schema, row.name, wanted, tuple(key_columns), row.identity, row.partitioned, published.row_filter
    )


def as_wanted(column: Column, table: str, dimensions: int, text_columns: Sequence[str]) -> Column:
    """The column as text if the user wants it so, or if it is declared with more than one dimension."""
    if dimensions <= 1 and not is_text_column(table, column.name, text_columns):
        return column
    return Column(
        column.name, column.oid, column.typmod, column.base_oid, column.base_typmod, column.source_type, as_text=True
    )


def _columns(connection: Connection, oids: Sequence[int]) -> dict[int, list[tuple[Column, int]]]:
    """Columns by table, each with its declared number of dimensions."""
    found = connection.execute(_COLUMNS, (list(oids),)).fetchall()
    bases = _bases(connection, {int(row[2]) for row in found})
    columns: dict[int, list[tuple[Column, int]]] = {oid: [] for oid in oids}
    for table, name, oid, typmod, dimensions, source_type in found:
        base, base_typmod, base_dimensions = bases.get(oid, (oid, typmod, dimensions))
        column = Column(name, oid, typmod, base, base_typmod, source_type)
        columns[table].append((column, base_dimensions))
    return columns


def _bases(connection: Connection, oids: set[int]) -> dict[int, tuple[int, int, int]]:
    """Of domains: the type beneath all of them, its modifier and dimensions."""
    rows = connection.execute(_DOMAINS, (sorted(oids),)).fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def describe_type(connection: Connection, name: str, oid: int, typmod: int) -> Column:
    """A column of a type that is known by its id only."""
    base, base_typmod, _ = _bases(connection, {oid}).get(oid, (oid, typmod, 0))
    row = connection.execute("SELECT format_type(%s, %s)", (oid, typmod)).fetchone()
    return Column(name, oid, typmod, base, base_typmod, str(row[0]) if row else "unknown")
