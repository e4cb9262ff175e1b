"""How DuckDB would answer a SELECT, as a graph."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.selecting import placed, prepared
from headwater.serve.sandbox.wire import Header
from headwater.sql.read_only import require_read_only

MOST_DETAIL = 500


def answer(given: Given, asked: Header, payload: bytes) -> str:
    """The plan of `sql` as JSON: nodes, edges from what is read to its reader, and DuckDB's text.

    Raises:
        SqlError: the SQL is wrong, or is not to be asked.
    """
    sql = asked["sql"]
    with prepared(given, require_read_only(sql), asked) as (connection, note):
        try:
            graph = json.loads(_plan(connection, sql, "(FORMAT json)"))
            text = _plan(connection, sql, "")
        except duckdb.Error as error:
            raise placed(connection, sql, error) from error
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    for root in graph:
        _add(root, None, nodes, edges)
    return json.dumps({"nodes": nodes, "edges": edges, "text": text, "note": note})


def _plan(connection: duckdb.DuckDBPyConnection, sql: str, form: str) -> str:
    rows = connection.execute(f"EXPLAIN {form} {sql.rstrip().rstrip(';')}").fetchall()
    return str(rows[0][1])


def _add(node: dict[str, Any], reader: str | None, nodes: list[dict[str, Any]], edges: list[dict[str, str]]) -> None:
    number = f"n{len(nodes)}"
    more = node.get("extra_info") or {}
    rows = str(more.pop("Estimated Cardinality", "")).replace("~", "").strip()
    detail = "\n".join(f"{name}: {_text(value)}" for name, value in more.items() if value)
    shown = {"id": number, "name": str(node.get("name", "")).strip(), "detail": detail[:MOST_DETAIL]}
    nodes.append(shown | ({"rows": int(rows)} if rows.isdigit() else {}))
    if reader is not None:
        edges.append({"from": number, "to": reader})
    for child in node.get("children", ()):
        _add(child, number, nodes, edges)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
