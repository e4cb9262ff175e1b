"""The rows of a subquery as a node, and by what equalities they belong to the rows of the outer query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import (
    CannotDecompose,
    column,
    columns,
    conjuncts,
    has_subquery,
    substitute,
    tables,
    text,
)
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Node
from headwater.sql.planner import Planner
from headwater.sql.rules.join import split_equalities
from headwater.sql.rules.join_keys import Pair
from headwater.sql.rules.source import Compile, Environment

_ORDERED = ("order", "limit", "offset")


OUTER = "outer#"
"""The relation that columns of the outer row name, whatever node gives them at the time."""


@dataclass(frozen=True)
class Scope:
    """What is needed to compile a subquery.

    Attributes:
        planner: makes nodes.
        environment: what relation names stand for.
        compile: compiles queries.
    """

    planner: Planner
    environment: Environment
    compile: Compile


@dataclass(frozen=True)
class Inner:
    """A subquery without references to the outer row.

    Attributes:
        node: its rows, under column names of their own.
        values: what it selects.
        pairs: the equalities by which rows belong to an outer row, whose columns are those of `OUTER`.
        rest: the other conditions over outer and inner row.
        aggregated: it has one row for each outer row, whether or not there is any to aggregate.
    """

    node: Node
    values: tuple[exp.Expr, ...]
    pairs: tuple[Pair, ...] = ()
    rest: tuple[exp.Expr, ...] = ()
    aggregated: bool = False


def inner_of(scope: Scope, query: exp.Query, *, counted: bool = True) -> Inner:
    """Compiles a subquery apart from the outer query.

    Args:
        counted: how often a row is there matters; if not, DISTINCT, ORDER BY and LIMIT without OFFSET say nothing.

    Raises:
        CannotDecompose: it refers to the outer row in a way that has no rule.
    """
    query = cast(exp.Query, query.unnest()) if isinstance(query, exp.Subquery) else query
    if not counted:
        query = _unordered(query)
    if OUTER not in tables(query):
        node = fresh(scope.planner, scope.compile(scope.planner, query, scope.environment))
        return Inner(node, tuple(column(node.name, name) for name in node.names), aggregated=_aggregated(scope, query))
    if not isinstance(query, exp.Select) or query.args.get("from_") is None:
        raise CannotDecompose("a subquery that refers to the outer query, and is no plain SELECT")
    return _correlated(scope, query, counted)


def _unordered(query: exp.Query) -> exp.Query:
    limit = query.args.get("limit")
    some = limit is None or (limit.expression.is_int and int(limit.expression.name) > 0)
    if not some or query.args.get("offset") is not None or not isinstance(query, exp.Select):
        return query
    bare = query.copy()
    for part in ("order", "limit"):
        bare.set(part, None)
    distinct = bare.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is None:
        bare.set("distinct", None)
    return bare


def _aggregated(scope: Scope, query: exp.Query) -> bool:
    """Whether it is an aggregate over everything."""
    found = isinstance(query, exp.Select) and query.args.get("group") is None
    return found and any(True for e in query.expressions for _ in scope.planner.aggregates.find(e))


def _correlated(scope: Scope, query: exp.Select, counted: bool) -> Inner:
    """A SELECT whose WHERE names the outer row: it selects the inner sides of that as well, and is grouped by them."""
    where = conjuncts(query.args.get("where"))
    naming = [part for part in where if OUTER in tables(part)]
    body = query.copy()
    others = [part.copy() for part in where if part not in naming]
    body.set("where", exp.Where(this=exp.and_(*others, dialect="duckdb")) if others else None)
    if OUTER in tables(body) or any(has_subquery(part) for part in naming):
        raise CannotDecompose("a subquery that refers to the outer query other than in comparisons of its WHERE")
    own = set().union(*(tables(part) for part in naming)) - {OUTER}
    pairs, rest = split_equalities(naming, {OUTER}, own)
    aggregated = _aggregated(scope, query)
    _by_key(body, pairs, rest, aggregated=aggregated)
    values = [(e.unalias(), f"v#{i}") for i, e in enumerate(body.expressions)]
    if any(value.is_star for value, _ in values):
        if counted:
            raise CannotDecompose("a subquery of all columns")
        values = []
    keys = [(pair.right, f"k#{i}") for i, pair in enumerate(pairs)]
    further = [(c, f"c#{i}") for i, c in enumerate(c for c in columns(rest) if c.table != OUTER)]
    listed = [*values, *keys, *further] or [(exp.true(), "v#0")]
    body.set("expressions", [exp.alias_(e.copy(), name, quoted=True) for e, name in listed])
    node = fresh(scope.planner, scope.compile(scope.planner, body, scope.environment))
    at = {name: column(node.name, shown) for (_, name), shown in zip(listed, node.names, strict=True)}
    moved = {text(c): at[name] for c, name in further}
    return Inner(
        node, tuple(at[name] for _, name in values),
        tuple(replace(pair, right=at[name]) for pair, (_, name) in zip(pairs, keys, strict=True)),
        tuple(substitute(part, moved) for part in rest), aggregated,
    )  # fmt: skip


def _by_key(body: exp.Select, pairs: Sequence[Pair], rest: Sequence[exp.Expr], *, aggregated: bool) -> None:
    """Makes what the SELECT does with all rows of one outer row something that it does with the rows of each key."""
    group, limit = body.args.get("group"), body.args.get("limit")
    if (aggregated or group is not None or limit is not None) and (rest or not pairs):
        raise CannotDecompose("a subquery that puts rows together by more than equality with the outer row")
    if any(body.args.get(part) for part in ("windows", "qualify", "with_", "distinct", "offset")):
        raise CannotDecompose("a subquery with clauses over the rows of one outer row")
    if body.find(exp.Window):
        raise CannotDecompose("a window function in a subquery that refers to the outer query")
    keys = [pair.right.copy() for pair in pairs]
    if aggregated or group is not None:
        body.set("group", exp.Group(expressions=[*(group.expressions if group is not None else []), *keys]))
    if limit is not None and not aggregated:
        _first_of_each(body, keys, limit, grouped=group is not None)
    for part in _ORDERED:
        body.set(part, None)


def _first_of_each(body: exp.Select, keys: Sequence[exp.Expr], limit: exp.Expr, *, grouped: bool) -> None:
    """ORDER BY ... LIMIT n as the first n rows of each key."""
    if grouped:
        raise CannotDecompose("a subquery with GROUP BY and LIMIT")
    order = body.args.get("order")
    number = exp.Window(
        this=exp.RowNumber(), partition_by=list(keys), order=order.copy() if order is not None else None
    )
    body.set("qualify", exp.Qualify(this=exp.LTE(this=number, expression=limit.expression.copy())))


def fresh(planner: Planner, node: Node) -> Node:
    """The node under column names of its own, so that no relation is joined with itself and no name hides another."""
    prefix = planner.name()
    return planner.linear(node, [(column(node.name, name), f"{prefix}.{name}") for name in node.names])


def grouped(scope: Scope, inner: Inner, calls: Sequence[str]) -> Inner:
    """Aggregates (in SQL) over the rows of a subquery that belong to one outer row.

    Raises:
        CannotDecompose: rows belong to an outer row by more than equality.
    """
    if inner.rest:
        raise CannotDecompose("a subquery whose rows belong to the outer row by more than equality")
    keys = [pair.right for pair in inner.pairs]
    listed = [f"{call} AS {quote(f'v#{i}')}" for i, call in enumerate(calls)]
    listed += [f"{text(key)} AS {quote(f'k#{i}')}" for i, key in enumerate(keys)]
    by = f" GROUP BY {', '.join(text(key) for key in keys)}" if keys else ""
    sql = f"SELECT {', '.join(listed)} FROM {quote(inner.node.name)}{by}"
    query: exp.Query = exp.maybe_parse(sql, dialect=DIALECT)
    visible = {**scope.environment, inner.node.name.lower(): inner.node}
    node = fresh(scope.planner, scope.compile(scope.planner, query, visible))
    every = [column(node.name, name) for name in node.names]
    pairs = zip(inner.pairs, every[len(calls) :], strict=True)
    return Inner(node, tuple(every[: len(calls)]), tuple(replace(pair, right=key) for pair, key in pairs))
