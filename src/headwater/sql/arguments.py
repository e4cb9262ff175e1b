"""The arguments of aggregates and window functions as columns.

What such a call is given is computed row by row, before the rows of a key are put together: so a row on which a cast
fails can be told from the others and rejected, and does not stop its key. Only whole arguments are taken out, never
parts of them, so that CASE, COALESCE and AND guard what they guarded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from headwater.sql.bind import BindError, quote
from headwater.sql.expressions import column, has_subquery, internal, tables, text, unnests
from headwater.sql.plan import Node
from headwater.sql.planner import Planner

_CALL_OF = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.WithinGroup)
_LISTS = (exp.Distinct, exp.Order, exp.Ordered, exp.Where, exp.IgnoreNulls, exp.RespectNulls)

_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between)
_PLAIN = (
    *_COMPARISONS, exp.And, exp.Or, exp.Not, exp.Is, exp.Paren, exp.Column, exp.Identifier, exp.Literal, exp.Boolean,
    exp.Null,
)  # fmt: skip


class Arguments:
    """Collects the arguments of calls over one node.

    Args:
        node: whose columns the calls name.
        known: names of expressions that are columns already, by text.

    Attributes:
        columns: (expression, name) pairs to project besides what the rewritten calls name of `node`.
    """

    def __init__(self, planner: Planner, node: Node, known: Mapping[str, str]) -> None:
        self._planner, self._node = planner, node
        self._names: dict[str, str | None] = dict(known)
        self.columns: list[tuple[exp.Expr, str]] = []

    def rewritten(self, call: exp.Expr) -> exp.Expr:
        """A copy of an aggregate or window function call with columns of `node` and of `columns` for arguments."""
        copy = call.copy()
        condition = copy.find(exp.Filter)
        where = condition.expression.this if condition is not None else None
        for part in list(_arguments(copy)):
            # DuckDB computes the arguments of the rows that FILTER leaves out too; those rows need not be able to.
            guarded = exp.Case(ifs=[exp.If(this=where.copy(), true=part.copy())]) if where not in (None, part) else part
            name = self._name(part, guarded)
            if name is not None:
                part.replace(column(self._node.name, name))
        return copy

    def _name(self, part: exp.Expr, guarded: exp.Expr) -> str | None:
        """The column of an argument; None if it stays where it is."""
        if isinstance(part, exp.Column) or self._node.name not in tables(part) or has_subquery(part) or unnests(part):
            return None
        if text(part) in self._names:
            return self._names[text(part)]
        key = text(guarded)
        if key not in self._names:
            name = internal("h", len(self.columns))
            self._names[key] = name if self._is_column(key) else None
            if self._names[key] is not None:
                self.columns.append((guarded.copy(), name))
        return self._names[key]

    def _is_column(self, expression: str) -> bool:
        """Whether it is an expression over a row, of a type that Arrow gives back as it is."""
        try:
            sql = f"SELECT ({expression}) AS v, {quote(self._node.name)}.rowid AS _row FROM {quote(self._node.name)}"
            return self._planner.binder.describe(sql)[0].exact
        except BindError:
            return False


def _arguments(call: exp.Expr) -> Iterator[exp.Expr]:
    """The expressions over single rows that a call is made of."""
    if isinstance(call, exp.Window):
        yield from _arguments(call.this)
        yield from call.args.get("partition_by") or []
        order = call.args.get("order")
        if order is not None:
            yield from _listed(order)
    elif isinstance(call, _CALL_OF):
        yield from _arguments(call.this)
        if isinstance(call.expression, exp.Expr):
            yield from _listed(call.expression)
    else:
        for child in call.iter_expressions():
            yield from _listed(child)


def _listed(part: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(part, _LISTS):
        for child in part.iter_expressions():
            yield from _listed(child)
    else:
        yield part


def can_fail(condition: exp.Expr, types: Mapping[str, str]) -> bool:
    """Whether there may be rows on which a condition fails; true unless it but compares columns and literals.

    Args:
        types: DuckDB's types of the columns, by name.
    """
    for part in condition.walk():
        if not isinstance(part, _PLAIN):
            return True
        if isinstance(part, _COMPARISONS) and len({_is_text(side, types) for side in _cast_by_row(part)}) > 1:
            return True
    return False


def _cast_by_row(comparison: exp.Expr) -> Iterator[exp.Expr]:
    """The sides of a comparison without literal texts, which are cast once and for all."""
    return (side for side in comparison.iter_expressions() if not (isinstance(side, exp.Literal) and side.is_string))


def _is_text(side: exp.Expr, types: Mapping[str, str]) -> bool:
    """Text that is compared with something else is cast, row by row."""
    return isinstance(side, exp.Column) and types.get(side.name, "VARCHAR") == "VARCHAR"
