"""Names and types by DuckDB itself: an empty, typed database in which every SQL text of a plan is bound."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

import duckdb
import pyarrow as pa

from headwater.sql.functions import Function, register
from headwater.sql.plan import Column, Columns
from headwater.sql.prelude import connect, install


def quote(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Binder:
    """A connection that holds only empty relations. One per planning; not for data.

    Args:
        inputs: the relations, by name.
        functions: those that are the user's own.
    """

    def __init__(self, inputs: Mapping[str, pa.Schema], functions: Iterable[Function] = ()) -> None:
        own = tuple(functions)
        # A function is known to all connections of one database, a temporary table to its own alone.
        self.connection = connect() if own else _shared()
        register(own, self.connection)
        self.inputs = {name.lower(): name for name in inputs}
        self.columns: dict[str, Columns] = {}
        for name, schema in inputs.items():
            self.connection.register("_given", schema.empty_table())
            self.connection.execute(f"CREATE TEMP TABLE {quote(name)} AS FROM _given")
            self.columns[name] = self.describe(f"FROM {quote(name)}")
            self.connection.unregister("_given")

    def describe(self, sql: str) -> Columns:
        """Binds a SELECT and returns its columns.

        Raises:
            duckdb.Error: DuckDB cannot bind it.
        """
        described = self.connection.execute(f"DESCRIBE SELECT * FROM (\n{sql}\n)").fetchall()
        return tuple(Column(name, type_, *_arrow(type_)) for name, type_, *_ in described)

    def names(self, sql: str) -> list[str]:
        """The column names of a SELECT as DuckDB gives them, repeated ones included."""
        return [column[0] for column in self.connection.execute(sql).description]

    def bind(self, sql: str) -> None:
        """Runs a SELECT over the empty tables; errors come as JSON with the position in `sql`.

        Raises:
            duckdb.Error: it names what is not there, or its types do not fit.
        """
        with _JSON_ERRORS:
            self.connection.execute("SET errors_as_json = true")
            try:
                self.connection.execute(sql)
            finally:
                self.connection.execute("SET errors_as_json = false")

    def unstable_functions(self) -> frozenset[str]:
        """Functions whose answer depends on more than their arguments: now(), random(), current_setting()."""
        return frozenset(name for name, _, stability in _functions() if stability not in (None, "CONSISTENT"))

    def define(self, name: str, columns: Columns) -> None:
        """Makes an empty relation known under `name`."""
        listed = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quote(name)} ({listed})")

    def functions(self, kind: str) -> frozenset[str]:
        """Names of DuckDB's functions of a kind: scalar, aggregate, window, macro, table."""
        return frozenset(name for name, of, _ in _functions() if of == kind)

    def type_of(self, expression: str, relations: str) -> str:
        """DuckDB's type of an expression over relations (a FROM clause).

        Raises:
            duckdb.Error: DuckDB cannot bind it.
        """
        return str(self.connection.execute(f"DESCRIBE SELECT {expression} FROM {relations}").fetchall()[0][1])


_JSON_ERRORS = threading.Lock()
"""The setting is one for all connections of a database."""


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """An empty database. To open one takes thirty times as long as to connect to it."""
    return connect()


def _shared() -> duckdb.DuckDBPyConnection:
    """A connection to the empty database, in which it sees nothing but what it makes itself."""
    connection = _database().cursor()
    install(connection)
    return connection


@cache
def _arrow(type_: str) -> tuple[pa.DataType, bool]:
    """The Arrow type that DuckDB gives one of its types, and whether it reads that back as the same.

    Raises:
        pa.ArrowNotImplementedError: Arrow has no such type that could be kept.
    """
    with _shared() as connection:
        null = "NULL" if type_ == '"NULL"' else f"CAST(NULL AS {type_})"
        arrow = cast(pa.Schema, connection.sql(f"SELECT {null} AS value").to_arrow_table().schema).field(0).type
        connection.register("_back", pa.schema([("value", arrow)]).empty_table())
        return arrow, str(connection.execute("DESCRIBE FROM _back").fetchall()[0][1]) == type_


@cache
def _functions() -> tuple[tuple[str, str, str | None], ...]:
    """Name, kind and stability of all functions that DuckDB and the prelude bring; the same for every binder."""
    sql = "SELECT DISTINCT lower(function_name), function_type, stability FROM duckdb_functions()"
    with connect() as connection:
        return tuple(connection.execute(sql).fetchall())


BindError = duckdb.Error
