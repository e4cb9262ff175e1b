"""Parts of a table, as SQL: what is read at once, of the initial snapshot and of later ones.

Rows come by COPY in text format: the very text that pgoutput sends. A cast to text is not (bool, inet, char(n)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
from psycopg import sql

from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.table import Table
from headwater.change import key_text

PAGE_BYTES = 8192
_ROWS_A_PAGE = 50
"""Where the server has no statistics."""

_INTEGERS = (20, 21, 23)
_LEAST_CORRELATION = 0.9
"""From here on reading by key is as good as reading in order of place."""

_SIZES = """
SELECT c.oid::bigint, c.reltuples::float8, c.relpages::bigint, pg_relation_size(c.oid), c.relkind = 'p',
       has_table_privilege(c.oid, 'SELECT')
FROM pg_class c WHERE c.oid = ANY(%s)"""

_ORDER = """
SELECT correlation::float8, CASE WHEN atttypid = ANY(%s) THEN histogram_bounds::text::bigint[] END
FROM pg_stats s JOIN pg_attribute a ON a.attrelid = %s AND a.attname = s.attname
WHERE s.schemaname = %s AND s.tablename = %s AND s.attname = %s AND NOT s.inherited"""

Sql = sql.Composable


@dataclass(frozen=True)
class Chunk:
    """A part of a table.

    Attributes:
        condition: which rows; None for all.
        after: texts of the key up to which the table is read when this chunk and those before it are; empty if the
            chunks are not in the order of the key.
    """

    condition: Sql | None = None
    after: tuple[str, ...] = ()


def name_of(table: Table) -> Sql:
    """The table as it stands after FROM: without what inherits from it, unless those are its partitions."""
    return sql.SQL("" if table.partitioned else "ONLY ") + sql.Identifier(table.schema, table.name)


def copy_rows(table: Table, conditions: Sequence[Sql | None], limit: int | None = None) -> sql.Composed:
    """The COPY of a table's rows that meet all conditions and the publication's; with `limit`, the first by key."""
    every = [*conditions, sql.SQL(table.row_filter) if table.row_filter else None]
    wanted = [sql.SQL("({})").format(condition) for condition in every if condition is not None]
    where = sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(wanted)) if wanted else sql.SQL("")
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    order: Sql = sql.SQL("")
    if limit is not None:
        keys = sql.SQL(", ").join(sql.Identifier(name) for name in table.key)
        order = sql.SQL(" ORDER BY {} LIMIT {}").format(keys, sql.Literal(limit))
    return sql.SQL("COPY (SELECT {} FROM {}{}{}) TO STDOUT").format(columns, name_of(table), where, order)


def copy_last_key(table: Table) -> sql.Composed:
    """The COPY of the greatest key there is, in the server's own order; of a table without rows nothing."""
    keys = [sql.Identifier(name) for name in table.key]
    order = sql.SQL(", ").join(sql.SQL("{} DESC").format(key) for key in keys)
    return sql.SQL("COPY (SELECT {} FROM {} ORDER BY {} LIMIT 1) TO STDOUT").format(
        sql.SQL(", ").join(keys), name_of(table), order
    )


def up_to(table: Table, last: Sequence[str]) -> Sql | None:
    """Rows whose key does not come after `last`; None (all) if that is empty."""
    after = beyond(table, last)
    return sql.SQL("NOT ({})").format(after) if after is not None else None


def beyond(table: Table, after: Sequence[str]) -> Sql | None:
    """Rows whose key comes after `after`, in the server's own order; None (all) if that is empty."""
    if not after:
        return None
    names = table.key[: len(after)]
    return sql.SQL("({}) > ({})").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in names),
        sql.SQL(", ").join(_value(table, name, text) for name, text in zip(names, after, strict=True)),
    )


def key_texts(table: Table, rows: pa.RecordBatch) -> tuple[tuple[str, ...], ...]:
    """The keys of rows of the stream, as the server reads them."""
    columns = [key_text(rows.column(name)) for name in table.key]
    return tuple(tuple(str(text) for text in row) for row in zip(*columns, strict=True))


def these(table: Table, keys: Sequence[Sequence[str]]) -> Sql:
    """Rows with these keys."""
    rows = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(_value(table, name, text) for name, text in zip(table.key, row, strict=True))
        )
        for row in keys
    ]
    names = sql.SQL(", ").join(sql.Identifier(name) for name in table.key)
    return sql.SQL("({}) IN (VALUES {})").format(names, sql.SQL(", ").join(rows))


def _value(table: Table, name: str, text: str | None) -> Sql:
    column = next(column for column in table.columns if column.name == name)
    return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(column.source_type))


def last_key(table: Table, row: bytes) -> tuple[str, ...]:
    """The key's texts in a row of COPY's text format."""
    fields = plain_fields(row)
    places = {column.name: place for place, column in enumerate(table.columns)}
    return tuple(fields[places[name]] for name in table.key)


def plain_fields(row: bytes) -> tuple[str, ...]:
    """The texts of a row in COPY's text format; a null is not told from the text N."""
    return tuple(map(_plain, row.rstrip(b"\n").split(b"\t")))


_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _plain(field: bytes) -> str:
    """A field of COPY's text format without its escapes."""
    parts = field.split(b"\\")
    out, at = [parts[0]], 1
    while at < len(parts):
        part = parts[at]
        if not part and at + 1 < len(parts):  # two backslashes stand for one
            out += [b"\\", parts[at + 1]]
            at += 2
            continue
        out += [_ESCAPES.get(part[:1], part[:1]), part[1:]]
        at += 1
    return b"".join(out).decode()


@dataclass(frozen=True)
class Size:
    """A table's size by the server's statistics: rows as of its last ANALYZE, pages as of now."""

    rows: int
    pages: int

    @property
    def rows_a_page(self) -> float:
        """How many rows a page holds on average."""
        return max(1.0, self.rows / max(1, self.pages))


def read_sizes(connection: Connection, tables: Sequence[Table]) -> dict[int, Size | None]:
    """By table id; None for a partitioned table, whose rows are elsewhere."""
    sizes: dict[int, Size | None] = {}
    for oid, rows, pages, size, partitioned, _ in connection.execute(
        _SIZES, ([table.oid for table in tables],)
    ).fetchall():
        now = size // PAGE_BYTES
        density = rows / pages if rows >= 0 and pages > 0 else _ROWS_A_PAGE
        sizes[oid] = None if partitioned else Size(int(density * now), now)
    return sizes


def divide(connection: Connection, table: Table, size: Size | None, rows: int) -> list[Chunk]:
    """A table in chunks of about so many rows: by key where rows lie in its order, else by place."""
    if size is None or size.rows <= rows:
        return [Chunk()]
    return _by_key(connection, table, size, rows) or _by_place(size, rows)


def _by_place(size: Size, rows: int) -> list[Chunk]:
    step = max(1, round(rows / size.rows_a_page))
    edges = [*range(0, size.pages, step)]
    return [Chunk(_places(start, start + step if start != edges[-1] else None)) for start in edges]


def _places(start: int, stop: int | None) -> Sql:
    begins = sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({start},0)"))
    if stop is None:
        return begins
    return sql.SQL("{} AND ctid < {}::tid").format(begins, sql.Literal(f"({stop},0)"))


def _by_key(connection: Connection, table: Table, size: Size, rows: int) -> list[Chunk]:
    """Ranges of the key's first column, if that is an integer, and rows lie in its order; empty if not."""
    if not table.key or table.changelog != "upsert":
        return []
    lead = table.key[0]
    found = connection.execute(_ORDER, (list(_INTEGERS), table.oid, table.schema, table.name, lead)).fetchone()
    if found is None or found[0] is None or abs(found[0]) < _LEAST_CORRELATION or not found[1]:
        return []
    edges = _refined(found[1], max(1, round(size.rows / rows)))
    name = sql.Identifier(lead)
    bounds = [None, *edges, None]
    chunks = []
    for low, high in pairwise(bounds):
        parts = [sql.SQL("{} > {}").format(name, sql.Literal(low))] if low is not None else []
        parts += [sql.SQL("{} <= {}").format(name, sql.Literal(high))] if high is not None else []
        chunks.append(Chunk(sql.SQL(" AND ").join(parts), (str(high),) if high is not None else ()))
    return chunks


def _refined(bounds: Sequence[int], parts: int) -> list[int]:
    """About so many edges between parts of like size, from bounds that divide the values evenly."""
    buckets = len(bounds) - 1
    if parts <= buckets:
        return sorted({bounds[round(i * buckets / parts)] for i in range(1, parts)})
    each = -(-parts // max(1, buckets))
    edges = {low + (high - low) * i // each for low, high in pairwise(bounds) for i in range(each) if high > low}
    return sorted(edges | {bounds[-1]})
