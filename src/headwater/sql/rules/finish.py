"""The SELECT list, DISTINCT, ORDER BY and LIMIT: what makes the block's rows the query's result."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import CannotDecompose, column, has_subquery, internal, text, unnests
from headwater.sql.plan import Node
from headwater.sql.rules.aggregate import distinct_node


def finish(block: Block) -> Node:
    """Builds the last nodes of a block."""
    if any(has_subquery(e) for e in block.outputs):
        raise CannotDecompose("a subquery in the SELECT list")
    outputs = list(zip(block.outputs, block.names, strict=True))
    if block.distinct_on:
        return _distinct_on(block, outputs)
    if not block.limit:
        key = result_key(block)
        node = block.project(outputs)
        if block.distinct_on is not None:
            return distinct_node(block.planner, node)
        block.planner.keys[node] = key
        return node
    return _top(block, outputs)


def _hidden(block: Block, expressions: Sequence[exp.Expr], prefix: str) -> list[tuple[exp.Expr, str]]:
    return [(e.this if isinstance(e, exp.Ordered) else e, internal(prefix, i)) for i, e in enumerate(expressions)]


def _order_sql(block: Block, relation: str, names: Sequence[str]) -> str:
    """ORDER BY over the hidden columns, ties broken by every column so that the choice is always the same."""
    parts = []
    for i, ordered in enumerate(block.order):
        moved = ordered.copy()
        moved.set("this", column(relation, internal("o", i)))
        parts.append(text(moved))
    return ", ".join([*parts, *(text(column(relation, name)) for name in names)])


def _distinct_on(block: Block, outputs: list[tuple[exp.Expr, str]]) -> Node:
    """DISTINCT ON: per key the first row in order."""
    if block.limit:
        raise CannotDecompose("DISTINCT ON with LIMIT")
    keys = _hidden(block, block.distinct_on or [], "k")
    source = block.project([*keys, *_hidden(block, block.order, "o"), *outputs])
    names = [name for _, name in outputs]
    listed = ", ".join(quote(name) for name in [*(name for _, name in keys), *names])
    on = ", ".join(quote(name) for _, name in keys)
    order = _order_sql(block, source.name, names)
    sql = f"SELECT DISTINCT ON ({on}) {listed} FROM {quote(source.name)} ORDER BY {on}, {order}"
    node = block.planner.recompute((source,), (tuple(name for _, name in keys),), sql, "DISTINCT ON")
    return block.planner.linear(node, [(column(node.name, name), name) for name in names])


def _top(block: Block, outputs: list[tuple[exp.Expr, str]]) -> Node:
    """ORDER BY ... LIMIT over everything."""
    names = [name for _, name in outputs]
    hidden = _hidden(block, block.order, "o")
    if block.distinct_on is None:
        source = block.project([*outputs, *hidden])
    else:
        given = {text(output) for output, _ in outputs}
        if any(text(e) not in given for e, _ in hidden):
            raise CannotDecompose("SELECT DISTINCT ordered by something that it does not select")
        distinct = distinct_node(block.planner, block.project(outputs))
        by_text = {text(output): name for output, name in outputs}
        again = [(column(distinct.name, by_text[text(e)]), name) for e, name in hidden]
        source = block.planner.linear(distinct, [*((column(distinct.name, n), n) for n in names), *again])
    listed = ", ".join(quote(name) for name in names)
    sql = f"SELECT {listed} FROM {quote(source.name)} ORDER BY {_order_sql(block, source.name, names)} {block.limit}"
    return block.planner.recompute((source,), ((),), sql, f"ORDER BY {block.limit}")


def result_key(block: Block) -> tuple[str, ...]:
    """The output columns that hold the GROUP BY, if all of it is there; of a window, start or end is enough."""
    if block.key is None or any(unnests(e) for e in block.outputs):
        return ()
    shown = {text(output): name for output, name in reversed(list(zip(block.outputs, block.names, strict=True)))}
    names: list[str] = []
    bounds = [e for e in block.key if e.name in block.node.windows]
    told = all(block.node.windows[e.name].told for e in bounds)
    one_window = told and sorted(block.node.windows[e.name].role for e in bounds) == ["end", "start"]
    for e in block.key:
        name = shown.get(text(e))
        if name is not None:
            names.append(name)
        elif not (one_window and e in bounds and any(text(other) in shown for other in bounds)):
            return ()
    return tuple(names)
