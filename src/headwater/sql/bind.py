"""Names and types by DuckDB itself: an empty, typed database in which every SQL text of a plan is bound."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import cast

import duckdb
import pyarrow as pa

from headwater.sql.functions import Function, register
from headwater.sql.plan import Column, Columns
from headwater.sql.prelude import connect, shared


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
        self.connection = connect() if own else shared(_USE)
        register(own, self.connection)
        self._own = bool(own)
        self.inputs = {name.lower(): name for name in inputs}
        self.columns: dict[str, Columns] = {}
        self._promised: dict[str, Columns] = {}
        for name, schema in inputs.items():
            self.columns[name] = _columns(schema.serialize().to_pybytes())
            self._create(name, self.columns[name])

    def describe(self, sql: str) -> Columns:
        """Binds a SELECT and returns its columns.

        Raises:
            duckdb.Error: DuckDB cannot bind it.
        """
        return _described(self._over(f"SELECT * FROM (\n{sql}\n)"))

    def bind(self, sql: str) -> list[str]:
        """Runs a SELECT over the empty tables; errors come as JSON with the position in `sql`.

        Returns:
            The column names as DuckDB gives them, repeated ones included.

        Raises:
            duckdb.Error: it names what is not there, or its types do not fit.
        """
        with _JSON_ERRORS:
            self.connection.execute("SET errors_as_json = true")
            try:
                return [column[0] for column in self.connection.execute(sql).description]
            finally:
                self.connection.execute("SET errors_as_json = false")

    def unstable_functions(self) -> frozenset[str]:
        """Functions whose answer depends on more than their arguments: now(), random(), current_setting()."""
        return frozenset(name for name, _, stability in _functions() if stability not in (None, "CONSISTENT"))

    def define(self, name: str, columns: Columns) -> None:
        """Makes an empty relation known under `name`, by which SQL must call it in quotes."""
        self._promised[name] = columns

    def _create(self, name: str, columns: Columns) -> None:
        listed = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quote(name)} ({listed})")

    def _over(self, sql: str) -> duckdb.DuckDBPyRelation:
        """A SELECT over relations that are made now if it is the first to name them: many are never named."""
        for name in [name for name in self._promised if quote(name) in sql]:
            self._create(name, self._promised.pop(name))
        return self.connection.sql(sql)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of a SELECT over the empty relations.

        Raises:
            duckdb.Error: DuckDB cannot bind or compute it.
        """
        return cast(list[tuple[object, ...]], self._over(sql).fetchall())

    def functions(self, kind: str) -> frozenset[str]:
        """Names of DuckDB's functions of a kind: scalar, aggregate, window, macro, table."""
        return frozenset(name for name, of, _ in _functions() if of == kind)

    def types_of(self, expressions: Sequence[str], relations: str) -> list[str]:
        """DuckDB's types of expressions over relations (a FROM clause).

        Raises:
            duckdb.Error: DuckDB cannot bind them.
        """
        return list(map(str, self._over(f"SELECT {', '.join(expressions)} FROM {relations}").types))

    def type_of(self, expression: str, relations: str) -> str:
        """DuckDB's type of one expression, likewise."""
        return self.types_of([expression], relations)[0]

    def value(self, expression: str) -> object:
        """The value of an expression that reads nothing.

        Raises:
            duckdb.Error: DuckDB cannot compute it.
        """
        return _value(expression, self.connection) if self._own else _constant(expression)


_USE = "binding"
"""Names the database to which binders connect. Nothing else does: `errors_as_json` is one for all its connections."""

_JSON_ERRORS = threading.Lock()
"""The setting is one for all connections of a database."""


def _described(relation: duckdb.DuckDBPyRelation) -> Columns:
    types = map(str, relation.types)
    return tuple(Column(name, type_, *_arrow(type_)) for name, type_ in zip(relation.columns, types, strict=True))


@lru_cache(1000)
def _columns(schema: bytes) -> Columns:
    """An input's columns as DuckDB reads them, of the schema as Arrow writes it."""
    with shared(_USE) as connection:
        connection.register("_given", pa.ipc.read_schema(pa.py_buffer(schema)).empty_table())
        return _described(connection.sql("FROM _given"))


def _value(expression: str, connection: duckdb.DuckDBPyConnection) -> object:
    return cast(tuple[object, ...], connection.execute(f"SELECT {expression}").fetchone())[0]


@lru_cache(1000)
def _constant(expression: str) -> object:
    """The value of an expression without functions of the user's own."""
    with shared(_USE) as connection:
        return _value(expression, connection)


@cache
def _arrow(type_: str) -> tuple[pa.DataType, bool]:
    """The Arrow type that DuckDB gives one of its types, and whether it reads that back as the same.

    Raises:
        pa.ArrowNotImplementedError: Arrow has no such type that could be kept.
    """
    with shared(_USE) as connection:
        null = "NULL" if type_ == '"NULL"' else f"CAST(NULL AS {type_})"
        arrow = cast(pa.Schema, connection.sql(f"SELECT {null} AS value").to_arrow_table().schema).field(0).type
        connection.register("_back", pa.schema([("value", arrow)]).empty_table())
        return arrow, str(connection.execute("DESCRIBE FROM _back").fetchall()[0][1]) == type_


@cache
def _functions() -> tuple[tuple[str, str, str | None], ...]:
    """Name, kind and stability of all functions that DuckDB and the prelude bring; the same for every binder."""
    sql = "SELECT DISTINCT lower(function_name), function_type, stability FROM duckdb_functions()"
    with shared(_USE) as connection:
        return tuple(connection.execute(sql).fetchall())


BindError = duckdb.Error
