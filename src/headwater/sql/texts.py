"""Which expressions are worked on once for each distinct text.

Real texts repeat: a url, a channel, a name. A function that looks at a whole text costs more than finding out whether
the text was met before.
"""

from __future__ import annotations

from sqlglot import exp

from headwater.sql.bind import Binder
from headwater.sql.expressions import columns, function_name
from headwater.sql.once import Sharing, taken_out
from headwater.sql.plan import Columns, Plan

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

_MOST_COLUMNS = 2

CONNECTIVES = (exp.And, exp.Or, exp.Not, exp.Paren)
"""What joins conditions is taken apart further: each condition is one of fewer columns."""

COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Is, exp.Like)
_WHOLE = (*COMPARISONS, exp.Case, exp.DPipe)
STRUCTURE = (
    *CONNECTIVES, *_WHOLE, exp.If, exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean,
)  # fmt: skip
"""What fails on nothing, given values that do not."""


def by_distinct_text(plan: Plan, binder: Binder) -> Plan:
    """The plan whose projections compute functions of one or two texts beforehand, in a node of their own."""
    return taken_out(plan, binder, Sharing("distinct_texts", "texts, each once", "t", _of_texts))


def _of_texts(expression: exp.Expr, known: Columns) -> int | None:
    """0 if it is made of few texts, reads one of them whole, and fails on none."""
    if not shareable(expression) or expression.find(exp.Query):
        return None
    read = {part.name for part in columns([expression])}
    texts = {column.name for column in known if column.type == "VARCHAR" and column.exact}
    if not 0 < len(read) <= _MOST_COLUMNS or not read <= texts:
        return None
    calls = [part for part in expression.walk() if not isinstance(part, STRUCTURE)]
    names = {function_name(call) for call in calls}
    return 0 if names <= _TOTAL and not _WORTH_IT.isdisjoint(names) and all(map(_is_regular, calls)) else None


def shareable(expression: exp.Expr) -> bool:
    """Whether this kind of expression stands for one value that can be taken out as a whole."""
    return isinstance(expression, _WHOLE) or (
        isinstance(expression, exp.Func) and not isinstance(expression, (*CONNECTIVES, exp.If))
    )


def _is_regular(call: exp.Expr) -> bool:
    """Regular expressions that a text gives may be none."""
    if not function_name(call).startswith("regexp"):
        return True
    return all(isinstance(part, exp.Literal) for part in call.iter_expressions() if part is not call.this)
