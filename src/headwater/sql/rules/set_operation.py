"""UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import CannotDecompose, column, internal
from headwater.sql.plan import Node, Union
from headwater.sql.planner import Planner
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
    return _by_row(planner, sides, word)


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
