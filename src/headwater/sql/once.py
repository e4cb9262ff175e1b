"""Takes expressions that many rows share out of projections and filters, into a node that computes each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from headwater.sql.bind import Binder, quote
from headwater.sql.expressions import column, columns, internal, is_column, parsed, substitute, text
from headwater.sql.plan import Column, Columns, Linear, Node, Plan
from headwater.sql.row_plan import Once
from headwater.sql.row_test import test_of


@dataclass(frozen=True)
class Sharing:
    """What is taken out.

    Attributes:
        fast: name of the fast path.
        title: of the nodes that compute it.
        letter: tells these nodes and their columns from others.
        step_us: given an expression and the input's columns, `Once.step_us` if the expression is to be taken out and is
            a function of what `Once.columns` may be; else None.
    """

    fast: str
    title: str
    letter: str
    step_us: Callable[[exp.Expr, Columns], int | None]


def taken_out(plan: Plan, binder: Binder, sharing: Sharing) -> Plan:
    """The plan whose projections have shared expressions computed beforehand, in nodes of their own."""
    made: dict[Node, Node] = {}
    for node in plan.nodes():
        inputs = tuple(made[source] for source in node.inputs)
        moved = node if inputs == node.inputs else replace(node, inputs=inputs)
        if isinstance(moved, Linear) and not (moved.multiplies or moved.lateral or moved.once):
            moved = _taken_apart(moved, binder, sharing)
        made[node] = moved
    return Plan(made[plan.root], plan.key)


def _taken_apart(node: Linear, binder: Binder, sharing: Sharing) -> Linear:
    """The projection over a node that has its shared expressions as columns."""
    source = node.inputs[0]
    if not node.where and all(is_column(expression) for expression, _ in node.select):
        return node
    where = parsed(node.where) if node.where else None
    select = [(parsed(expression), name) for expression, name in node.select]
    asked = [*([where] if where else []), *(e for e, name in select if name not in node.formulas)]
    shared = list(_found(asked, source.columns, sharing))
    if not shared:
        return node
    if where is not None and not any(part in shared for part in where.walk()):
        # What is left after a filter that looks at other things may be little: it stays first.
        return _taken_apart(_after_filter(node, binder), binder, sharing) if test_of(node) else node
    named = {text(part): (part, internal(sharing.letter, i)) for i, part in enumerate(dict.fromkeys(shared))}
    before = _computing(node, source, named.values(), binder, sharing)
    moved: dict[str, exp.Expr] = {text(column(source.name, n)): column(before.name, n) for n in source.names}
    moved |= {key: column(before.name, name) for key, (_, name) in named.items()}
    rewritten = tuple((text(substitute(e, moved)), name) for e, name in select)
    condition = text(substitute(where, moved)) if where is not None else ""
    return replace(node, inputs=(before,), select=rewritten, where=condition)


def _found(expressions: Iterable[exp.Expr], known: Columns, sharing: Sharing) -> Iterator[exp.Expr]:
    """The largest parts that are shared."""
    for expression in expressions:
        if sharing.step_us(expression, known) is not None:
            yield expression
        else:
            yield from _found(expression.iter_expressions(), known, sharing)


def _after_filter(node: Linear, binder: Binder) -> Linear:
    """The node as a projection of what a node with its condition lets through."""
    source = node.inputs[0]
    read = {part.name for e, _ in node.select for part in parsed(e).find_all(exp.Column)}
    kept = tuple(c for c in source.columns if c.name in read)
    windows = {name: window for name, window in source.windows.items() if name in read}
    first = replace(
        node, name=f"{node.name}f", columns=kept, title="filter", windows=windows, formulas={},
        select=tuple((text(column(source.name, c.name)), c.name) for c in kept),
    )  # fmt: skip
    binder.define(first.name, kept)
    renamed = {text(column(source.name, c.name)): column(first.name, c.name) for c in kept}
    select = tuple((text(substitute(parsed(e), renamed)), name) for e, name in node.select)
    return replace(node, inputs=(first,), select=select, where="", title="project")


def _computing(
    node: Linear, source: Node, named: Iterable[tuple[exp.Expr, str]], binder: Binder, sharing: Sharing
) -> Linear:
    """The node that has every column of the source, and the shared expressions."""
    once = tuple(
        Once(text(part), name, tuple(c.name for c in columns([part])), sharing.step_us(part, source.columns) or 0)
        for part, name in named
    )
    passed = tuple((text(column(source.name, name)), name) for name in source.names)
    listed = ", ".join(f"{one.expression} AS {quote(one.name)}" for one in once)
    described: tuple[Column, ...] = binder.describe(f"SELECT {listed} FROM {quote(source.name)}")
    all_columns = (*source.columns, *described)
    name = f"{node.name}{sharing.letter}"
    binder.define(name, all_columns)
    return Linear(
        name, all_columns, (source,), sharing.title, dict(source.windows), source.open,
        sharing.fast, select=(*passed, *((one.expression, one.name) for one in once)), once=once,
    )  # fmt: skip
