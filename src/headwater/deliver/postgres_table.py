"""The table that a PostgreSQL destination writes to: what it is like, and how one is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import TupleRow

from headwater.deliver.destination import Sync
from headwater.errors import DestinationStopped

Connection = psycopg.Connection[TupleRow]

_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
    " ORDER BY attnum"
)
_UNIQUE = (
    "SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_index i JOIN pg_attribute a"
    " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
    " WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid"
    " AND i.indpred IS NULL AND i.indexprs IS NULL"
    " GROUP BY i.indexrelid"
)
_MAKES = "SELECT quote_ident(current_user), coalesce(has_schema_privilege(to_regnamespace(%s), 'CREATE'), false)"
_RIGHTS = "SELECT wanted FROM unnest(%s::text[]) wanted WHERE NOT has_table_privilege(to_regclass(%s), wanted)"


@dataclass(frozen=True)
class Target:
    """The table.

    Attributes:
        schema, name: its place.
        columns: its columns' names.
        unique: the column sets that identify a row, sorted.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]

    @property
    def identifier(self) -> sql.Identifier:
        """As it stands in statements."""
        return sql.Identifier(self.schema, self.name)


def place_of(table: str) -> tuple[str, str]:
    """Schema and name of `schema.table`; the schema is public if there is none."""
    schema, _, name = table.rpartition(".")
    return schema or "public", name


def find(connection: Connection, table: str) -> Target | None:
    """The table as it is; None if there is none."""
    schema, name = place_of(table)
    quoted = sql.Identifier(schema, name).as_string(connection)
    columns = tuple(str(row[0]) for row in connection.execute(_COLUMNS, (quoted,)))
    if not columns:
        return None
    unique = tuple(tuple(sorted(row[0])) for row in connection.execute(_UNIQUE, (quoted,)))
    return Target(schema, name, columns, unique)


def lacking(connection: Connection, table: str, *, inserts_only: bool) -> str:
    """The statements that give us the rights that we lack to write to a table, and to make ours beside it; empty if we
    lack none.

    Args:
        inserts_only: rows are never changed, as the sync has no key.
    """
    schema, name = place_of(table)
    space, quoted = sql.Identifier(schema).as_string(connection), sql.Identifier(schema, name).as_string(connection)
    role, makes = connection.execute(_MAKES, (space,)).fetchone() or ("", False)
    grants = [] if makes else [f"GRANT CREATE ON SCHEMA {space} TO {role};"]
    wanted = ["INSERT"] if inserts_only else ["SELECT", "INSERT", "UPDATE", "DELETE"]
    missing = [str(row[0]) for row in connection.execute(_RIGHTS, (wanted, quoted))]
    return " ".join([*grants, *([f"GRANT {', '.join(missing)} ON {quoted} TO {role};"] if missing else [])])


def misfit(target: Target, sync: Sync, columns: Sequence[str]) -> DestinationStopped | None:
    """What is wrong with the table for records of these columns; None if nothing is."""
    missing = [name for name in columns if name not in target.columns]
    where = f"{target.schema}.{target.name}"
    if missing:
        return DestinationStopped(
            f"sync {sync.name!r}: the table {where} has no column {', '.join(map(repr, missing))}",
            hint=f"ALTER TABLE {where} ADD COLUMN ..., or leave the column out of the model; then headwater syncs"
            f" resume {sync.name}",
        )
    if sync.key and tuple(sorted(sync.key)) not in target.unique:
        key = ", ".join(sync.key)
        return DestinationStopped(
            f"sync {sync.name!r}: the table {where} has no primary key or unique index on exactly ({key})",
            hint=f"CREATE UNIQUE INDEX ON {where} ({key}); then headwater syncs resume {sync.name}",
        )
    return None


def make(connection: Connection, table: str, columns: pa.Schema, key: Sequence[str]) -> None:
    """Makes the table."""
    schema, name = place_of(table)
    parts = [sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(sql_type(field.type))) for field in columns]
    if key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key))))
    statement = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})")
    connection.execute(statement.format(sql.Identifier(schema, name), sql.SQL(", ").join(parts)))


def add_columns(connection: Connection, target: Target, columns: pa.Schema) -> None:
    """Adds the columns that the table lacks."""
    for field in columns:
        if field.name not in target.columns:
            statement = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                target.identifier, sql.Identifier(field.name), sql.SQL(sql_type(field.type))
            )
            connection.execute(statement)


def sql_type(kind: pa.DataType) -> str:  # type: ignore[valid-type, unused-ignore]
    """PostgreSQL's type for an Arrow type."""
    types = pa.types
    if types.is_decimal(kind):
        return f"numeric({kind.precision},{max(kind.scale, 0)})"
    if types.is_timestamp(kind):
        return "timestamptz" if kind.tz is not None else "timestamp"
    if types.is_nested(kind):
        return "jsonb"
    if types.is_dictionary(kind):
        return sql_type(kind.value_type)
    for test, name in _TYPES:
        if test(kind):
            return name
    return "text"


_TYPES = (
    (pa.types.is_boolean, "boolean"),
    (lambda kind: pa.types.is_int8(kind) or pa.types.is_int16(kind) or pa.types.is_uint8(kind), "smallint"),
    (lambda kind: pa.types.is_int32(kind) or pa.types.is_uint16(kind), "integer"),
    (lambda kind: pa.types.is_int64(kind) or pa.types.is_uint32(kind), "bigint"),
    (pa.types.is_uint64, "numeric(20,0)"),
    (lambda kind: pa.types.is_float16(kind) or pa.types.is_float32(kind), "real"),
    (pa.types.is_float64, "double precision"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "bytea"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
)
