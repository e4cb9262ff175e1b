"""Which conditions over pairs of rows need no SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.join_plan import Comparison
from headwater.sql.plan import Node

_WORDS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_INTEGER = re.compile(r"(TINY|SMALL|BIG)INT|U?INTEGER|U(TINY|SMALL)INT")
_SAME_IN_ARROW = re.compile(r"BOOLEAN|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE|VARCHAR|DECIMAL\(.*\)")
"""Types whose values Arrow orders as DuckDB does; not floats, whose NaN is a value in SQL."""


def comparison_of(parts: Sequence[exp.Expr], pairs: Node) -> Comparison | None:
    """The conjunction of conditions over the columns of `pairs`, if it but compares columns of the same kind."""
    found = [_comparison(part, pairs) for part in parts]
    whole = [part for part in found if part is not None]
    if not found or len(whole) < len(found):
        return None
    return whole[0] if len(whole) == 1 else Comparison("and", tuple(whole))


def _comparison(part: exp.Expr, pairs: Node) -> Comparison | None:
    if isinstance(part, exp.Paren):
        return _comparison(part.this, pairs)
    if isinstance(part, exp.Between):
        low, high = part.args["low"], part.args["high"]
        ends = (exp.GTE(this=part.this, expression=low), exp.LTE(this=part.this, expression=high))
        plain = not part.args.get("symmetric")
        return _joined("and", [_comparison(end, pairs) for end in ends]) if plain else None
    if isinstance(part, exp.And | exp.Or):
        word = "and" if isinstance(part, exp.And) else "or"
        return _joined(word, [_comparison(part.this, pairs), _comparison(part.expression, pairs)])
    word = _WORDS.get(type(part), "")
    ours, theirs = part.this, part.args.get("expression")
    if not word or not isinstance(ours, exp.Column) or not isinstance(theirs, exp.Column):
        return None
    plain = _comparable(pairs, ours.name, theirs.name)
    return Comparison(word, (), ours.name, theirs.name) if plain else None


def _joined(word: str, parts: Sequence[Comparison | None]) -> Comparison | None:
    whole = tuple(part for part in parts if part is not None)
    return Comparison(word, whole) if len(whole) == len(parts) else None


def _comparable(pairs: Node, left: str, right: str) -> bool:
    ours, theirs = ({column.name: column for column in pairs.columns}[name] for name in (left, right))
    if _INTEGER.fullmatch(ours.type) and _INTEGER.fullmatch(theirs.type):
        return True
    same = ours.type == theirs.type and ours.arrow == theirs.arrow and ours.exact and theirs.exact
    return same and _SAME_IN_ARROW.fullmatch(ours.type) is not None
