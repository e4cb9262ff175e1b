"""Window functions and QUALIFY: the partitions that changed are computed again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import (
    PEER_FUNCTIONS,
    CannotDecompose,
    column,
    function_name,
    has_subquery,
    internal,
    substitute,
    text,
)
from headwater.sql.plan import Node
from headwater.sql.planner import carried_windows


def inline_named_windows(select: exp.Select) -> None:
    """Writes out `OVER w` where WINDOW defines w, so that every window function says its own partition."""
    named = {window.this.name.lower(): window for window in select.args.get("windows") or []}
    for window in list(select.find_all(exp.Window)):
        reference = window.args.get("alias")
        if reference is None or window in named.values():
            continue
        definition = named.get(reference.name.lower())
        if definition is None or definition.args.get("alias") is not None:
            raise CannotDecompose("a window that names another")
        window.set("alias", None)
        for part in ("partition_by", "order", "spec"):
            given = definition.args.get(part)
            if given and not window.args.get(part):
                window.set(part, [e.copy() for e in given] if isinstance(given, list) else given.copy())
    select.set("windows", None)


def partition(block: Block) -> None:
    """Replaces window functions by columns of a recompute; does nothing where there are none."""
    found = {text(w): w for e in block.remaining() for w in e.find_all(exp.Window)}
    calls = list(found.values())
    if not calls:
        if block.qualify is not None:
            raise CannotDecompose("QUALIFY without a window function")
        return
    if any(has_subquery(e) for e in block.remaining()):
        raise CannotDecompose("a subquery beside window functions")
    keys = [(key, internal("p", i)) for i, key in enumerate(_common_partition(calls))]
    source = block.project([*keys, *block.needed()])
    node = _recompute(block, source, keys, calls)
    mapping = {text(call): column(node.name, internal("w", i)) for i, call in enumerate(calls)}
    mapping |= {text(column(block.node.name, n)): column(node.name, n) for n in source.names if n in node.names}
    block.qualify = None
    block.move(node, mapping)


def _common_partition(calls: Sequence[exp.Window]) -> list[exp.Expr]:
    """PARTITION BY expressions that every window function has."""
    partitions = [{text(e): e for e in call.args.get("partition_by") or []} for call in calls]
    return [e for key, e in partitions[0].items() if all(key in other for other in partitions)]


def _recompute(block: Block, source: Node, keys: Sequence[tuple[exp.Expr, str]], calls: Sequence[exp.Window]) -> Node:
    inner: dict[str, exp.Expr] = {text(column(block.node.name, n)): column(source.name, n) for n in source.names}
    settled = [_break_ties(substitute(call, inner), source) for call in calls]
    listed = [text(column(source.name, name)) for name in source.names]
    listed += [f"{text(call)} AS {quote(internal('w', i))}" for i, call in enumerate(settled)]
    sql = f"SELECT {', '.join(listed)} FROM {quote(source.name)}"
    if block.qualify is not None:
        outer = {text(call): exp.column(internal("w", i), quoted=True) for i, call in enumerate(calls)}
        outer |= {text(column(block.node.name, n)): exp.column(n, quoted=True) for n in source.names}
        sql = f"SELECT * FROM ({sql}) WHERE {text(substitute(block.qualify, outer))}"
    windows = carried_windows(block.node, [*keys, *block.needed()])
    why = ", ".join(function_name(call.this) or text(call.this)[:40] for call in calls) + " OVER (...)"
    return block.planner.gated(
        block.planner.recompute((source,), (tuple(name for _, name in keys),), sql, why, windows, "p")
    )


def _break_ties(call: exp.Expr, source: Node) -> exp.Expr:
    """Orders equal rows by all their columns where the function tells rows of equal order apart.

    SQL leaves that order open; without this a row's number could change with rows of other partitions.
    """
    if not isinstance(call, exp.Window) or function_name(_called(call)) in PEER_FUNCTIONS or not _by_row(call):
        return call
    order = call.args.get("order")
    given = list(order.expressions) if order is not None else []
    ties = [exp.Ordered(this=column(source.name, name), nulls_first=False) for name in source.names]
    call.set("order", exp.Order(expressions=[*given, *ties]))
    return call


def _called(call: exp.Window) -> exp.Expr:
    function: exp.Expr = call.this
    while isinstance(function, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        function = function.this
    return function


def _by_row(call: exp.Window) -> bool:
    """Whether the function or its frame counts rows, rather than values of the order."""
    spec = call.args.get("spec")
    if spec is not None:
        return str(spec.args.get("kind") or "").upper() == "ROWS"
    function = _called(call)
    return not isinstance(function, exp.Sum | exp.Avg | exp.Count | exp.Min | exp.Max)
