"""Window functions and QUALIFY: the partitions that changed are computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.arguments import Arguments, can_fail
from headwater.sql.bind import quote
from headwater.sql.block import Block
from headwater.sql.expressions import (
    PEER_FUNCTIONS,
    CannotDecompose,
    column,
    columns,
    conjunction,
    conjuncts,
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
    arguments = Arguments(block.planner, block.node, {text(key): name for key, name in keys})
    rewritten = [arguments.rewritten(call) for call in calls]
    source = block.project([*keys, *arguments.columns, *_carried(block, found, rewritten)])
    node, later = _recompute(block, source, keys, Calls(calls, rewritten))
    mapping = {text(call): column(node.name, internal("w", i)) for i, call in enumerate(calls)}
    mapping |= {text(column(block.node.name, n)): column(node.name, n) for n in source.names if n in node.names}
    block.qualify = None
    block.filters = later
    block.move(node, mapping)


@dataclass(frozen=True)
class Calls:
    """Window function calls as they are written, and with their arguments taken out."""

    given: Sequence[exp.Window]
    rewritten: Sequence[exp.Expr]


def _carried(block: Block, found: Mapping[str, exp.Expr], rewritten: Sequence[exp.Expr]) -> list[tuple[exp.Expr, str]]:
    """The columns that the calls name, and that is used besides them."""
    without: dict[str, exp.Expr] = {call: exp.null() for call in found}
    used = columns([*(substitute(e, without) for e in block.remaining()), *rewritten])
    return [(c, c.name) for c in used if c.table == block.node.name and c.name in block.node.names]


def _common_partition(calls: Sequence[exp.Window]) -> list[exp.Expr]:
    """PARTITION BY expressions that every window function has."""
    partitions = [{text(e): e for e in call.args.get("partition_by") or []} for call in calls]
    return [e for key, e in partitions[0].items() if all(key in other for other in partitions)]


def _recompute(
    block: Block, source: Node, keys: Sequence[tuple[exp.Expr, str]], calls: Calls
) -> tuple[Node, list[exp.Expr]]:
    """The recompute, and what of QUALIFY is to be applied to its rows."""
    inner: dict[str, exp.Expr] = {text(column(block.node.name, n)): column(source.name, n) for n in source.names}
    settled = [_break_ties(substitute(call, inner), source) for call in calls.rewritten]
    listed = [text(column(source.name, name)) for name in source.names]
    listed += [f"{text(call)} AS {quote(internal('w', i))}" for i, call in enumerate(settled)]
    sql = f"SELECT {', '.join(listed)} FROM {quote(source.name)}"
    types = {c.name: c.type for c in block.planner.describe(sql)}
    outer = {text(call): exp.column(internal("w", i), quoted=True) for i, call in enumerate(calls.given)}
    outer |= {text(column(block.node.name, n)): exp.column(n, quoted=True) for n in source.names}
    qualify = [(part, substitute(part, outer)) for part in conjuncts(block.qualify)]
    sure = conjunction(moved for _, moved in qualify if not can_fail(moved, types))
    if sure:
        sql = f"SELECT * FROM ({sql}) WHERE {sure}"
    windows = carried_windows(block.node, [*keys, *block.needed()])
    why = ", ".join(function_name(call.this) or text(call.this)[:40] for call in calls.given) + " OVER (...)"
    node = block.planner.recompute((source,), (tuple(name for _, name in keys),), sql, why, windows, "p")
    return block.planner.gated(node), [part for part, moved in qualify if can_fail(moved, types)]


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
