"""UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import CannotDecompose, column, internal
from headwater.sql.plan import Accumulator, Aggregate, Node, Union
from headwater.sql.planner import Planner, closing
from headwater.sql.rules.aggregate import distinct_node
from headwater.sql.rules.source import Compile, Environment


def set_operation(planner: Planner, query: exp.SetOperation, environment: Environment, compile_: Compile) -> Node:
    """Compiles both sides and puts them together, column by column in the types that DuckDB gives the result."""
    left, right = (compile_(planner, _bare(side), environment) for side in (query.left, query.right))
    if query.args.get("by_name"):
        left, right = _by_name(planner, left, right)
    word = query.key.upper() + ("" if query.args.get("distinct", True) else " ALL")
    sides = _same_types(planner, left, right)
    if isinstance(query, exp.Union):
        opened = any(side.open for side in sides)
        windows = {n: w for n, w in sides[0].windows.items() if sides[1].windows.get(n) == w}
        union = planner.add(Union(planner.name(), sides[0].columns, sides, "union all", windows, opened))
        return union if word.endswith("ALL") else distinct_node(planner, union)
    return (_counted if planner.allows("set_counts") else _by_row)(planner, sides, word)


def _by_name(planner: Planner, left: Node, right: Node) -> tuple[Node, Node]:
    """Both sides with the columns of both, NULL where a side has none of a name."""
    both = planner.describe(f"SELECT * FROM {quote(left.name)} UNION ALL BY NAME SELECT * FROM {quote(right.name)}")
    sides = []
    for node in (left, right):
        own = {name.lower(): name for name in node.names}
        values = [(_own(node, own.get(c.name.lower()), c.type), c.name) for c in both]
        sides.append(planner.linear(node, values))
    return sides[0], sides[1]


def _own(node: Node, name: str | None, type_: str) -> exp.Expr:
    return column(node.name, name) if name is not None else exp.cast(exp.null(), type_, dialect="duckdb")


def _bare(side: exp.Expr) -> exp.Query:
    inner = side.unnest()
    if not isinstance(inner, exp.Query):
        raise CannotDecompose(f"{side.key} in a set operation")
    return inner


def _same_types(planner: Planner, left: Node, right: Node) -> tuple[Node, Node]:
    columns = planner.describe(f"SELECT * FROM {quote(left.name)} UNION ALL SELECT * FROM {quote(right.name)}")
    sides = []
    for node in (left, right):
        selected: list[tuple[exp.Expr, str]] = []
        for own, wanted in zip(node.columns, columns, strict=True):
            plain = column(node.name, own.name)
            value = plain if own.type == wanted.type else exp.cast(plain, wanted.type, dialect="duckdb")
            selected.append((value, wanted.name))
        sides.append(planner.linear(node, selected))
    return sides[0], sides[1]


_COUNTED = {
    "INTERSECT": ("{left} > 0 AND {right} > 0", ""),
    "INTERSECT ALL": ("{left} > 0 AND {right} > 0", "least({left}, {right})"),
    "EXCEPT": ("{left} > 0 AND {right} = 0", ""),
    "EXCEPT ALL": ("{left} > {right}", "{left} - {right}"),
}
"""When a row is in the result, and how often if that may be more than once, by how often it is on each side."""


def _counted(planner: Planner, sides: tuple[Node, Node], word: str) -> Node:
    """INTERSECT and EXCEPT: how often each row is on either side is counted."""
    keys = [internal("k", i) for i in range(len(sides[0].names))]
    marks = (internal("left", 0), internal("right", 0))
    sources = [_marked(planner, node, keys, marks, mark) for node, mark in zip(sides, marks, strict=True)]
    opened, known = any(side.open for side in sides), sources[0].windows
    windows = {n: w for n, w in known.items() if sources[1].windows.get(n) == w}
    both = planner.add(Union(planner.name(), sources[0].columns, tuple(sources), "rows of both sides", windows, opened))
    counts = [f"count({quote(mark)}) AS {quote(mark)}" for mark in marks]
    by = ", ".join(map(quote, keys))
    sql = f"SELECT {by}, {', '.join(counts)} FROM {quote(both.name)} GROUP BY {by}"
    counted = planner.gated(planner.add(Aggregate(
        planner.name(), planner.describe(sql), (both,), f"{word} by counts", windows, opened, "set_counts",
        keys=tuple(keys), accumulators=tuple(Accumulator("count", m, m) for m in marks), closes=closing(windows),
    )))  # fmt: skip
    left, right = (f"{quote(counted.name)}.{quote(mark)}" for mark in marks)
    condition, times = (part.format(left=left, right=right) for part in _COUNTED[word])
    outputs = [(column(counted.name, k), n) for k, n in zip(keys, sides[0].names, strict=True)]
    where = [exp.condition(condition, dialect="duckdb")]
    return planner.linear(counted, outputs, where, f" CROSS JOIN range({times}) AS times" if times else "")


def _marked(planner: Planner, node: Node, keys: Sequence[str], marks: Sequence[str], own: str) -> Node:
    """The rows of a side under the names of the keys, with a column that is not null for the side's own mark."""
    values: list[tuple[exp.Expr, str]] = [(column(node.name, n), k) for n, k in zip(node.names, keys, strict=True)]
    return planner.linear(
        node, [*values, *((exp.cast(exp.true() if mark == own else exp.null(), "BOOLEAN"), mark) for mark in marks)]
    )


def _by_row(planner: Planner, sides: tuple[Node, Node], word: str) -> Node:
    """INTERSECT and EXCEPT: the rows that changed are counted again on both sides; the row is the key."""
    left, right = sides
    if left is right:
        right = planner.linear(right, [(column(right.name, n), f"{n}.right") for n in right.names])
    names = left.names
    keyed = ", ".join(f"{quote(name)} AS {quote(internal('k', i))}" for i, name in enumerate(names))
    sql = f"SELECT {keyed} FROM (SELECT * FROM {quote(left.name)} {word} SELECT * FROM {quote(right.name)})"
    node = planner.recompute(
        sides if right is sides[1] else (left, right), (tuple(names), tuple(right.names)), sql, word
    )
    return planner.linear(node, [(column(node.name, internal("k", i)), name) for i, name in enumerate(names)])
