"""Which expressions need no SQL: sums, differences, products and remainders of integers and decimals, times moved by an
interval, lengths of texts, and conditions on columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
from sqlglot import exp

from headwater.sql.bind import Binder, quote
from headwater.sql.expressions import function_name, parsed, text
from headwater.sql.plan import Column, Linear, Node, Plan
from headwater.sql.row_plan import Formula
from headwater.sql.row_test import condition_of

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32}
_MOST_DIGITS = 18
"""So many digits fit 64 bits."""

_WORDS: Mapping[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Mod: "%"}
_UNITS = {"MICROSECOND": 1, "MILLISECOND": 10**3, "SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6,
          "DAY": 86_400 * 10**6}  # fmt: skip
"""Microseconds. A month has no length."""

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999."""

_Range = tuple[int, int, int]
"""Least and most value of a type, and its decimal places."""


@dataclass(frozen=True)
class _Known:
    """What is known of an expression's surroundings: types of columns, and how to find out those of its parts."""

    columns: Mapping[str, str]
    type_of: Callable[[exp.Expr], str]


def valued(plan: Plan, binder: Binder) -> Plan:
    """The plan whose projections say how their columns are computed without SQL, where they can be."""
    made: dict[Node, Node] = {}
    for node in plan.nodes():
        inputs = tuple(made[source] for source in node.inputs)
        moved = node if inputs == node.inputs else replace(node, inputs=inputs)
        if isinstance(moved, Linear) and not (moved.multiplies or moved.once):
            formulas = _formulas(moved, binder)
            moved = replace(moved, formulas=formulas) if formulas else moved
        made[node] = moved
    return Plan(made[plan.root], plan.key)


def _formulas(node: Linear, binder: Binder) -> dict[str, Formula]:
    """By column."""
    source = node.inputs[0]
    known = _Known(
        {column.name: column.type for column in source.columns if column.exact},
        lambda part: binder.types_of([text(part)], quote(source.name))[0],
    )
    columns = {column.name: column for column in node.columns}
    found = {
        name: _of_condition(part, columns[name], known) or _formula(part, known)
        for expression, name in node.select
        if not isinstance(part := parsed(expression), exp.Column | exp.Literal)
    }
    return {name: formula for name, formula in found.items() if formula is not None and _fits(formula, columns[name])}


def _fits(formula: Formula, column: Column) -> bool:
    """Whether the engine can make the column."""
    kind = column.arrow
    if pa.types.is_decimal128(kind):
        return column.exact and bool(kind.scale == formula.scale)
    return column.exact and (pa.types.is_integer(kind) or kind in (pa.bool_(), pa.timestamp("us")))


def _of_condition(part: exp.Expr, column: Column, known: _Known) -> Formula | None:
    test = condition_of(part, known.columns) if column.type == "BOOLEAN" else None
    return None if test is None else Formula("test", 0, 1, test=test)


def _formula(part: exp.Expr, known: _Known) -> Formula | None:
    part = part.unnest()
    if isinstance(part, exp.Literal):
        return _literal(part, 1)
    if isinstance(part, exp.Neg) and isinstance(part.this, exp.Literal):
        return _literal(part.this, -1)
    if isinstance(part, exp.Column):
        kind = known.columns.get(part.name, "")
        return Formula("column", *_whole(kind), column=part.name) if kind in _BITS else None
    word = _WORDS.get(type(part), "")
    if not word:
        return _of_text(part, known)
    if isinstance(part.expression, exp.Interval):
        return _moved(word, part.this, part.expression, known)
    counted = _occurrences(part, known) if word == "-" else None
    return counted or _joined(word, part, known)


def _joined(word: str, part: exp.Expr, known: _Known) -> Formula | None:
    left, right = (_formula(side, known) for side in (part.this, part.expression))
    if left is None or right is None:
        return None
    if word == "%" and (right.word != "literal" or right.value <= 0 or left.scale or right.scale):
        return None
    scale = left.scale + right.scale if word == "*" else max(left.scale, right.scale)
    found = _range(known.type_of(part))
    if found is None or found[2] != scale:
        return None
    return Formula(word, found[0], found[1], (left, right), scale=scale)


def _moved(word: str, time: exp.Expr, interval: exp.Interval, known: _Known) -> Formula | None:
    """A time an interval earlier or later."""
    unit = _UNITS.get(str(interval.args.get("unit", "")).upper().removesuffix("S"), 0)
    count = interval.this.unnest() if interval.this is not None else None
    if not isinstance(time, exp.Column) or known.columns.get(time.name) != "TIMESTAMP" or not unit or word not in "+-":
        return None
    if not isinstance(count, exp.Literal) or not re.fullmatch(r"\d{1,6}", count.this):
        return None
    us = int(count.this) * unit
    parts = Formula("column", _FIRST_US, _LAST_US, column=time.name), Formula("literal", us, us, value=us)
    return Formula(word, _FIRST_US, _LAST_US, parts)


def _range(kind: str) -> _Range | None:
    """What a type holds, as far as it fits 64 bits."""
    if kind in _BITS:
        return (*_whole(kind), 0)
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind)
    if decimal is None:
        return None
    most = 10 ** min(int(decimal[1]), _MOST_DIGITS) - 1
    return -most, most, int(decimal[2])


def _whole(kind: str) -> tuple[int, int]:
    bits = _BITS[kind]
    return (0, (1 << bits) - 1) if kind.startswith("U") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _literal(part: exp.Literal, sign: int) -> Formula | None:
    """A number without an exponent."""
    if part.is_string or not re.fullmatch(r"\d*\.?\d*", part.this) or len(part.this) > _MOST_DIGITS:
        return None
    whole, _, places = part.this.partition(".")
    value = sign * int(f"{whole}{places}")
    return Formula("literal", value, value, value=value, scale=len(places))


def _of_text(part: exp.Expr, known: _Known) -> Formula | None:
    """The length of a text in characters or bytes."""
    name = function_name(part)
    if name not in ("length", "len", "strlen"):
        return None
    column, *others = part.iter_expressions()
    if others or not isinstance(column, exp.Column) or known.columns.get(column.name) != "VARCHAR":
        return None
    return Formula("strlen" if name == "strlen" else "length", 0, (1 << 63) - 1, column=column.name)


def _occurrences(part: exp.Expr, known: _Known) -> Formula | None:
    """`length(a) - length(replace(a, 'x', ''))`, the usual way to ask how often a letter occurs."""
    whole, rest = part.this.unnest(), part.expression.unnest()
    if not (isinstance(whole, exp.Length) and isinstance(rest, exp.Length) and isinstance(rest.this, exp.Replace)):
        return None
    column, letter, nothing = (rest.this.args[name] for name in ("this", "expression", "replacement"))
    texts = all(isinstance(literal, exp.Literal) and literal.is_string for literal in (letter, nothing))
    if not texts or whole.this != column or not isinstance(column, exp.Column):
        return None
    if known.columns.get(column.name) != "VARCHAR" or not re.fullmatch(r"[\0-\x7f]", letter.this) or nothing.this:
        return None
    return Formula("occurrences", 0, (1 << 63) - 1, column=column.name, value=ord(letter.this))
