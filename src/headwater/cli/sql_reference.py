"""The page docs/reference/sql.md: for each function of DuckDB how a model that uses it is kept up to date.

Nothing on it is a list of ours: names come from DuckDB's catalog, and the way is read off the plan that the engine
makes of a small model with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_ARGUMENTS = ("n", "", "s", "b", "d", "n, d", "d, d", "s, n", "n, 2", "d, 0.5", "n, 0, 10", "s, ','")
_INTRO = """\
# SQL reference

The dialect is DuckDB's. This page says of each clause and function how a model that uses it is kept up to date; it is
made by asking the engine, so that it cannot be out of date. [Models](../models.md) explains the words.
"""
CLAUSES: tuple[tuple[str, str], ...] = (
    ("`WHERE`, expressions", "SELECT k, n + 1 AS m FROM t WHERE n > 3"),
    ("`GROUP BY`", "SELECT k, sum(n) AS m FROM t GROUP BY k"),
    ("`HAVING`", "SELECT k, sum(n) AS m FROM t GROUP BY k HAVING sum(n) > 3"),
    ("`GROUPING SETS`, `ROLLUP`, `CUBE`", "SELECT k, s, sum(n) AS m FROM t GROUP BY ROLLUP (k, s)"),
    ("`DISTINCT`", "SELECT DISTINCT k, s FROM t"),
    ("`DISTINCT ON`", "SELECT DISTINCT ON (k) k, n FROM t ORDER BY k, n DESC"),
    ("`JOIN ... ON a = b`", "SELECT a.k, b.n FROM t AS a JOIN t AS b ON a.k = b.n"),
    ("`LEFT`, `RIGHT`, `FULL JOIN`", "SELECT a.k, b.n FROM t AS a FULL JOIN t AS b ON a.k = b.n"),
    ("`JOIN ... ON a < b`", "SELECT a.k, b.n FROM t AS a JOIN t AS b ON a.k < b.n"),
    ("`ASOF JOIN`", "SELECT a.k, b.n FROM t AS a ASOF JOIN t AS b ON a.k = b.k AND a.ts >= b.ts"),
    ("`CROSS JOIN`", "SELECT a.k, b.n FROM t AS a CROSS JOIN t AS b"),
    ("`[NOT] EXISTS`, `[NOT] IN`", "SELECT k FROM t WHERE k NOT IN (SELECT n FROM t WHERE n IS NOT NULL)"),
    ("subqueries with one value", "SELECT k, (SELECT max(n) FROM t AS u WHERE u.k = t.k) AS m FROM t"),
    ("`UNION ALL`", "SELECT k FROM t UNION ALL SELECT n FROM t"),
    ("`UNION`, `INTERSECT`, `EXCEPT`", "SELECT k FROM t INTERSECT SELECT n FROM t"),
    ("`ORDER BY ... LIMIT n`", "SELECT k, n FROM t ORDER BY n DESC, k LIMIT 10"),
    ("`row_number() ... <= n`", "SELECT k, n FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY n) <= 3"),
    ("window functions with `PARTITION BY`", "SELECT k, n, lag(n) OVER (PARTITION BY k ORDER BY ts) AS m FROM t"),
    ("window functions without", "SELECT k, n, sum(n) OVER (ORDER BY ts) AS m FROM t"),
    ("`UNNEST`", "SELECT k, unnest([n, k]) AS m FROM t"),
    ("`PIVOT ... IN`", "SELECT * FROM (PIVOT (SELECT k, s, n FROM t) ON s IN ('a', 'b') USING sum(n) GROUP BY k)"),
    ("`WITH`", "WITH u AS (SELECT k, sum(n) AS m FROM t GROUP BY k) SELECT k FROM u WHERE m > 3"),
    ("`WITH RECURSIVE`", "WITH RECURSIVE u(k) AS (SELECT k FROM t UNION SELECT n FROM t JOIN u USING (k)) FROM u"),
    ("`TUMBLE`", "SELECT window_start, sum(n) AS m FROM tumble(t, ts, INTERVAL '1 minute') GROUP BY window_start"),
    (
        "`HOP`",
        "SELECT window_start, sum(n) AS m FROM hop(t, ts, INTERVAL '1 minute', INTERVAL '5 minutes') "
        "GROUP BY window_start",
    ),
    ("`now()`, `random()`", "SELECT k, now() AS m FROM t"),
    ("`LIMIT` without `ORDER BY`", "SELECT k FROM t LIMIT 3"),
)


def sql_page() -> str:
    """The page's text."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it complains of functions that other dialects lack
    lines = [_INTRO, "## Clauses\n", "| clause | kept up to date by |", "|---|---|"]
    lines += [f"| {name} | {_way(text)} |" for name, text in CLAUSES]
    aggregates = _by_way(_names("aggregate"), "SELECT k, {} AS m FROM t GROUP BY k", "aggregate by key")
    lines += [
        "\n## Aggregates\n",
        "With `GROUP BY`. `FILTER`, `DISTINCT` and `ORDER BY` inside of an aggregate are understood.\n",
    ]
    lines += _told(aggregates)
    windows = _by_way(
        ["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
         "last_value", "nth_value"],
        "SELECT k, {} OVER (PARTITION BY k ORDER BY ts) AS m FROM t", "",
    )  # fmt: skip
    lines += ["\n## Window functions\n", "With `PARTITION BY`; every aggregate may be one too.\n", *_told(windows)]
    lines += ["\n## Functions of single values\n", *_scalars()]
    return "\n".join(lines) + "\n"


@cache
def _inputs() -> Mapping[str, pa.Schema]:
    """A stream `t` with a column of each common type."""
    import pyarrow as pa

    fields = {"k": pa.int64(), "n": pa.int64(), "d": pa.float64(), "s": pa.string(), "b": pa.bool_()}
    return {"t": pa.schema({**fields, "ts": pa.timestamp("us", "UTC")})}


def _names(kind: str) -> list[str]:
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = ? "
            "AND schema_name = 'main' AND regexp_matches(function_name, '^[a-z][a-z0-9_]*$') ORDER BY ALL",
            [kind],
        ).fetchall()
    return [str(name) for (name,) in rows]


def _way(text: str) -> str:
    """How the last stateful part of a model is kept up to date, or why it is refused."""
    from headwater.engine.view import View
    from headwater.errors import HeadwaterError

    try:
        shown = View(text, _inputs(), name="model", recompute="allowed").explain()
    except HeadwaterError as error:
        return f"refused: {error.message}"
    if "[last resort" in shown:
        return "the last resort: everything again at every change, if `recompute: allowed`"
    parts = [line.strip().partition(" ")[2].partition(":")[0].partition("  [")[0] for line in shown.splitlines()]
    kept = [part for part in parts if part not in ("project", "filter") and not part.startswith("scan")]
    return ", ".join(dict.fromkeys(kept)) or "each row alone; nothing is kept"


def _by_way(names: Sequence[str], text: str, plain: str) -> Mapping[str, list[str]]:
    """Functions by the way in which they are kept up to date; those that no arguments of ours fit are left out."""
    found: dict[str, list[str]] = {}
    for name in names:
        way = next(_ways(text, name), None)
        if way is not None:
            found.setdefault(way, []).append(name)
    return dict(sorted(found.items(), key=lambda pair: (pair[0] != plain, -len(pair[1]))))


def _ways(text: str, name: str) -> Iterator[str]:
    for arguments in _ARGUMENTS:
        way = _way(text.format(f"{name}({arguments})"))
        if not way.startswith("refused: ") or "each time" in way:
            yield way


def _told(found: Mapping[str, list[str]]) -> list[str]:
    rows = [f"| {way} | {', '.join(f'`{name}`' for name in names)} |" for way, names in found.items()]
    return ["| kept up to date by | functions |", "|---|---|", *rows]


def _scalars() -> list[str]:
    import duckdb

    from headwater.sql.refuse import HARMLESS

    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar' AND "
            "stability != 'CONSISTENT' AND regexp_matches(function_name, '^[a-z][a-z0-9_]*$') ORDER BY ALL"
        ).fetchall()
    unstable = ", ".join(f"`{name}`" for (name,) in rows if name not in HARMLESS)
    return [
        "Every function of DuckDB that gives the same answer each time: such expressions are computed for the rows",
        "that change, by DuckDB itself. Functions in `functions/*.py` join them ([models](../models.md)).",
        "",
        f"Refused, since they give another answer each time they are asked: {unstable}.",
    ]
