"""Which SELECTs may be asked from outside: one statement that reads named tables and writes nothing.

This is the first of several walls and the one that explains itself; DuckDB's locked configuration and the limits of the
process stand behind it.
"""

from __future__ import annotations

from sqlglot import exp

from headwater.errors import SqlError
from headwater.sql.parse import WINDOW_FUNCTIONS, parse, tables_of

MOST_CHARACTERS = 100_000
"""Longest SQL that is parsed."""

TABLE_FUNCTIONS = frozenset(
    {*WINDOW_FUNCTIONS, "range", "generate_series", "unnest", "json_each", "json_tree", "values"}
)
"""Functions that may stand in FROM: none of them reads a file, a setting or a table by a computed name."""

REFUSED = frozenset({"getenv", "current_setting", "write_log", "query", "query_table", "json_execute_serialized_sql"})
"""Functions that may stand nowhere."""


def require_read_only(sql: str) -> list[str]:
    """The tables that a SELECT reads, as `headwater.sql.parse.tables_of` names them.

    Args:
        sql: what a user wrote.

    Raises:
        SqlError: it is not one SELECT, is too long or nested too deep, or calls what only an administrator may.
    """
    if len(sql) > MOST_CHARACTERS:
        raise SqlError(f"a query may have {MOST_CHARACTERS:,} characters; this one has {len(sql):,}")
    if "\0" in sql:
        raise SqlError("a query is text: there is a NUL character in it")
    try:
        _require_reading(parse(sql, what="a query"))
        return tables_of(sql)
    except RecursionError:
        raise SqlError("this query is nested too deep", hint="take parts of it into CTEs") from None


def _require_reading(query: exp.Query) -> None:
    for node in query.walk():
        if isinstance(node, exp.CTE) and not isinstance(node.this, (exp.Query, exp.Values)):
            raise SqlError(f"a query may only read: {node.this.key.upper()} is not allowed in WITH")
        if isinstance(node, (exp.DML, exp.DDL, exp.Command)) and not isinstance(node, exp.Query):
            raise SqlError(f"a query may only read: {node.key.upper()} is not allowed")
        if isinstance(node, exp.Select) and node.args.get("into"):
            raise SqlError("a query may only read: INTO is not allowed")
        if isinstance(node, exp.Func):
            _require_allowed(node)


def _require_allowed(function: exp.Func) -> None:
    name = _name(function)
    in_from = isinstance(function.parent, exp.Table) and function.arg_key == "this"
    if name in REFUSED or (in_from and name not in TABLE_FUNCTIONS):
        hint = "FROM takes tables, models, time windows, range, unnest, json_each" if in_from else ""
        raise SqlError(f"{name}() may not be called from here", hint=hint)


def _name(function: exp.Func) -> str:
    if isinstance(function, exp.Anonymous):
        return str(function.name).lower()
    return {"explodinggenerateseries": "generate_series", "generateseries": "generate_series"}.get(
        function.key, function.sql_name().lower()
    )
