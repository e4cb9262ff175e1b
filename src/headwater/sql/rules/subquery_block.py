"""Subqueries in the SELECT list, GROUP BY, HAVING, QUALIFY and ORDER BY.

They are taken out before the other rules look at the block, each replaced by a call over the columns of the outer row
that it names, and put back as columns where those are known: in what is aggregated before GROUP BY, else after it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from headwater.sql.block import Block, passed
from headwater.sql.expressions import column, columns, internal, substitute, text
from headwater.sql.rules.subquery_column import attach, subqueries
from headwater.sql.rules.subquery_inner import Scope


class Lifted:
    """The subqueries of a block, taken out of it."""

    def __init__(self, block: Block, scope: Scope) -> None:
        self._block, self._scope = block, scope
        self._taken: dict[str, tuple[exp.Expr, list[exp.Column]]] = {}
        calls: dict[str, exp.Expr] = {}
        for part in (found for e in block.remaining() for found in subqueries(e)):
            name = internal("subquery", len(self._taken))
            named = [c for c in columns([part]) if c.table == block.node.name]
            calls[text(part)] = exp.Anonymous(this=name, expressions=[c.copy() for c in named])
            self._taken[name] = (part, named)
        if calls:
            block.move(block.node, calls)

    def before_groups(self) -> None:
        """Puts back those that are grouped by or aggregated."""
        block = self._block
        if block.group is not None:
            calls = [call for e in block.remaining() for call in block.planner.aggregates.find(e)]
            self._put_back([*block.group, *calls])

    def after_groups(self) -> None:
        """Puts back the rest."""
        self._put_back([*self._block.remaining(), *self._block.filters])

    def _put_back(self, expressions: Iterable[exp.Expr]) -> None:
        """Puts those in the expressions back, wherever else they stand."""
        calls = {text(call): call for e in expressions for call in self._calls(e)}
        if not calls:
            return
        block, old = self._block, self._block.node
        ready = [part for part in block.filters if not self._calls(part)]
        block.filters = [part for part in block.filters if self._calls(part)]
        node = block.planner.linear(old, [(column(old.name, name), name) for name in old.names], ready)
        moved = passed(old, node, old.names)
        wider, values = attach(self._scope, node, [substitute(self._of(call), moved) for call in calls.values()])
        mapping = dict(zip(calls, values, strict=True)) | passed(old, wider, old.names)
        block.move(wider, mapping)

    def _calls(self, expression: exp.Expr) -> list[exp.Anonymous]:
        return [call for call in expression.find_all(exp.Anonymous) if call.name in self._taken]

    def _of(self, call: exp.Anonymous) -> exp.Expr:
        """The subquery that a call stands for, over what its columns have become."""
        part, named = self._taken[call.name]
        return substitute(part, {text(c): now for c, now in zip(named, call.expressions, strict=True)})
