"""Questions about expressions, and the one way of rewriting them: substitution by text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

from sqlglot import exp, parse_one
from sqlglot.dialects.duckdb import DuckDB

from headwater.sql.parse import DIALECT

AGGREGATE_MACROS = frozenset(
    {"json_group_array", "json_group_object", "json_group_structure", "wavg", "weighted_avg", "fmean"}
)
"""DuckDB macros that stand for aggregates, so that its catalog does not list them as such."""

PEER_FUNCTIONS = frozenset({"rank", "dense_rank", "percent_rank", "cume_dist", "rank_dense"})
"""Window functions that give rows of equal order equal answers: no tie to break."""


class CannotDecompose(Exception):
    """A rule met SQL that it cannot take apart; the block falls to the whole recompute. The message says what it
    was."""


def text(expression: exp.Expr) -> str:
    """The expression in DuckDB's SQL."""
    if isinstance(expression, _LEAVES):
        return _quoted_column(expression) or str(_duckdb().generate(expression, copy=False))
    return str(_duckdb().generate(expression))


@lru_cache(2000)
def parsed(sql: str) -> exp.Expr:
    """An expression in DuckDB's SQL as a tree, which is not to be changed: the next who asks is given the same."""
    return parse_one(sql, read=DIALECT)


_LEAVES = (exp.Column, exp.Literal, exp.Identifier)
"""What the generator leaves as it is: of other parts it is given a copy."""


@cache
def _duckdb() -> DuckDB:
    return DuckDB()


def _quoted_column(expression: exp.Expr) -> str:
    """The text of a column with quoted names, which most are; "" for anything else."""
    parts = [part for part in (expression.args.get("table"), expression.args.get("this")) if part is not None]
    if not isinstance(expression, exp.Column) or expression.comments or sum(map(bool, expression.args.values())) > 2:
        return ""
    if not all(isinstance(part, exp.Identifier) and part.quoted and not part.comments for part in parts):
        return ""
    return ".".join('"' + str(part.this).replace('"', '""') + '"' for part in parts)


def internal(kind: str, number: int) -> str:
    """A column name of the planner's own. No SQL that people write has a # in a name, so none can be hidden by it."""
    return f"{kind}#{number}"


def column(relation: str, name: str) -> exp.Column:
    """A quoted reference to a column of a relation."""
    return exp.column(name, table=relation, quoted=True)


def substitute(expression: exp.Expr, mapping: Mapping[str, exp.Expr]) -> exp.Expr:
    """A copy in which every largest part whose text is a key of `mapping` is replaced."""
    # Of the parts that have the text of a column others, as an item of ORDER BY or a name, are to stay what they are.
    asked = exp.Column if all(map(is_column, mapping)) else exp.Expr

    def replace(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, asked) or isinstance(node, exp.Ordered | exp.Identifier):
            return node
        found = mapping.get(text(node))
        return found.copy() if found is not None else node

    return expression.copy().transform(replace, copy=False)


def is_column(sql: str) -> bool:
    """Whether SQL is a quoted name and no more."""
    return _A_COLUMN(sql) is not None


_A_COLUMN = re.compile(r'("[^"]+"\.)?"[^"]+"').fullmatch


def substitute_order(item: exp.Ordered, mapping: Mapping[str, exp.Expr]) -> exp.Ordered:
    """`substitute` in an ORDER BY item."""
    copy = item.copy()
    copy.set("this", substitute(item.this, mapping))
    return copy


def conjuncts(expression: exp.Expr | None) -> list[exp.Expr]:
    """The parts of a condition that AND joins."""
    if expression is None:
        return []
    if isinstance(expression, exp.Where | exp.Having | exp.Qualify | exp.Paren):
        return conjuncts(expression.this)
    if isinstance(expression, exp.And):
        return [*conjuncts(expression.this), *conjuncts(expression.expression)]
    return [expression]


def conjunction(parts: Iterable[exp.Expr]) -> str:
    """SQL of a condition joined by AND; "" if there are no parts."""
    return " AND ".join(f"({text(part)})" for part in parts)


def tables(expression: exp.Expr) -> set[str]:
    """Relations that the expression's columns name."""
    return {found.table for found in expression.find_all(exp.Column)}


def columns(expressions: Iterable[exp.Expr]) -> list[exp.Column]:
    """Every distinct column that the expressions name, in order of appearance."""
    found = (column for expression in expressions for column in expression.find_all(exp.Column))
    return list({text(column): column for column in found}.values())


def has_subquery(expression: exp.Expr) -> bool:
    """Whether a SELECT stands inside the expression."""
    return expression.find(exp.Query) is not None or expression.find(exp.Exists) is not None


def unnests(expression: exp.Expr) -> bool:
    """Whether the expression gives several rows."""
    return any(unnesting(part) for part in expression.walk())


def unnesting(call: exp.Expr) -> bool:
    """Whether this is a call that makes several rows of one."""
    if isinstance(call, exp.Anonymous):
        return call.name.lower() in {"unnest", "generate_subscripts"}
    return isinstance(call, exp.Explode | exp.Unnest | exp.ExplodeOuter | exp.Posexplode)


def function_name(expression: exp.Expr) -> str:
    """DuckDB's name of a function call in lower case, "" if it is none."""
    if not isinstance(expression, exp.Func | exp.WithinGroup) or isinstance(expression, exp.Connector):
        return ""
    if isinstance(expression, exp.Anonymous) and re.fullmatch(r"\w+", expression.name):
        return str(expression.name).lower()
    found = re.match(r"(\w+)\s*\(", text(expression))
    return found.group(1).lower() if found else ""


class AggregateFinder:
    """Tells aggregate calls from other functions.

    Args:
        names: DuckDB's aggregate functions, in lower case.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names | AGGREGATE_MACROS

    def find(self, expression: exp.Expr) -> Iterator[exp.Expr]:
        """The outermost aggregate calls, with their FILTER; those that a window function is made of do not count."""
        if isinstance(expression, exp.Query):
            return
        if isinstance(expression, exp.Window):
            yield from self._inside_window(expression)
        elif self._is_call(expression):
            yield expression
        else:
            for child in expression.iter_expressions():
                yield from self.find(child)

    def _inside_window(self, window: exp.Window) -> Iterator[exp.Expr]:
        call = window.this
        while isinstance(call, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
            if isinstance(call, exp.Filter):
                yield from self.find(call.expression)
            call = call.this
        for child in call.iter_expressions():
            yield from self.find(child)
        for child in window.iter_expressions():
            if child is not window.this:
                yield from self.find(child)

    def _is_call(self, expression: exp.Expr) -> bool:
        if isinstance(expression, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
            return self._is_call(expression.this)
        if isinstance(expression, exp.AggFunc | exp.WithinGroup):
            return True
        return function_name(expression) in self._names
