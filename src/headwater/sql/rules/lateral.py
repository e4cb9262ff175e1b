"""LATERAL subqueries over tables: joins by the equalities with the rows before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, column
from headwater.sql.plan import Node
from headwater.sql.rules.join import JoinKind
from headwater.sql.rules.subquery_column import Attaching
from headwater.sql.rules.subquery_inner import Scope, inner_of


def lateral_rows(scope: Scope, node: Node, query: exp.Query, names: Sequence[str], *, padded: bool) -> Node:
    """The rows of `node`, each with those of a subquery over it.

    Args:
        query: over columns of `node`.
        names: what the subquery's columns are to be called.
        padded: rows without any of the subquery stay, with NULLs (LEFT JOIN).

    Raises:
        CannotDecompose: the subquery refers to the rows of `node` in a way that has no rule.
    """
    attaching = Attaching(scope, node)
    entered = cast(exp.Query, attaching.enter(query))
    inner = inner_of(scope, entered)
    if len(inner.values) != len(names):
        raise CannotDecompose("a LATERAL subquery of other columns")
    if inner.aggregated and entered.unnest().args.get("having"):
        raise CannotDecompose("a LATERAL aggregate with HAVING")
    attaching.join(JoinKind("LEFT" if padded or inner.aggregated else "INNER"), inner)
    values = [attaching.leave(attaching.shown(entered, inner, i)) for i in range(len(names))]
    kept = [(column(attaching.node.name, name), name) for name in node.names]
    return scope.planner.linear(attaching.node, [*kept, *zip(values, names, strict=True)])
