"""Subqueries inside expressions as columns: scalar subqueries by a join with their one row, EXISTS and IN by a mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from sqlglot import exp

from headwater.sql.bind import BindError
from headwater.sql.expressions import CannotDecompose, column, conjuncts, substitute, tables, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Node
from headwater.sql.rules.join import JoinKind, JoinParts, join
from headwater.sql.rules.join_keys import Pair
from headwater.sql.rules.source import localise
from headwater.sql.rules.subquery_inner import OUTER, Inner, Scope, grouped, inner_of

CERTAIN = "certain"
"""In the `meta` of an IN: whether it is NULL or false does not matter where it stands."""

_MORE_THAN_ONE = "More than one row returned by a subquery used as an expression"
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


def attach(scope: Scope, node: Node, expressions: Sequence[exp.Expr]) -> tuple[Node, list[exp.Expr]]:
    """Makes columns of the subqueries in expressions over a node.

    Returns:
        A node with all columns of the one given under their names and those made, and the expressions over it.

    Raises:
        CannotDecompose: a subquery is of no kind that has a rule.
    """
    attaching = Attaching(scope, node)
    found = [attaching.enter(e) for e in expressions]
    while (part := next((s for e in found for s in subqueries(e)), None)) is not None:
        value = attaching.value(part)
        found = [substitute(e, {text(part): value}) for e in found]
    return attaching.node, [attaching.leave(e) for e in found]


def subqueries(expression: exp.Expr) -> Iterator[exp.Expr]:
    """The outermost subqueries, each with the operator that makes a value of it."""
    for part in expression.walk(prune=_is_subquery):
        if _is_subquery(part):
            yield part


def _is_subquery(part: exp.Expr) -> bool:
    if isinstance(part, exp.In):
        return part.args.get("query") is not None
    if isinstance(part, _COMPARISONS):
        return isinstance(part.expression, exp.Any | exp.All)
    if isinstance(part, exp.Array):
        return any(isinstance(item, exp.Query) and not isinstance(item, exp.Subquery) for item in part.expressions)
    return isinstance(part, exp.Exists | exp.Query | exp.Any | exp.All)


def membership(part: exp.Expr) -> exp.In | None:
    """`x IN (SELECT ...)`, and what is the same, `x = ANY (SELECT ...)`."""
    if isinstance(part, exp.EQ) and isinstance(part.expression, exp.Any):
        return exp.In(this=part.this.copy(), query=part.expression.this.copy())
    return part if isinstance(part, exp.In) and part.args.get("query") is not None else None


def sought(condition: exp.In, inner: Inner) -> list[Pair]:
    """The equalities of `x IN (SELECT y)` or `(a, b) IN (SELECT c, d)`.

    Raises:
        CannotDecompose: there are not as many on both sides.
    """
    this = condition.this
    wanted = list(this.expressions) if isinstance(this, exp.Tuple) else [this]
    if len(wanted) != len(inner.values):
        raise CannotDecompose("IN with another number of columns")
    return [Pair(ours, theirs) for ours, theirs in zip(wanted, inner.values, strict=True)]


class Attaching:
    """A node that gets more and more columns; expressions over it name `OUTER` in the meantime.

    Attributes:
        node: with all columns so far.
    """

    def __init__(self, scope: Scope, node: Node) -> None:
        self._scope, self.node = scope, node

    def enter(self, expression: exp.Expr) -> exp.Expr:
        """An expression over the node as one over `OUTER`."""
        return substitute(expression, {text(column(self.node.name, n)): column(OUTER, n) for n in self.node.names})

    def leave(self, expression: exp.Expr) -> exp.Expr:
        """An expression over `OUTER` as one over the node."""
        return substitute(expression, {text(column(OUTER, n)): column(self.node.name, n) for n in self.node.names})

    def value(self, part: exp.Expr) -> exp.Expr:
        """An expression over `OUTER` for a subquery."""
        if isinstance(part, exp.Exists):
            return self._marked(inner_of(self._scope, part.this, counted=False), [])
        sought_in = membership(part)
        if sought_in is not None:
            return self._membership(sought_in)
        if isinstance(part, exp.NEQ) and isinstance(part.expression, exp.All):
            return exp.Not(this=self._membership(exp.In(this=part.this.copy(), query=part.expression.this.copy())))
        if isinstance(part, _COMPARISONS):
            return self._quantified(part)
        if isinstance(part, exp.Array):
            found = self._scalar(_listed(part))
            return exp.Coalesce(this=found, expressions=[exp.Array(expressions=[])])
        query = part.unnest() if isinstance(part, exp.Subquery) else None
        if isinstance(query, exp.Query):
            return self._scalar(query)
        raise CannotDecompose(f"the subquery in {text(part)[:80]}")

    def join(
        self, kind: JoinKind, inner: Inner, pairs: Sequence[Pair] = (), mark: str = "",
        wanted: frozenset[str] | None = None,
    ) -> None:  # fmt: skip
        """Joins the node with the rows of a subquery; see `JoinParts`."""
        every = tuple(replace(pair, left=self.leave(pair.left)) for pair in (*inner.pairs, *pairs))
        rest = tuple(self.leave(part) for part in inner.rest)
        parts = JoinParts(kind, self.node, inner.node, every, rest, wanted, mark)
        self.node = join(self._scope.planner, parts)

    def _marked(self, inner: Inner, pairs: Sequence[Pair]) -> exp.Expr:
        """Whether there is a row in `inner` for which `pairs` are equal too."""
        name = f"{self._scope.planner.name()}.mark"
        self.join(JoinKind("MARK"), inner, pairs, name)
        return column(OUTER, name)

    def _membership(self, part: exp.In) -> exp.Expr:
        """True if there is an equal row; else NULL if there are rows, and a NULL in x or in one of them."""
        inner = inner_of(self._scope, part.args["query"], counted=False)
        pairs = sought(part, inner)
        mark = self._marked(inner, pairs)
        if part.meta_get(CERTAIN):
            return mark
        if len(pairs) > 1:
            raise CannotDecompose("IN of several columns where it matters whether it is NULL or false")
        # NULL: there are no rows; true: one of them is NULL.
        nulls = f"CASE WHEN count(*) > 0 THEN count(*) <> count({text(pairs[0].right)}) END"
        (some,) = self._looked_up(grouped(self._scope, inner, [nulls]), always=not inner.pairs)
        unknown = f"{some} OR ({text(pairs[0].left)}) IS NULL"
        return _parsed(
            f"CASE WHEN {text(mark)} THEN true WHEN {some} IS NULL THEN false WHEN {unknown} THEN NULL ELSE false END"
        )

    def _quantified(self, part: exp.Expr) -> exp.Expr:
        """`x > ALL (SELECT y)` and the like: only the greatest or least of the y matters, besides NULLs."""
        every, word = isinstance(part.expression, exp.All), type(part)
        if word not in (exp.LT, exp.LTE, exp.GT, exp.GTE):
            raise CannotDecompose(f"the subquery in {text(part)[:80]}")
        greatest = (word in (exp.GT, exp.GTE)) == every
        inner = inner_of(self._scope, part.expression.this, counted=False)
        if len(inner.values) != 1:
            raise CannotDecompose("a comparison with a subquery of several columns")
        y = text(inner.values[0])
        calls = [f"{'max' if greatest else 'min'}({y})", f"CASE WHEN count(*) > 0 THEN count(*) <> count({y}) END"]
        bound, nulls = self._looked_up(grouped(self._scope, inner, calls), always=not inner.pairs)
        x, compared = text(part.this), text(word(this=part.this.copy(), expression=_parsed(bound)))
        found = f"WHEN NOT ({compared}) THEN false" if every else f"WHEN ({compared}) THEN true"
        otherwise = str(every).lower()
        return _parsed(
            f"CASE WHEN {nulls} IS NULL THEN {otherwise} {found} WHEN {nulls} OR ({x}) IS NULL THEN NULL "
            f"ELSE {otherwise} END"
        )

    def _scalar(self, query: exp.Query) -> exp.Expr:
        inner = inner_of(self._scope, query)
        if len(inner.values) != 1:
            raise CannotDecompose("a scalar subquery of several columns")
        if inner.aggregated:
            always = not inner.pairs and query.args.get("having") is None
            self._looked_up(inner, always=always)
            return self.shown(query, inner, 0)
        if _first_alone(query):
            return _parsed(self._looked_up(inner, always=False)[0])
        found = grouped(self._scope, inner, [f"max({text(inner.values[0])})", "count(*)"])
        value, count = self._looked_up(found, always=not inner.pairs)
        return _parsed(f"CASE WHEN {count} > 1 THEN error('{_MORE_THAN_ONE}') ELSE {value} END")

    def _looked_up(self, inner: Inner, *, always: bool) -> list[str]:
        """The columns (in SQL) of the at most one row that belongs to the outer row; `always`: there is one."""
        self.join(JoinKind("INNER" if always else "LEFT"), inner)
        return [text(column(OUTER, value.name)) for value in inner.values]

    def shown(self, query: exp.Query, inner: Inner, at: int) -> exp.Expr:
        """A value of a subquery that has been joined; that of an aggregate may be something else than NULL if there are
        no rows, such as a count of 0."""
        value = text(column(OUTER, inner.values[at].name))
        if not inner.pairs or not inner.aggregated:
            return _parsed(value)
        empty = self._over_nothing(query, at)
        if empty == "NULL":
            return _parsed(value)
        strict = [pair.right for pair in inner.pairs if not pair.null_safe]
        if not strict:
            raise CannotDecompose("a count that belongs to the outer row by IS NOT DISTINCT FROM alone")
        key = text(column(OUTER, strict[0].name))
        return _parsed(f"CASE WHEN {key} IS NULL THEN {empty} ELSE {value} END")

    def _over_nothing(self, query: exp.Query, at: int) -> str:
        """What a correlated aggregate is over no rows, as a literal, by DuckDB, whose relations are empty here."""
        body = cast(exp.Query, query.unnest().copy())
        body.set("expressions", [body.expressions[at].copy()])
        where = [part for part in conjuncts(body.args.get("where")) if OUTER not in tables(part)]
        body.set("where", exp.Where(this=exp.and_(*where, dialect="duckdb")) if where else None)
        try:
            local, _ = localise(self._scope.planner, body, self._scope.environment)
            sql = f"SELECT CAST(v AS VARCHAR), typeof(v) FROM ({text(local)}) AS q(v)"
            rows = self._scope.planner.binder.rows(sql)
        except BindError as error:
            raise CannotDecompose(str(error).splitlines()[0]) from error
        if not rows or rows[0][0] is None:
            return "NULL"
        literal = "'" + str(rows[0][0]).replace("'", "''") + "'"
        return f"CAST({literal} AS {rows[0][1]})"


def _listed(part: exp.Array) -> exp.Select:
    """`ARRAY(SELECT x ... ORDER BY y)` as the aggregate that makes the same list."""
    query = part.expressions[0].copy()
    plain = isinstance(query, exp.Select) and len(query.expressions) == 1 and not query.expressions[0].is_star
    clauses = ("group", "having", "qualify", "limit", "offset", "distinct", "with_")
    if not plain or any(query.args.get(clause) for clause in clauses):
        raise CannotDecompose("ARRAY(SELECT ...) with more than WHERE and ORDER BY")
    order = query.args.get("order")
    call = f"list({text(query.expressions[0].unalias())}{text(order) if order is not None else ''})"
    query.set("order", None)
    query.set("expressions", [_parsed(call)])
    found: exp.Select = query
    return found


def _first_alone(query: exp.Query) -> bool:
    """Whether LIMIT leaves at most one row."""
    limit = query.args.get("limit")
    return limit is not None and limit.expression.is_int and int(limit.expression.name) <= 1


def _parsed(sql: str) -> exp.Expr:
    found: exp.Expr = exp.maybe_parse(sql, dialect=DIALECT)
    return found
