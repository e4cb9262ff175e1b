"""The table that a MySQL destination writes to: what it is like, how one is made, and values as it takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pymysql

from headwater.deliver.destination import Sync
from headwater.deliver.value_text import json_text
from headwater.errors import DestinationStopped

Connection: TypeAlias = "pymysql.Connection[Any]"

_EXACT = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin")
"""MariaDB's and MySQL's collation under which different texts are different."""
_KEY_TEXT, _KEY_BYTES = "varchar(191)", "varbinary(191)"
_ACCOUNT = (
    "CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))"
)
_GRANTED = (
    f"SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {_ACCOUNT} UNION "
    f"SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = {_ACCOUNT} AND "
    "%s LIKE TABLE_SCHEMA UNION "
    f"SELECT PRIVILEGE_TYPE FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = {_ACCOUNT} AND "
    "TABLE_SCHEMA = %s AND TABLE_NAME = %s"
)


@dataclass(frozen=True)
class Target:
    """The table.

    Attributes:
        database, name: its place.
        columns: its columns' names.
        loose: of those, texts of which different values count as equal.
        padded: texts that count as equal if spaces at the end are all that tells them apart.
        unique: the column sets that identify a row, sorted.
        engine: in lower case.
    """

    database: str
    name: str
    columns: tuple[str, ...]
    loose: frozenset[str]
    padded: frozenset[str]
    unique: tuple[tuple[str, ...], ...]
    engine: str

    @property
    def quoted(self) -> str:
        """As it stands in statements."""
        return quoted(self.database, self.name)


def quoted(*names: str) -> str:
    """An SQL identifier in backticks."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def place_of(table: str, database: str) -> tuple[str, str]:
    """Database and name of `database.table`, or of a name in the URL's database."""
    given, _, name = table.rpartition(".")
    return given or database, name


def ask(connection: Connection, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(values) or None)
        return [tuple(row) for row in cursor.fetchall()]


def lacking(connection: Connection, database: str, name: str) -> list[str]:
    """The rights to write to a table, and to make ours beside it, that no grant to our account names; what roles give
    is not seen."""
    granted = {str(right) for (right,) in ask(connection, _GRANTED, (database, database, name))}
    return [right for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE") if right not in granted]


def find(connection: Connection, database: str, name: str) -> Target | None:
    """The table as it is; None if there is none."""
    columns = ask(
        connection,
        "SELECT COLUMN_NAME, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " ORDER BY ORDINAL_POSITION",
        (database, name),
    )
    if not columns:
        return None
    parts: dict[str, list[str]] = {}
    for index, column in ask(
        connection,
        "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        (database, name),
    ):
        parts.setdefault(str(index), []).append(str(column))
    engine = ask(
        connection, "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, name),
    )  # fmt: skip
    return Target(
        database,
        name,
        tuple(str(column) for column, _ in columns),
        frozenset(str(column) for column, collation in columns if collation and not str(collation).endswith("_bin")),
        frozenset(str(column) for column, collation in columns if collation and str(collation) not in _EXACT),
        tuple(tuple(sorted(found)) for found in parts.values()),
        str(engine[0][0] if engine else "").lower(),
    )


def misfit(target: Target, sync: Sync, columns: Sequence[str]) -> DestinationStopped | None:
    """What is wrong with the table for records of these columns; None if nothing is."""
    where, then = f"{target.database}.{target.name}", f"; then headwater syncs resume {sync.name}"
    missing = [name for name in columns if name not in target.columns]
    key = ", ".join(sync.key)
    if target.engine != "innodb":
        what, hint = (
            f"is of the engine {target.engine}, which has no transactions",
            f"ALTER TABLE {where} ENGINE = InnoDB",
        )
    elif missing:
        what = f"has no column {', '.join(map(repr, missing))}"
        hint = f"ALTER TABLE {where} ADD COLUMN ..., or leave the column out of the model"
    elif sync.key and tuple(sorted(sync.key)) not in target.unique:
        what = f"has no primary key or unique index on exactly ({key})"
        hint = f"CREATE UNIQUE INDEX headwater_key ON {where} ({key})"
    elif loose := sorted(target.loose & set(sync.key)):
        what = f"takes different texts of its key column {loose[0]!r} for equal ('a' and 'A', say)"
        hint = f"ALTER TABLE {where} MODIFY `{loose[0]}` ... COLLATE utf8mb4_bin"
    else:
        return None
    return DestinationStopped(f"sync {sync.name!r}: the table {where} {what}", hint=hint + then)


def make(connection: Connection, database: str, name: str, columns: pa.Schema, key: Sequence[str]) -> None:
    """Makes the table."""
    parts = [f"{quoted(field.name)} {sql_type(field.type, key=field.name in key)}" for field in columns]
    if key:
        parts.append(f"PRIMARY KEY ({', '.join(map(quoted, key))})")
    ask(
        connection,
        f"CREATE TABLE IF NOT EXISTS {quoted(database, name)} ({', '.join(parts)}) ENGINE = InnoDB"
        f" DEFAULT CHARACTER SET utf8mb4 COLLATE {_exact(connection)}",
    )


def _exact(connection: Connection) -> str:
    """The strictest collation that the server has."""
    known = {str(row[0]) for row in ask(connection, "SELECT COLLATION_NAME FROM information_schema.COLLATIONS")}
    full = {str(row[0]) for row in ask(connection, "SHOW COLLATION LIKE 'utf8mb4%bin'")}
    return next((name for name in _EXACT if name in known | full), "utf8mb4_bin")


def add_columns(connection: Connection, target: Target, columns: pa.Schema) -> None:
    """Adds the columns that the table lacks."""
    for field in columns:
        if field.name not in target.columns:
            ask(connection, f"ALTER TABLE {target.quoted} ADD COLUMN {quoted(field.name)} {sql_type(field.type)}")


def sql_type(kind: pa.DataType, *, key: bool = False) -> str:
    """MySQL's type for an Arrow type."""
    types = pa.types
    if types.is_dictionary(kind):
        return sql_type(kind.value_type, key=key)
    if types.is_decimal(kind):
        return f"decimal({min(kind.precision, 65)},{min(max(kind.scale, 0), 30)})"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return _KEY_BYTES if key else "longblob"
    if types.is_nested(kind):
        return "json"
    for test, name in _TYPES:
        if test(kind):
            return name
    return _KEY_TEXT if key else "longtext"


_TYPES = (
    (pa.types.is_boolean, "tinyint(1)"),
    (lambda kind: pa.types.is_unsigned_integer(kind) and kind.bit_width == 64, "bigint unsigned"),
    (lambda kind: pa.types.is_integer(kind) and kind.bit_width <= 16, "integer"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_floating, "double"),
    (pa.types.is_timestamp, "datetime(6)"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time(6)"),
)


def values_of(rows: pa.Table) -> list[tuple[object, ...]]:
    """The rows as PyMySQL binds them: times in UTC as text, nested values as JSON."""
    return list(zip(*(_values(column) for column in rows.columns), strict=True)) if rows.num_columns else []


def _values(column: pa.ChunkedArray) -> list[object]:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _values(column.cast(kind.value_type))
    if types.is_timestamp(kind):
        naive = column.cast(pa.timestamp("us", kind.tz), safe=False)
        naive = naive.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")) if kind.tz is not None else naive
        return list(naive.cast(pa.string()).to_pylist())
    if types.is_nested(kind):
        return [None if value is None else json_text(value) for value in column.to_pylist()]
    if types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind):
        return list(column.to_pylist())
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_floating(kind):
        return list(column.to_pylist())
    return [None if value is None else str(value) for value in column.to_pylist()]


REFUSES: Mapping[int, str] = dict.fromkeys(
    (1048, 1062, 1136, 1242, 1263, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1416, 1425, 1441, 1451, 1452, 1526,
     1557, 1586, 1644, 1690, 1761, 1762, 3140, 3141, 3156, 3157, 3819, 4025, 4078, 4161, 22001, 22003),
    "",
)  # fmt: skip
"""Error numbers that are a record's: nulls, unique values, values out of range or too long or wrong, foreign keys,
check constraints, a trigger's SIGNAL, invalid JSON."""
PASSES = (
    1040,
    1053,
    1077,
    1152,
    1158,
    1159,
    1160,
    1161,
    1205,
    1213,
    1290,
    1836,
    1927,
    1969,
    2006,
    2013,
    2055,
    3024,
    4031,
)
"""Those that may pass: too many connections, stopping, network, locks, deadlocks, read-only, time limits."""
