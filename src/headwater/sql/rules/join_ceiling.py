"""Rows that are joined back to the greatest or least value of their time window: those that it has passed already match
nothing any more, and need not be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, parsed, text
from headwater.sql.join_plan import FLIPPED, Ceiling, Comparison, Join
from headwater.sql.plan import Accumulator, Aggregate, Even, Linear, Node
from headwater.sql.planner import Planner
from headwater.sql.rules.time_window import length_us, months_in
from headwater.sql.window_bounds import bound_of

_MOST_WINDOWS = 4
"""A row that may match groups of more windows is kept."""

_TIME = pa.timestamp("us")


@dataclass(frozen=True)
class _Traced:
    """A column as what it is made of.

    Attributes:
        node: whose column it is.
        name: its name there.
        plus_us: what is added to it.
    """

    node: Node
    name: str
    plus_us: int = 0


@dataclass(frozen=True)
class _Groups:
    """Groups of one time window each, and nothing else.

    Attributes:
        node: makes them.
        even: their windows.
        starts: by key, how far from the start of its window it is, in microseconds.
    """

    node: Aggregate
    even: Even
    starts: dict[str, int]


def ceiling_of(planner: Planner, join: Join) -> Ceiling | None:
    """What tells of rows of one side of an inner join that they match nothing; None if nothing does."""
    if join.word != "INNER" or not planner.allows("join_extremes"):
        return None
    for side in (0, 1):
        for value, best in zip(join.keys_of(side), join.keys_of(1 - side), strict=True):
            traced = _traced(planner, join.inputs[1 - side], best)
            groups = _groups(traced.node) if join.inputs[side].appends else None
            call = _call(groups, traced.name) if groups is not None and not traced.plus_us else None
            if groups is not None and call is not None and _is_word(join.inputs[side], value):
                found = _ceiling(planner, join, side, groups)
                if found is not None:
                    return Ceiling(side, value, best, call.kind == "min", *found)
    return None


def _is_word(node: Node, name: str) -> bool:
    """Whether values of a column compare as integers of 64 bits."""
    kind = node.schema.field(name).type
    return bool(pa.types.is_signed_integer(kind) or kind == _TIME)


def _traced(planner: Planner, node: Node, name: str) -> _Traced:
    """What a column is of the node that computed it; filters in between take rows away, which does no harm."""
    plus_us = 0
    while isinstance(node, Linear) and not node.multiplies:
        inner = {own: given for given, own in node.carries(0)}.get(name)
        if inner is None:
            moved = _moved(planner, next(sql for sql, own in node.select if own == name))
            if moved is None:
                break
            inner, by_us = moved
            plus_us += by_us
        node, name = node.inputs[0], inner
    return _Traced(node, name, plus_us)


def _moved(planner: Planner, sql: str) -> tuple[str, int] | None:
    """The column and the microseconds that an expression adds to it, if it does no more."""
    moved = parsed(sql)
    if not isinstance(moved, exp.Add | exp.Sub) or not isinstance(moved.this, exp.Column):
        return None
    interval = moved.expression
    if not isinstance(interval, exp.Interval) or months_in(planner, text(interval)):
        return None
    try:
        by_us = length_us(planner, text(interval))
    except CannotDecompose:
        return None
    return moved.this.name, by_us if isinstance(moved, exp.Add) else -by_us


def _groups(node: Node) -> _Groups | None:
    """The groups of a node whose greatest values never fall, if each is a time window of its own."""
    if not isinstance(node, Aggregate) or not node.keys or node.hop or node.cut or not node.inputs[0].appends:
        return None
    bounds = {name: bound_of(node.inputs[0], key) for key, name in zip(node.keys, node.names, strict=False)}
    windows = {found[0] for found in bounds.values() if found is not None}
    if None in bounds.values() or len(windows) != 1:
        return None
    (window,) = windows
    even = window.even
    if even is None or even.step_us == 1:
        return None
    return _Groups(node, even, {name: found[1] * even.length_us for name, found in bounds.items() if found is not None})


def _call(groups: _Groups, name: str) -> Accumulator | None:
    """The max or min that a column of groups is."""
    at = groups.node.names.index(name) - len(groups.node.keys)
    call = groups.node.accumulators[at] if at >= 0 else None
    return call if call is not None and call.kind in ("max", "min") else None


def _ceiling(planner: Planner, join: Join, side: int, groups: _Groups) -> tuple[str, str, int, int, int, int] | None:
    """The time of a row, the column that tells a group's window and how far it is from its start, between how far from
    that the time of a match is, and how far the windows are from each other."""
    low: dict[str, tuple[int, str]] = {}
    high: dict[str, int] = {}
    for time, word, bound in _compared(join, side):
        traced = _traced(planner, join.inputs[1 - side], bound)
        start = groups.starts.get(traced.name) if traced.node is groups.node else None
        if start is None or join.inputs[side].schema.field(time).type != _TIME:
            continue
        if word in (">", ">=", "="):
            low[time] = start + traced.plus_us, bound
        if word in ("<", "<=", "="):
            high[time] = start + traced.plus_us
    for time in low.keys() & high.keys():
        (least_us, bound), most_us = low[time], high[time]
        if least_us <= most_us and (most_us - least_us) // groups.even.step_us < _MOST_WINDOWS:
            return time, bound, least_us, least_us, most_us, groups.even.step_us
    return None


def _compared(join: Join, side: int) -> Iterator[tuple[str, str, str]]:
    """The comparisons that hold for every pair: a column of one side, a word, and a column of the other."""
    for own, other in zip(join.keys_of(side), join.keys_of(1 - side), strict=True):
        yield own, "=", other
    origins = dict(zip(join.pairs.names, join.origins, strict=True))
    for part in _parts(join.comparison):
        (left, one), (right, two) = origins[part.left], origins[part.right]
        if left != right:
            word = part.word if left == side else FLIPPED.get(part.word, part.word)
            yield (one, word, two) if left == side else (two, word, one)


def _parts(comparison: Comparison | None) -> Iterator[Comparison]:
    if comparison is not None and comparison.word == "and":
        for part in comparison.parts:
            yield from _parts(part)
    elif comparison is not None and not comparison.parts:
        yield comparison
