"""The SELECT list, DISTINCT, ORDER BY and LIMIT: what makes the block's rows the query's result."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import CannotDecompose, column, has_subquery, internal, text, unnests
from headwater.sql.plan import Node
from headwater.sql.rules.aggregate import distinct_node
from headwater.sql.rules.top import ordering, tie_breaks, top

_LIMIT = re.compile(r"(?:LIMIT (?P<limit>\d+))?(?:FETCH FIRST (?P<fetch>\d+) ROWS ONLY)?(?: ?OFFSET (?P<offset>\d+))?")


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


def _hidden(
    block: Block, expressions: Sequence[exp.Expr], prefix: str, outputs: Sequence[tuple[exp.Expr, str]]
) -> list[tuple[exp.Expr, str]]:
    """Expressions with the names of their columns: an output's where it is one, else one of the planner's own."""
    given = {text(e): name for e, name in reversed(outputs)}
    plain = [e.this if isinstance(e, exp.Ordered) else e for e in expressions]
    return [(e, given.get(text(e), internal(prefix, i))) for i, e in enumerate(plain)]


def _distinct(selected: Sequence[tuple[exp.Expr, str]]) -> list[tuple[exp.Expr, str]]:
    """Each column once."""
    return list({name: (e, name) for e, name in selected}.values())


def _order(block: Block, hidden: Sequence[tuple[exp.Expr, str]], relation: str) -> list[exp.Ordered]:
    """ORDER BY over the columns that its expressions have become."""
    items = []
    for ordered, (_, name) in zip(block.order, hidden, strict=True):
        items.append(ordered.copy())
        items[-1].set("this", column(relation, name))
    return items


def _order_sql(source: Node, order: Sequence[exp.Ordered], names: Sequence[str]) -> str:
    """ORDER BY, ties broken by every column so that the choice is always the same."""
    ties = tie_breaks(source.name, [c for c in source.columns if c.name in names])
    return ", ".join(text(item) for item in [*order, *ties])


def _distinct_on(block: Block, outputs: list[tuple[exp.Expr, str]]) -> Node:
    """DISTINCT ON: per key the first row in order."""
    keys = _hidden(block, block.distinct_on or [], "k", outputs)
    hidden = _hidden(block, block.order, "o", [*outputs, *keys])
    source = block.project(_distinct([*keys, *hidden, *outputs]))
    names = [name for _, name in outputs]
    order = _order(block, hidden, source.name)
    key_names = list(dict.fromkeys(name for _, name in keys))
    orderings = [ordering(item, source.name) for item in order]
    shown = [*names, *(name for _, name in hidden)] if block.limit else names
    node: Node | None = top(block.planner, source, key_names, orderings, shown, limit=1)
    if node is not None and block.limit:
        return _limited(block, node, _order(block, hidden, node.name), names)
    if block.limit:
        raise CannotDecompose("DISTINCT ON with LIMIT")
    if node is None:
        node = _distinct_on_again(block, source, key_names, _order_sql(source, order, names), names)
    return block.planner.linear(node, [(column(node.name, name), name) for name in names])


def _distinct_on_again(block: Block, source: Node, keys: Sequence[str], order: str, names: Sequence[str]) -> Node:
    """DISTINCT ON by computing again every key that changed."""
    again = {name: internal("k", i) for i, name in enumerate(keys)}
    listed = [f"{quote(name)} AS {quote(again[name])}" for name in keys]
    listed += [f"{quote(source.name)}.{quote(name)}" for name in names if name not in again.values()]
    on = ", ".join(quote(name) for name in keys)
    by = ", ".join(f"{quote(source.name)}.{quote(name)}" for name in keys)
    sql = f"SELECT DISTINCT ON ({on}) {', '.join(listed)} FROM {quote(source.name)} ORDER BY {by}, {order}"
    return block.planner.recompute((source,), (tuple(keys),), sql, "DISTINCT ON")


def _top(block: Block, outputs: list[tuple[exp.Expr, str]]) -> Node:
    """ORDER BY ... LIMIT over everything."""
    names = [name for _, name in outputs]
    hidden = _hidden(block, block.order, "o", outputs)
    if block.distinct_on is None:
        source = block.project(_distinct([*outputs, *hidden]))
    else:
        if any(name not in names for _, name in hidden):
            raise CannotDecompose("SELECT DISTINCT ordered by something that it does not select")
        source = distinct_node(block.planner, block.project(outputs))
    return _limited(block, source, _order(block, hidden, source.name), names)


def _limited(block: Block, source: Node, order: Sequence[exp.Ordered], names: Sequence[str]) -> Node:
    """The rows that LIMIT and OFFSET leave of a node's."""
    bounds = _LIMIT.fullmatch(block.limit)
    if bounds is not None:
        limit, offset = bounds["limit"] or bounds["fetch"], int(bounds["offset"] or 0)
        if limit == "0":
            return block.planner.linear(source, [(column(source.name, name), name) for name in names], [exp.false()])
        orderings = [ordering(item, source.name) for item in order]
        node = top(block.planner, source, (), orderings, names, limit=int(limit) if limit else None, offset=offset)
        if node is not None:
            return block.planner.linear(node, [(column(node.name, name), name) for name in names])
    listed = ", ".join(quote(name) for name in names)
    sql = f"SELECT {listed} FROM {quote(source.name)} ORDER BY {_order_sql(source, order, names)} {block.limit}"
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
