"""Inequalities by which the matches of a row are found where there is no key: BETWEEN, bands, thresholds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.block import passed
from headwater.sql.expressions import CannotDecompose, column, internal, substitute, tables, text
from headwater.sql.join_plan import FLIPPED, Bound, Ranged
from headwater.sql.plan import Node
from headwater.sql.planner import Planner
from headwater.sql.rules.join_keys import Keyed, key_columns

_WORDS: dict[type[exp.Expr], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_CLASSES = {word: kind for kind, word in _WORDS.items()}
_ORDERED = re.compile(
    r"(TINY|SMALL|BIG)INT|INTEGER|U(TINY|SMALL|BIG)INT|UINTEGER|FLOAT|DOUBLE|DATE|TIMESTAMP( WITH TIME ZONE)?"
    r"|DECIMAL\((\d|1[0-8]),\d+\)"
)
"""Types whose values are one word in an order."""

_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Column, exp.Identifier, exp.Literal, exp.Interval,
               exp.Var, exp.DataType)  # fmt: skip
_COMPARED = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)


def with_operands(planner: Planner, keyed: Keyed) -> Keyed:
    """Makes the sums and the like that the condition compares columns of their sides: they cannot fail pair by pair
    then, and are found in order."""
    given: tuple[dict[str, exp.Expr], ...] = ({}, {})
    for part in (found for conjunct in keyed.rest for found in conjunct.find_all(*_COMPARED)):
        for operand in part.iter_expressions():
            for side, node in enumerate((keyed.left, keyed.right)):
                if tables(operand) == {node.name} and _computed(operand):
                    given[side][text(operand)] = operand
    return _widened(planner, keyed, [list(found.values()) for found in given])[0] if any(given) else keyed


def _computed(operand: exp.Expr) -> bool:
    """Whether it is arithmetic."""
    return not isinstance(operand, exp.Column) and all(isinstance(part, _ARITHMETIC) for part in operand.walk())


def _widened(
    planner: Planner, keyed: Keyed, given: Sequence[Sequence[exp.Expr]]
) -> tuple[Keyed, list[dict[str, exp.Expr]]]:
    """The join with expressions over its sides as further columns, and what each has become, by side."""
    nodes: list[Node] = []
    moved: dict[str, exp.Expr] = {}
    made: list[dict[str, exp.Expr]] = []
    for old, found in zip((keyed.left, keyed.right), given, strict=True):
        new, names = key_columns(planner, old, [(e, internal("x", i)) for i, e in enumerate(found)])
        own: dict[str, exp.Expr] = {text(e): column(new.name, name) for e, name in zip(found, names, strict=True)}
        moved |= passed(old, new, old.names) | own
        made.append(own)
        nodes.append(new)
    rest = tuple(substitute(part, moved) for part in keyed.rest)
    return replace(keyed, left=nodes[0], right=nodes[1], rest=rest), made


@dataclass(frozen=True)
class _Inequality:
    """`left word right` between the sides, and the type in which they compare."""

    left: exp.Expr
    word: str
    right: exp.Expr
    type: str


def with_range(planner: Planner, keyed: Keyed) -> tuple[Keyed, Ranged | None]:
    """For a join without keys the inequalities to find matches by, whose sides are then columns of one type."""
    found = [inequality for part in keyed.rest for inequality in _inequalities(planner, keyed, part)]
    if keyed.left_keys or not found:
        return keyed, None
    side, chosen = _chosen(found)
    lefts, rights = ({text(e): e for e in (_cast(i, s) for i in chosen)}.values() for s in (0, 1))
    whole = len(chosen) == len(found) == sum(2 if isinstance(part, exp.Between) else 1 for part in keyed.rest)
    rest = () if whole else keyed.rest
    names = [(text(_cast(i, 0)), i.word, text(_cast(i, 1))) for i in chosen]
    wider, (left, right) = _widened(planner, replace(keyed, rest=rest), [list(lefts), list(rights)])
    parts = tuple(_CLASSES[word](this=left[one].copy(), expression=right[other].copy()) for one, word, other in names)
    bounds = tuple(
        Bound(left[one].name, word, right[other].name) if side == 0
        else Bound(right[other].name, FLIPPED[word], left[one].name)
        for one, word, other in names
    )  # fmt: skip
    return replace(wider, rest=(*wider.rest, *parts)), Ranged(side, bounds)


def _cast(inequality: _Inequality, side: int) -> exp.Expr:
    return inequality.right if side else inequality.left


def _inequalities(planner: Planner, keyed: Keyed, part: exp.Expr) -> Iterator[_Inequality]:
    if isinstance(part, exp.Paren):
        yield from _inequalities(planner, keyed, part.this)
    elif isinstance(part, exp.Between) and not part.args.get("symmetric"):
        ends = ((exp.GTE, part.args["low"]), (exp.LTE, part.args["high"]))
        found = [list(_inequalities(planner, keyed, kind(this=part.this, expression=end))) for kind, end in ends]
        if all(found):
            yield from (inequality for each in found for inequality in each)
    elif type(part) in _WORDS:
        word, one, other = _WORDS[type(part)], part.this, part.expression
        if tables(one) == {keyed.right.name}:
            word, one, other = FLIPPED[word], other, one
        if tables(one) == {keyed.left.name} and tables(other) == {keyed.right.name}:
            yield from _typed(planner, keyed, one, word, other)


def _typed(planner: Planner, keyed: Keyed, left: exp.Expr, word: str, right: exp.Expr) -> Iterator[_Inequality]:
    relations = f"{quote(keyed.left.name)}, {quote(keyed.right.name)}"
    if any(not isinstance(side, exp.Column) for side in (left, right)):
        return
    try:
        type_, same = planner.common_type(left, right, relations)
    except CannotDecompose:
        return
    if _ORDERED.fullmatch(type_):
        sides = (left, right) if same else (exp.cast(side.copy(), type_, dialect="duckdb") for side in (left, right))
        ours, theirs = sides
        yield _Inequality(ours, word, theirs, type_)


def _chosen(found: Sequence[_Inequality]) -> tuple[int, list[_Inequality]]:
    """A point between two bounds if there is one, else any inequality; and the side of the point."""
    for side in (0, 1):
        for one in found:
            low = one.word if side == 0 else FLIPPED[one.word]
            for other in found if low in (">", ">=") else ():
                high = other.word if side == 0 else FLIPPED[other.word]
                same = text(_cast(one, side)) == text(_cast(other, side)) and one.type == other.type
                if high in ("<", "<=") and same:
                    return side, [one, other]
    return 0, [found[0]]
