"""Which filters need no SQL: integers and texts compared with literals, and conditions that are columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import ceil, floor

from sqlglot import exp

from headwater.sql.expressions import parsed
from headwater.sql.plan import Linear, Node, Plan
from headwater.sql.row_plan import RowTest

_WORDS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INTEGER = re.compile(r"(TINY|SMALL|BIG)INT|INTEGER|U(TINY|SMALL)INT|UINTEGER")
_MOST = 1 << 63
"""What does not fit 64 bits with a sign is left to SQL."""


_MOST_DIGITS = 9
"""Decimals of so many digits, and their products with 64-bit integers, fit DuckDB's DECIMAL, compared with another."""

_NUMBER = re.compile(r"\d*\.?\d*")
_ROUNDED: Mapping[str, tuple[str, Callable[[Fraction], int]]] = {
    "<": ("<", ceil), "<=": ("<=", floor), ">": (">", floor), ">=": (">=", ceil),
}  # fmt: skip
"""Whole numbers compare with a fraction as with the whole number at that side of it."""


@dataclass(frozen=True)
class _Operand:
    """A column, the remainder of one by a literal, or a column times a decimal."""

    column: str
    modulus: int = 0
    factor: Fraction | None = None


def tested(plan: Plan) -> Plan:
    """The plan whose filters say how they are evaluated without SQL, where they can be."""
    made: dict[Node, Node] = {}
    for node in plan.nodes():
        inputs = tuple(made[source] for source in node.inputs)
        test = test_of(node) if isinstance(node, Linear) else None
        if isinstance(node, Linear) and test is not None:
            made[node] = replace(node, inputs=inputs, test=test, fast="plain_filters")
        else:
            made[node] = node if inputs == node.inputs else replace(node, inputs=inputs)
    return Plan(made[plan.root], plan.key)


def test_of(node: Linear) -> RowTest | None:
    """How a node's condition is evaluated without SQL, None if it cannot be."""
    if not node.where or node.multiplies:
        return None
    return condition_of(parsed(node.where), {column.name: column.type for column in node.inputs[0].columns})


def condition_of(expression: exp.Expr, types: Mapping[str, str]) -> RowTest | None:
    """How a condition over columns of these types is evaluated without SQL, None if it cannot be."""
    return _test(expression, types)


def _test(part: exp.Expr, types: Mapping[str, str]) -> RowTest | None:
    if isinstance(part, exp.Paren):
        return _test(part.this, types)
    if isinstance(part, exp.Column):
        return RowTest("true", (), part.name) if types.get(part.name) == "BOOLEAN" else None
    if isinstance(part, exp.And | exp.Or):
        word = "and" if isinstance(part, exp.And) else "or"
        return _joined(word, [_test(side, types) for side in (part.this, part.expression)])
    if isinstance(part, exp.Between) and not part.args.get("symmetric"):
        low, high = part.args["low"], part.args["high"]
        ends = (
            exp.GTE(this=part.this.copy(), expression=low.copy()),
            exp.LTE(this=part.this.copy(), expression=high.copy()),
        )
        return _joined("and", [_test(end, types) for end in ends])
    if isinstance(part, exp.In) and part.expressions and not part.args.get("query"):
        return _compared("in", _operand(part.this, types), part.expressions, types)
    word = _WORDS.get(type(part), "")
    if not word:
        return None
    left, right = _operand(part.this, types), _operand(part.expression, types)
    if left is None and right is not None:
        return _compared(_MIRRORED.get(word, word), right, [part.this], types)
    return _compared(word, left, [part.expression], types)


def _joined(word: str, parts: Sequence[RowTest | None]) -> RowTest | None:
    whole = tuple(part for part in parts if part is not None)
    return RowTest(word, whole) if len(whole) == len(parts) else None


def _compared(
    word: str, operand: _Operand | None, literals: Sequence[exp.Expr], types: Mapping[str, str]
) -> RowTest | None:
    """A comparison; texts only for equality, since that is the same for any collation."""
    if operand is None:
        return None
    if operand.factor:
        return _scaled(word, operand, operand.factor, literals[0])
    of_text = types[operand.column] == "VARCHAR"
    if of_text and word not in ("=", "<>", "in"):
        return None
    values = tuple(map(partial(_literal, text=of_text), literals))
    known = tuple(value for value in values if value is not None)
    return RowTest(word, (), operand.column, operand.modulus, known) if len(known) == len(values) else None


def _scaled(word: str, operand: _Operand, factor: Fraction, literal: exp.Expr) -> RowTest | None:
    """`factor * column > literal` is `column > literal / factor`, rounded."""
    bound = _decimal(literal)
    if bound is None or word not in _ROUNDED:
        return None
    word, rounded = _ROUNDED[word if factor > 0 else _MIRRORED[word]]
    return RowTest(word, (), operand.column, 0, (rounded(bound / factor),))


def _operand(side: exp.Expr, types: Mapping[str, str]) -> _Operand | None:
    if isinstance(side, exp.Paren):
        return _operand(side.this, types)
    if isinstance(side, exp.Column):
        kind = types.get(side.name, "")
        return _Operand(side.name) if kind == "VARCHAR" or _INTEGER.fullmatch(kind) else None
    if isinstance(side, exp.Mod) and isinstance(side.this, exp.Column):
        modulus = _literal(side.expression, text=False)
        if isinstance(modulus, int) and modulus > 0 and _INTEGER.fullmatch(types.get(side.this.name, "")):
            return _Operand(side.this.name, modulus)
    if isinstance(side, exp.Mul):
        for column, literal in ((side.this, side.expression), (side.expression, side.this)):
            # An integer times an integer may be too large for its type.
            factor = _decimal(literal) if "." in literal.sql() else None
            if factor and isinstance(column, exp.Column):
                whole = _INTEGER.fullmatch(types.get(column.name, ""))
                return _Operand(column.name, factor=factor) if whole else None
    return None


def _decimal(side: exp.Expr) -> Fraction | None:
    """The value of a number without an exponent."""
    if isinstance(side, exp.Neg):
        value = _decimal(side.this)
        return None if value is None else -value
    if not isinstance(side, exp.Literal) or side.is_string or not _NUMBER.fullmatch(side.this):
        return None
    return Fraction(side.this) if len(side.this) <= _MOST_DIGITS else None


def _literal(side: exp.Expr, *, text: bool) -> int | str | None:
    """The value of a literal of the wanted kind, None for anything else."""
    if isinstance(side, exp.Paren):
        return _literal(side.this, text=text)
    if isinstance(side, exp.Neg) and not text:
        value = _literal(side.this, text=False)
        return -value if isinstance(value, int) else None
    if not isinstance(side, exp.Literal) or side.is_string != text:
        return None
    if text:
        return str(side.this)
    return int(side.this) if re.fullmatch(r"\d+", side.this) and int(side.this) < _MOST else None
