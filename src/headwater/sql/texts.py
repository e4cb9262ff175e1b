"""Takes functions of one text out of projections and filters, so that each distinct text is worked on once.

Real texts repeat: a url, a channel, a name. A function that looks at a whole text costs more than finding out whether
the text was met before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import sqlglot
from sqlglot import exp

from headwater.sql.bind import Binder, quote
from headwater.sql.expressions import column, function_name, internal, substitute, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Column, Linear, Node, Plan

_WORTH_IT = frozenset({
    "split_part", "regexp_extract", "regexp_replace", "regexp_matches", "regexp_full_match", "replace", "lower",
    "upper", "levenshtein", "md5", "sha256", "reverse", "translate", "strip_accents",
})  # fmt: skip
"""Functions that read all of a text."""

_TOTAL = frozenset({
    *_WORTH_IT, "length", "left", "right", "substr", "substring", "trim", "ltrim", "rtrim", "concat", "contains",
    "starts_with", "ends_with", "strpos", "ascii", "coalesce", "prefix", "suffix",
})  # fmt: skip
"""Functions that fail on no text, so that they may be computed where a condition would have kept them from it."""

_PLAIN = (exp.Column, exp.Literal, exp.Identifier, exp.Paren, exp.Null)


def by_distinct_text(plan: Plan, binder: Binder) -> Plan:
    """The plan whose projections compute functions of one text beforehand, in a node of their own."""
    made: dict[Node, Node] = {}
    for node in plan.nodes():
        inputs = tuple(made[source] for source in node.inputs)
        moved = node if inputs == node.inputs else replace(node, inputs=inputs)
        made[node] = _taken_apart(moved, binder) if isinstance(moved, Linear) else moved
    return Plan(made[plan.root], plan.key)


def _taken_apart(node: Linear, binder: Binder) -> Linear:
    """The projection over a node that has its functions of one text as columns."""
    source = node.inputs[0]
    if node.multiplies or node.lateral:
        return node
    texts = {c.name for c in source.columns if c.type == "VARCHAR" and c.exact}
    where = sqlglot.parse_one(node.where, read=DIALECT) if node.where else None
    select = [(sqlglot.parse_one(expression, read=DIALECT), name) for expression, name in node.select]
    found = {text(part): part for part in _found([*([where] if where else []), *(e for e, _ in select)], texts)}
    # After a filter that looks at other things the texts that are left may be few: it stays first.
    if not found or (where is not None and not any(text(part) in found for part in where.walk())):
        return node
    names = {key: internal("x", i) for i, key in enumerate(found)}
    before = _computing(node, source, names, binder)
    moved: dict[str, exp.Expr] = {text(column(source.name, n)): column(before.name, n) for n in source.names}
    moved |= {key: column(before.name, name) for key, name in names.items()}
    rewritten = tuple((text(substitute(e, moved)), name) for e, name in select)
    condition = text(substitute(where, moved)) if where is not None else ""
    return replace(node, inputs=(before,), select=rewritten, where=condition)


def _found(expressions: list[exp.Expr], texts: set[str]) -> Iterator[exp.Expr]:
    """The largest parts that are functions of one text, and worth it."""
    for expression in expressions:
        if _is_of_one_text(expression, texts):
            yield expression
        else:
            yield from _found(list(expression.iter_expressions()), texts)


def _is_of_one_text(expression: exp.Expr, texts: set[str]) -> bool:
    if not isinstance(expression, exp.Func):
        return False
    names = [function_name(part) for part in expression.walk() if not isinstance(part, _PLAIN)]
    read = {part.name for part in expression.find_all(exp.Column)}
    return len(read) == 1 and read <= texts and set(names) <= _TOTAL and not _WORTH_IT.isdisjoint(names)


def _computing(node: Linear, source: Node, names: Mapping[str, str], binder: Binder) -> Linear:
    """The node that has every column of the source, and what is computed of single texts."""
    passed = tuple((text(column(source.name, name)), name) for name in source.names)
    computed = tuple(names.items())
    listed = ", ".join(f"{expression} AS {quote(name)}" for expression, name in computed)
    columns: tuple[Column, ...] = binder.describe(f"SELECT {listed} FROM {quote(source.name)}")
    return Linear(
        f"{node.name}t", (*source.columns, *columns), (source,), "texts, each once", dict(source.windows), source.open,
        "distinct_texts", select=(*passed, *computed), texts=len(computed),
    )  # fmt: skip
