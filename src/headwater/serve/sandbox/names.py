"""What can be written in a query: for completion in an editor."""

from __future__ import annotations

import json

import duckdb
import pyarrow as pa

from headwater.errors import UserError
from headwater.project.discovery import load_streams
from headwater.serve.query import open_lake
from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.wire import Header
from headwater.sql.parse import WINDOW_FUNCTIONS
from headwater.sql.prelude import locked
from headwater.sql.read_only import REFUSED, TABLE_FUNCTIONS

_FUNCTIONS = """
SELECT DISTINCT function_name FROM duckdb_functions()
WHERE function_type IN ('scalar', 'aggregate', 'macro') AND regexp_matches(function_name, '^[a-z][a-z0-9_]*$')
ORDER BY 1"""
_KEYWORDS = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'unreserved') ORDER BY 1"


def answer(given: Given, asked: Header, payload: bytes) -> str:
    """Tables with their columns, streams that have no table, functions and keywords, as JSON."""
    connection = locked(1, 64 << 20)
    functions = {str(name) for (name,) in connection.execute(_FUNCTIONS).fetchall()} - REFUSED
    functions |= {*WINDOW_FUNCTIONS, *TABLE_FUNCTIONS}
    functions |= {function.name for model in given.project.models for function in model.functions}
    keywords = [str(name) for (name,) in connection.execute(_KEYWORDS).fetchall()]
    tables = _tables(given)
    unlanded = [stream for stream in load_streams(given.project.state) if stream.name not in tables]
    streams = {stream.name: columns_of(stream.columns, connection) for stream in unlanded}
    return json.dumps({"tables": tables, "streams": streams, "functions": sorted(functions), "keywords": keywords})


def _tables(given: Given) -> dict[str, list[dict[str, str]]]:
    try:
        lake = open_lake(given.project)
    except UserError:  # there is none yet
        return {}
    connection = locked(1, 64 << 20)
    try:
        return {name: columns_of(lake.open_table(name).spec.columns, connection) for name in lake.names()}
    finally:
        lake.close()


def columns_of(schema: pa.Schema, connection: duckdb.DuckDBPyConnection) -> list[dict[str, str]]:
    """Columns with their types as DuckDB writes them."""
    found = connection.from_arrow(schema.empty_table())
    return [{"name": name, "type": str(kind)} for name, kind in zip(found.columns, found.types, strict=True)]
