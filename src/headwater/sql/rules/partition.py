"""Window functions and QUALIFY: ROW_NUMBER() from rows kept in order, others by computing again the partitions that
changed; one node after the other where partitions have nothing in common."""

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
from headwater.sql.rules.top import ordering, tie_breaks, top


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
    """Replaces window functions by columns, those of one partition at a time; does nothing where there are none."""
    calls = _calls(block)
    if not calls and block.qualify is not None:
        raise CannotDecompose("QUALIFY without a window function")
    if calls and any(has_subquery(e) for e in block.remaining()):
        raise CannotDecompose("a subquery beside window functions")
    made = 0
    while calls:
        alike = _alike(calls)
        if len(alike) > 1 or not _ranked(block, alike[0], made):
            _recomputed(block, alike, made, len(alike) == len(calls))
        made += len(alike)
        calls = _calls(block)
        _settle(block, calls)


def _calls(block: Block) -> list[exp.Window]:
    """The window function calls still to be replaced, each once."""
    return list({text(w): w for e in block.remaining() for w in e.find_all(exp.Window)}.values())


def _alike(calls: Sequence[exp.Window]) -> list[exp.Window]:
    """The calls to be computed together next: all if their partitions have something in common, else those of one
    partition, so that no row is computed again for the sake of another partition than its own."""
    if len(calls) == 1 or _common_partition(calls):
        return list(calls)
    first = set(_partition_of(calls[0]))
    return [call for call in calls if set(_partition_of(call)) == first]


def _settle(block: Block, waiting: Sequence[exp.Window]) -> None:
    """Moves what QUALIFY asks of columns there are by now to the filters."""
    if waiting or block.qualify is None:
        return
    block.filters = [*block.filters, *conjuncts(block.qualify)]
    block.qualify = None


def _ranked(block: Block, call: exp.Window, made: int) -> bool:
    """Replaces ROW_NUMBER() by the number that rows have in a tree; False if that cannot be."""
    if not isinstance(call.this, exp.RowNumber) or call.args.get("spec") is not None:
        return False
    if not block.planner.allows("top_n"):
        return False
    keys = _named(call.args.get("partition_by") or [], "p")
    order = call.args.get("order")
    items = list(order.expressions) if order is not None else []
    hidden = _named([item.this for item in items], "o")
    if any(e.find(exp.Collate) for e, _ in hidden):
        return False
    filters = block.filters
    source = block.project(_once([*keys, *hidden, *_carried(block, [call], [])]))
    by = [
        ordering(_moved(item, column(source.name, name)), source.name)
        for item, (_, name) in zip(items, hidden, strict=True)
    ]
    shown = [c.name for c, _ in _carried(block, [call], [])]
    node = top(block.planner, source, [name for _, name in keys], by, shown, internal("w", made))
    if node is None:
        block.filters = filters
        return False
    _follow(block, block.planner.gated(node), {text(call): internal("w", made)})
    return True


def _named(expressions: Sequence[exp.Expr], kind: str) -> list[tuple[exp.Expr, str]]:
    """Expressions with the names of their columns: plain columns keep theirs."""
    return [(e, e.name if isinstance(e, exp.Column) else internal(kind, i)) for i, e in enumerate(expressions)]


def _once(selected: Sequence[tuple[exp.Expr, str]]) -> list[tuple[exp.Expr, str]]:
    return list({name: (e, name) for e, name in selected}.values())


def _moved(item: exp.Ordered, to: exp.Expr) -> exp.Ordered:
    copy = item.copy()
    copy.set("this", to)
    return copy


def _follow(block: Block, node: Node, calls: Mapping[str, str]) -> None:
    """Goes on over a node that has the block's columns, and those named of calls."""
    mapping: dict[str, exp.Expr] = {call: column(node.name, name) for call, name in calls.items()}
    mapping |= {text(column(block.node.name, n)): column(node.name, n) for n in block.node.names if n in node.names}
    block.move(node, mapping)


def _recomputed(block: Block, calls: Sequence[exp.Window], made: int, last: bool) -> None:
    """Replaces calls by columns of a recompute; the last one applies QUALIFY."""
    keys = [(key, internal("p", i)) for i, key in enumerate(_common_partition(calls))]
    arguments = Arguments(block.planner, block.node, {text(key): name for key, name in keys})
    rewritten = [arguments.rewritten(call) for call in calls]
    source = block.project([*keys, *arguments.columns, *_carried(block, calls, rewritten)])
    named = [internal("w", made + i) for i in range(len(calls))]
    node = _recompute(block, source, keys, Calls(calls, rewritten, named), last)
    _follow(block, node, {text(call): name for call, name in zip(calls, named, strict=True)})


@dataclass(frozen=True)
class Calls:
    """Window function calls as they are written, with their arguments taken out, and the names of their columns."""

    given: Sequence[exp.Window]
    rewritten: Sequence[exp.Expr]
    named: Sequence[str]


def _carried(block: Block, calls: Sequence[exp.Window], rewritten: Sequence[exp.Expr]) -> list[tuple[exp.Expr, str]]:
    """The columns that the calls name, and that is used besides them."""
    without: dict[str, exp.Expr] = {text(call): exp.null() for call in calls}
    used = columns([*(substitute(e, without) for e in block.remaining()), *rewritten])
    return [(c, c.name) for c in used if c.table == block.node.name and c.name in block.node.names]


def _partition_of(call: exp.Window) -> dict[str, exp.Expr]:
    return {text(e): e for e in call.args.get("partition_by") or []}


def _common_partition(calls: Sequence[exp.Window]) -> list[exp.Expr]:
    """PARTITION BY expressions that every window function has."""
    partitions = [_partition_of(call) for call in calls]
    return [e for key, e in partitions[0].items() if all(key in other for other in partitions)]


def _recompute(block: Block, source: Node, keys: Sequence[tuple[exp.Expr, str]], calls: Calls, last: bool) -> Node:
    """The recompute; the last one keeps no rows as its result of which QUALIFY is not true, where that cannot fail."""
    inner: dict[str, exp.Expr] = {text(column(block.node.name, n)): column(source.name, n) for n in source.names}
    settled = [_break_ties(substitute(call, inner), source) for call in calls.rewritten]
    listed = [text(column(source.name, name)) for name in source.names]
    listed += [f"{text(call)} AS {quote(name)}" for call, name in zip(settled, calls.named, strict=True)]
    sql = f"SELECT {', '.join(listed)} FROM {quote(source.name)}"
    types = {c.name: c.type for c in block.planner.describe(sql)}
    outer = {text(call): exp.column(name, quoted=True) for call, name in zip(calls.given, calls.named, strict=True)}
    outer |= {text(column(block.node.name, n)): exp.column(n, quoted=True) for n in source.names}
    qualify = [(part, substitute(part, outer)) for part in conjuncts(block.qualify)]
    sure = [part for part, moved in qualify if last and not can_fail(moved, types)]
    condition = conjunction(moved for part, moved in qualify if part in sure)
    if condition:
        sql = f"SELECT * FROM ({sql}) WHERE {condition}"
    block.qualify = exp.and_(*(part for part, _ in qualify if part not in sure)) if len(sure) < len(qualify) else None
    windows = carried_windows(block.node, [*keys, *block.needed()])
    why = ", ".join(function_name(call.this) or text(call.this)[:40] for call in calls.given) + " OVER (...)"
    node = block.planner.recompute((source,), (tuple(name for _, name in keys),), sql, why, windows, "p")
    return block.planner.gated(node)


_OF_ROWS = frozenset({"row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value", "fill"})
"""Functions that tell rows of equal order apart; aggregates do not, unless their frame counts rows."""


def _break_ties(call: exp.Expr, source: Node) -> exp.Expr:
    """Orders equal rows by all their columns where the function tells rows of equal order apart.

    SQL leaves that order open; without this a row's number could change with rows of other partitions.
    """
    if not isinstance(call, exp.Window) or function_name(_called(call)) in PEER_FUNCTIONS or not _by_row(call):
        return call
    order = call.args.get("order")
    given = list(order.expressions) if order is not None else []
    settling = (*(item.this for item in given), *(call.args.get("partition_by") or []))
    settled = {e.name for e in settling if isinstance(e, exp.Column)}
    call.set("order", exp.Order(expressions=[*given, *tie_breaks(source.name, source.columns, settled)]))
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
    return function_name(_called(call)) in _OF_ROWS
