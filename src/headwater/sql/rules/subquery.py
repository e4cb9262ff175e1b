"""Conditions with a subquery: EXISTS and IN become semi joins, NOT EXISTS an anti join, others columns to filter by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from headwater.sql.expressions import column, substitute, tables, text
from headwater.sql.plan import Node
from headwater.sql.planner import Planner
from headwater.sql.rules.join import JoinKind
from headwater.sql.rules.source import Compile, Environment
from headwater.sql.rules.subquery_column import CERTAIN, Attaching, attach, membership, sought, subqueries
from headwater.sql.rules.subquery_inner import OUTER, Scope, inner_of


@dataclass(frozen=True)
class Restriction:
    """A condition with a subquery, and what is needed to plan it."""

    scope: Scope
    node: Node
    condition: exp.Expr


def restrict(planner: Planner, node: Node, condition: exp.Expr, environment: Environment, compile_: Compile) -> Node:
    """The rows of `node` for which a condition with a subquery holds, all columns under the same names.

    Raises:
        CannotDecompose: the condition is of no kind that has a rule.
    """
    restriction = Restriction(Scope(planner, environment, compile_), node, condition)
    return next(found for rule in SUBQUERY_RULES if (found := rule(restriction)) is not None)


def exists(restriction: Restriction) -> Node | None:
    """`[NOT] EXISTS (SELECT ...)`: a semi or anti join."""
    condition, kind = restriction.condition, JoinKind("SEMI")
    if isinstance(condition, exp.Not):
        condition, kind = condition.this.unnest(), JoinKind("ANTI")
    if not isinstance(condition, exp.Exists):
        return None
    attaching = Attaching(restriction.scope, restriction.node)
    inner = inner_of(restriction.scope, attaching.enter(condition).this, counted=False)
    attaching.join(kind, inner)
    return attaching.node


def within(restriction: Restriction) -> Node | None:
    """`x IN (SELECT y ...)`: a semi join on x = y."""
    attaching = Attaching(restriction.scope, restriction.node)
    condition = membership(attaching.enter(restriction.condition))
    if condition is None:
        return None
    inner = inner_of(restriction.scope, condition.args["query"], counted=False)
    attaching.join(JoinKind("SEMI"), inner, sought(condition, inner))
    return attaching.node


def compared(restriction: Restriction) -> Node | None:
    """`x > (SELECT avg(x) ...)` with one value for all rows: a join by that inequality, of which the value is not
    shown, so that only the rows between the old value and the new change."""
    condition = restriction.condition
    if not isinstance(condition, exp.LT | exp.LTE | exp.GT | exp.GTE):
        return None
    attaching = Attaching(restriction.scope, restriction.node)
    entered = attaching.enter(condition)
    found = [side for side in (entered.this, entered.expression) if isinstance(side, exp.Subquery)]
    if len(found) != 1 or OUTER in tables(found[0]) or len(list(subqueries(entered))) != 1:
        return None
    inner = inner_of(restriction.scope, found[0])
    if not inner.aggregated or len(inner.values) != 1:
        return None
    inner = replace(inner, rest=(substitute(entered, {text(found[0]): inner.values[0]}),))
    attaching.join(JoinKind("INNER"), inner, wanted=frozenset(restriction.node.names))
    return attaching.node


def filtered(restriction: Restriction) -> Node:
    """Any condition: its subqueries become columns first."""
    node = restriction.node
    condition = restriction.condition.copy()
    _mark_certain(condition)
    wider, (condition,) = attach(restriction.scope, node, [condition])
    kept = [(column(wider.name, name), name) for name in node.names]
    return restriction.scope.planner.linear(wider, kept, [condition])


def _mark_certain(condition: exp.Expr) -> None:
    """Marks every IN that only AND and OR stand above: in WHERE its NULL counts as false."""
    if isinstance(condition, exp.And | exp.Or | exp.Paren):
        for part in condition.iter_expressions():
            _mark_certain(part)
    elif isinstance(condition, exp.In):
        condition.meta[CERTAIN] = True


SUBQUERY_RULES: tuple[Callable[[Restriction], Node | None], ...] = (exists, within, compared, filtered)
