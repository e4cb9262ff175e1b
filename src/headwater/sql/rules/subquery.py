"""Conditions with a subquery in WHERE: EXISTS and IN become semi joins, NOT EXISTS an anti join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, column, columns, conjuncts, substitute, tables, text
from headwater.sql.plan import Node
from headwater.sql.planner import Planner
from headwater.sql.rules.join import JoinKind, JoinParts, join, split_equalities
from headwater.sql.rules.join_keys import Pair
from headwater.sql.rules.source import Compile, Environment

_PLAIN_ONLY = ("group", "having", "qualify", "limit", "offset", "windows", "with_", "distinct")


@dataclass(frozen=True)
class Restriction:
    """A condition with a subquery, and what is needed to plan it."""

    planner: Planner
    node: Node
    condition: exp.Expr
    environment: Environment
    compile: Compile


def restrict(planner: Planner, node: Node, condition: exp.Expr, environment: Environment, compile_: Compile) -> Node:
    """The rows of `node` for which a condition with a subquery holds, all columns under the same names.

    Raises:
        CannotDecompose: the condition is of no kind that has a rule.
    """
    restriction = Restriction(planner, node, condition, environment, compile_)
    for rule in SUBQUERY_RULES:
        found = rule(restriction)
        if found is not None:
            return found
    raise CannotDecompose(f"the subquery in {text(condition)[:80]}")


def exists(restriction: Restriction) -> Node | None:
    """`[NOT] EXISTS (SELECT ... WHERE inner = outer AND ...)`: a semi or anti join on the equalities."""
    condition, kind = restriction.condition, JoinKind("SEMI")
    if isinstance(condition, exp.Not):
        condition, kind = condition.this.unnest(), JoinKind("ANTI")
    if not isinstance(condition, exp.Exists) or not isinstance(condition.this, exp.Select):
        return None
    inner = condition.this
    if any(inner.args.get(name) for name in _PLAIN_ONLY) or not inner.args.get("from_"):
        return None
    if any(True for e in inner.expressions for _ in restriction.planner.aggregates.find(e)):
        return None
    return _semi(restriction, inner, kind)


def _semi(restriction: Restriction, inner: exp.Select, kind: JoinKind) -> Node | None:
    planner, outer = restriction.planner, restriction.node
    where = conjuncts(inner.args.get("where"))
    correlated = [part for part in where if outer.name in {c.table for c in part.find_all(exp.Column)}]
    own = {item.alias_or_name for item in [inner.args["from_"].this, *(j.this for j in inner.args.get("joins") or [])]}
    if any(not tables(part) <= own | {outer.name} for part in correlated):
        return None
    wanted = [c for c in columns(correlated) if c.table in own]
    body = inner.copy()
    body.set("expressions", [exp.alias_(c.copy(), f"{c.table}.{c.name}", quoted=True) for c in wanted] or [exp.true()])
    uncorrelated = [part.copy() for part in where if part not in correlated]
    body.set("where", exp.Where(this=exp.and_(*uncorrelated, dialect="duckdb")) if uncorrelated else None)
    right = _fresh(planner, restriction.compile(planner, body, restriction.environment))
    mapping = {text(c): column(right.name, name) for c, name in zip(wanted, right.names, strict=False)}
    parts = [substitute(part, mapping) for part in correlated]
    pairs, rest = split_equalities(parts, {outer.name}, {right.name})
    return join(planner, JoinParts(kind, outer, right, tuple(pairs), tuple(rest)))


def within(restriction: Restriction) -> Node | None:
    """`x IN (SELECT y ...)` without reference to the outer row: a semi join on x = y."""
    condition, planner, outer = restriction.condition, restriction.planner, restriction.node
    if not isinstance(condition, exp.In) or not isinstance(condition.args.get("query"), exp.Query):
        return None
    query = condition.args["query"]
    if outer.name in tables(query) or isinstance(condition.this, exp.Tuple):
        return None
    inner = query.this if isinstance(query, exp.Subquery) else query
    right = _fresh(planner, restriction.compile(planner, inner, restriction.environment))
    pairs = (Pair(condition.this, column(right.name, right.names[0])),)
    return join(planner, JoinParts(JoinKind("SEMI"), outer, right, pairs))


def _fresh(planner: Planner, node: Node) -> Node:
    """The node under column names of its own, so that a relation is never joined with itself."""
    return planner.linear(node, [(column(node.name, name), f"sub.{name}") for name in node.names])


SUBQUERY_RULES: tuple[Callable[[Restriction], Node | None], ...] = (exists, within)
