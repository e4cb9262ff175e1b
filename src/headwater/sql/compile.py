"""From a bound SELECT to a plan: clause by clause through the rules; what no rule takes is recomputed whole."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.bind import Binder, BindError
from headwater.sql.expressions import CannotDecompose, column, has_subquery, text
from headwater.sql.fast_paths import Options
from headwater.sql.fuse import fused
from headwater.sql.plain_values import valued
from headwater.sql.plan import Node, Plan, Recompute
from headwater.sql.planner import Planner
from headwater.sql.prune import pruned
from headwater.sql.row_test import tested
from headwater.sql.rules.aggregate import aggregate
from headwater.sql.rules.finish import finish
from headwater.sql.rules.from_clause import begin, block_of, build
from headwater.sql.rules.partition import inline_named_windows, partition
from headwater.sql.rules.rank_bound import bound_ranks
from headwater.sql.rules.set_operation import set_operation
from headwater.sql.rules.source import Environment, constant, localise, renamed
from headwater.sql.rules.spelling import pivot_of, written_out
from headwater.sql.rules.subquery_block import Lifted
from headwater.sql.rules.subquery_inner import Scope
from headwater.sql.texts import by_distinct_text
from headwater.sql.times import by_coarse_time


def compile_plan(query: exp.Query, names: Sequence[str], binder: Binder, options: Options) -> Plan:
    """Plans a SELECT that DuckDB has bound.

    Args:
        names: the result's column names.
        options: what the planner may do.

    Raises:
        CannotDecompose: not even the whole recompute can run it.
    """
    planner = Planner(binder, options)
    inner = compile_query(planner, query, {})
    root = planner.linear(inner, [(column(inner.name, old), new) for old, new in zip(inner.names, names, strict=True)])
    renamed_to = dict(zip(inner.names, names, strict=True))
    root = bound_ranks(root, Plan(root).nodes())
    plan = fused(pruned(Plan(root, tuple(renamed_to[name] for name in planner.keys.get(inner, ())))))
    if planner.allows("plain_values"):
        plan = valued(plan, binder)
    if planner.allows("distinct_texts"):
        plan = by_distinct_text(plan, binder)
    if planner.allows("coarse_times"):
        plan = by_coarse_time(plan, binder)
    return tested(plan) if planner.allows("plain_filters") else plan


def compile_query(planner: Planner, query: exp.Query, environment: Environment) -> Node:
    """The node of a query in which the names of `environment` are visible."""
    with planner.within(query):
        return _compiled(planner, query, environment)


def _compiled(planner: Planner, query: exp.Query, environment: Environment) -> Node:
    try:
        visible, body = _with(planner, query, environment)
    except CannotDecompose as why:
        return whole(planner, query, environment, str(why))
    try:
        return _agreeing(planner, body, visible)
    except CannotDecompose as why:
        return whole(planner, body, visible, str(why))


def _with(planner: Planner, query: exp.Query, environment: Environment) -> tuple[Environment, exp.Query]:
    """Compiles the CTEs, each once; what is left of the query."""
    with_ = query.args.get("with_")
    if with_ is None:
        return environment, query
    if with_.args.get("recursive"):
        raise CannotDecompose("WITH RECURSIVE")
    visible = dict(environment)
    for cte in with_.expressions:
        node = compile_query(planner, cte.this, visible)
        visible[cte.alias.lower()] = renamed(planner, node, cte.args.get("alias"))
    body = query.copy()
    body.set("with_", None)
    return visible, body


def _agreeing(planner: Planner, query: exp.Query, environment: Environment) -> Node:
    """Decomposes a query, and makes sure that its columns are what DuckDB says of the query as it was written."""
    local, _ = localise(planner, query, environment)
    expected = planner.describe(text(local))
    node = _decompose(planner, query, environment, [c.name for c in expected])
    if [c.type for c in node.columns] != [c.type for c in expected]:
        raise CannotDecompose("its types change when it is taken apart")
    if node.names == [c.name for c in expected]:
        return node
    pairs = zip(node.names, expected, strict=True)
    return planner.linear(node, [(column(node.name, name), wanted.name) for name, wanted in pairs])


def _decompose(planner: Planner, query: exp.Query, environment: Environment, names: Sequence[str]) -> Node:
    if isinstance(query, exp.Subquery) and not any(query.args.get(a) for a in ("order", "limit", "offset")):
        return compile_query(planner, query.this, environment)
    if isinstance(query, exp.SetOperation):
        if any(query.args.get(part) for part in ("limit", "offset")):
            return compile_query(planner, _as_derived(query), environment)
        return set_operation(planner, query, environment, compile_query)
    if isinstance(query, exp.Pivot):
        return compile_query(planner, pivot_of(planner, query, environment), environment)
    if not isinstance(query, exp.Select):
        raise CannotDecompose(query.key.upper())
    return _select(planner, query, environment, names)


def _as_derived(query: exp.SetOperation) -> exp.Select:
    """`a UNION b ORDER BY c LIMIT n` as a SELECT over a derived table."""
    inner = query.copy()
    outer = exp.select("*").from_(exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier("_set"))))
    for part in ("order", "limit", "offset"):
        outer.set(part, inner.args.get(part))
        inner.set(part, None)
    return outer


def _select(planner: Planner, select: exp.Select, environment: Environment, names: Sequence[str]) -> Node:
    inlined = select.copy()
    if select.args.get("from_") is None:
        if select.find(exp.Table) is None:
            return constant(planner, text(select))
        inlined.set("from_", exp.From(this=exp.select("1 AS one").subquery("_one")))
    inlined = written_out(planner, inlined, environment)
    inline_named_windows(inlined)
    clause = begin(planner, inlined, environment, compile_query)
    node, waiting = build(clause)
    block = block_of(clause, node, waiting)
    if any(has_subquery(item) for item in block.order):
        raise CannotDecompose("a subquery in ORDER BY")
    if len(block.outputs) != len(names):
        raise CannotDecompose("its SELECT list does not expand to its columns")
    block.names = list(names)
    block.limit = " ".join(text(part) for name in ("limit", "offset") if (part := select.args.get(name)) is not None)
    lifted = Lifted(block, Scope(planner, clause.environment, compile_query))
    lifted.before_groups()
    aggregate(block)
    lifted.after_groups()
    partition(block)
    return finish(block)


def whole(planner: Planner, query: exp.Query, environment: Environment, why: str) -> Recompute:
    """The last resort: the query as it stands over everything that it reads."""
    try:
        local, used = localise(planner, query, environment)
        inputs = tuple(used.values())
        return planner.recompute(inputs, ((),) * len(inputs), text(local), why)
    except BindError as error:
        raise CannotDecompose(str(error)) from error
