"""What PostgreSQL's system catalog says of tables, columns, types and publications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.selection import is_text_column
from headwater.capture.postgres.table import BY_INDEX, Table
from headwater.capture.postgres.types import Column

_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relreplident, c.relkind = 'p', c.relpersistence = 'u',
       has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE'),
       current_setting('server_version_num')::int >= 180000
       AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 's')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 2, 3"""

_COLUMNS = """
SELECT attrelid, attname, atttypid, atttypmod, attndims, format_type(atttypid, atttypmod), attnum
FROM pg_attribute
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped AND (attgenerated = '' OR attgenerated = 's' AND %s)
ORDER BY attrelid, attnum"""

GENERATED_PUBLISHED = 180000
"""From this version on a publication can hold stored generated columns; virtual ones, never."""

_KEYS = """
SELECT i.indrelid, i.indisprimary AND i.indimmediate, i.indisreplident, ARRAY(
  SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE k.place <= i.indnkeyatts ORDER BY k.place)::text[]
FROM pg_index i WHERE i.indrelid = ANY(%s) AND (i.indisprimary OR i.indisreplident) AND i.indisvalid"""

_TYPES = """
WITH RECURSIVE given (oid, typmod) AS (SELECT * FROM unnest(%s::oid[], %s::int[])),
unwrapped (given, outer_typmod, oid, typmod, dimensions) AS (
  SELECT g.oid, g.typmod, g.oid, g.typmod, 0 FROM given g
  UNION ALL
  SELECT u.given, u.outer_typmod, t.typbasetype, t.typtypmod, t.typndims
  FROM unwrapped u JOIN pg_type t ON t.oid = u.oid WHERE t.typtype = 'd'),
bases AS (
  SELECT u.given, u.outer_typmod, t.oid, u.typmod, u.dimensions, t.typname, t.typtype,
         (SELECT e.oid FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid AND e.typdelim = ',') AS element
  FROM unwrapped u JOIN pg_type t ON t.oid = u.oid WHERE t.typtype <> 'd'),
elements (array_type, oid, typmod) AS (
  SELECT DISTINCT b.oid, b.element, NULL::int FROM bases b WHERE b.element IS NOT NULL
  UNION ALL
  SELECT e.array_type, t.typbasetype, t.typtypmod FROM elements e JOIN pg_type t ON t.oid = e.oid WHERE t.typtype = 'd')
SELECT b.given, b.outer_typmod, b.oid, b.typmod, b.dimensions, coalesce(e.oid, 0), coalesce(e.typmod, b.typmod),
       b.typname IN ('vector', 'halfvec') AND b.typtype = 'b'
FROM bases b LEFT JOIN (
  SELECT e.* FROM elements e JOIN pg_type t ON t.oid = e.oid WHERE t.typtype <> 'd') e ON e.array_type = b.oid"""
"""What a type is made of: domains unwrapped, and of a true array (not `int2vector`) its elements' type, unwrapped too;
a modifier of the array is its elements', unless they are a domain with one of its own. Boxes' arrays are divided by
semicolons: they stay text, as whatever is not told here."""

FLOAT4 = 700


@dataclass(frozen=True)
class TableRow:
    """A table that could be captured, before its columns are read.

    Attributes:
        oid, schema, name, identity, partitioned: as in `Table`.
        unlogged: its changes are not in the write-ahead log.
        readable: we may SELECT from it.
        owned: we may put it into a publication.
        generated: it has stored generated columns, and the server can publish those.
    """

    oid: int
    schema: str
    name: str
    identity: str
    partitioned: bool
    unlogged: bool
    readable: bool
    owned: bool
    generated: bool = False

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
    columns: Iterable[Column],
    keys: Sequence[_Key],
    text_columns: Sequence[str],
    published: Published,
) -> Table:
    wanted = tuple(
        as_wanted(column, row.qualified, text_columns)
        for column in columns
        if published.columns is None or column.name in published.columns
    )
    names = {column.name for column in wanted}
    key = next((key for key in keys if key.table == row.oid and key.serves(row.identity)), None)
    key_columns = key.columns if key and names.issuperset(key.columns) else ()
    return Table(
        row.oid, row.schema, row.name, wanted, tuple(key_columns), row.identity, row.partitioned, published.row_filter
    )


def as_wanted(column: Column, table: str, text_columns: Sequence[str]) -> Column:
    """The column as text if the user wants it so, or if it is declared with more than one dimension."""
    if column.dimensions <= 1 and not is_text_column(table, column.name, text_columns):
        return column
    return replace(column, as_text=True)


def _columns(connection: Connection, oids: Sequence[int]) -> dict[int, list[Column]]:
    """Columns by table."""
    able = connection.info.server_version >= GENERATED_PUBLISHED
    found = connection.execute(_COLUMNS, (list(oids), able)).fetchall()
    makings = _makings(connection, {(int(row[2]), int(row[3])) for row in found})
    columns: dict[int, list[Column]] = {oid: [] for oid in oids}
    for table, name, oid, typmod, dimensions, source_type, number in found:
        making = makings[oid, typmod]
        column = making.column(name, oid, typmod, source_type)
        columns[table].append(replace(column, number=number, dimensions=dimensions or making.dimensions))
    return columns


@dataclass(frozen=True)
class _Making:
    """What a type is made of; see `_TYPES`. `dimensions` are a domain's."""

    base_oid: int
    base_typmod: int
    dimensions: int
    element: int
    element_typmod: int
    vector: bool

    def column(self, name: str, oid: int, typmod: int, source_type: str) -> Column:
        """The column of that type."""
        element, modifier = (FLOAT4, -1) if self.vector else (self.element, self.element_typmod)
        base = self.base_oid, self.base_typmod
        return Column(
            name, oid, typmod, *base, source_type, element=element, element_typmod=modifier, vector=self.vector
        )


def _makings(connection: Connection, types: set[tuple[int, int]]) -> dict[tuple[int, int], _Making]:
    """What types are made of, by id and modifier."""
    ordered = sorted(types)
    rows = connection.execute(_TYPES, ([oid for oid, _ in ordered], [typmod for _, typmod in ordered])).fetchall()
    return {(int(row[0]), int(row[1])): _Making(*row[2:]) for row in rows}


def describe_type(connection: Connection, name: str, oid: int, typmod: int) -> Column:
    """A column of a type that is known by its id only. One that is gone meanwhile is read as text."""
    making = _makings(connection, {(oid, typmod)}).get((oid, typmod), _Making(oid, typmod, 0, 0, -1, False))
    row = connection.execute("SELECT format_type(%s, %s)", (oid, typmod)).fetchone()
    return making.column(name, oid, typmod, str(row[0]) if row else "unknown")
