"""Which parts a grouping needs: calls over the same argument share one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pyarrow as pa

from headwater.engine.accumulators.best import Best
from headwater.engine.accumulators.bits import Bits
from headwater.engine.accumulators.counts import BitXor, Count, Rows, Truths
from headwater.engine.accumulators.distinct import Distinct, Member
from headwater.engine.accumulators.floats import FloatSum
from headwater.engine.accumulators.in_order import InOrder
from headwater.engine.accumulators.mode import Mode
from headwater.engine.accumulators.moments import Moments
from headwater.engine.accumulators.ordered import Ordered
from headwater.engine.accumulators.part import Batch, Mergeable, Part, Showing
from headwater.engine.accumulators.records import Records
from headwater.engine.accumulators.sums import ExactSum
from headwater.engine.accumulators.wide_sums import WideSum, may_overflow
from headwater.engine.order_key import OrderKey, field_bits
from headwater.engine.state.memory import Memory
from headwater.engine.worker import Worker
from headwater.sql.plan import MOMENTS, Accumulator, Aggregate, Column, Node, Ordering


@dataclass(frozen=True)
class Shown:
    """One call.

    Attributes:
        part: keeps what it shows.
        call: from the plan.
        column: of the result.
    """

    part: Showing
    call: Accumulator
    column: Column


@dataclass(frozen=True)
class Layout:
    """What is kept per group.

    Attributes:
        records: with the sum of the rows' weights in word 0.
        parts: everything that rows are added to, in the order of their words.
        calls: in the order of the result's columns.
    """

    records: Records
    parts: tuple[Part, ...]
    calls: tuple[Shown, ...]

    def add(self, batch: Batch) -> None:
        """Adds rows to their groups, or records of rows if the node is `mergeable`."""
        for part in self.parts:
            if batch.records is None:
                part.add(batch)
            else:
                cast(Mergeable, part).merge(batch)


def mergeable(node: Aggregate) -> bool:
    """Whether all that is kept of a group is its record, and two of these can be added up."""
    types = {column.name: column.arrow for column in node.inputs[0].columns}
    return all(_adds_up(call, types, node.inputs[0].appends) for call in node.accumulators)


def nettable(node: Aggregate) -> bool:
    """Whether equal rows may come as one of their weights' sum: nothing hangs on the order in which rows come."""
    return all(call.kind not in ("first", "last", "any_value") for call in node.accumulators)


def _adds_up(call: Accumulator, types: Mapping[str, pa.DataType], appends: bool) -> bool:
    if call.distinct:
        return False
    if call.kind in ("rows", "count", "bool_and", "bool_or", "bit_xor"):
        return True
    if call.kind in ("sum", "avg"):
        return not pa.types.is_floating(types[call.argument])
    return call.kind in ("min", "max") and appends and bool(field_bits(types[call.argument]))


def layout(node: Aggregate, worker: Worker) -> Layout:
    """Makes the parts of a grouping and places them in a record."""
    (source,) = node.inputs
    make = _Parts(source, worker)
    shared: dict[tuple[str, str, object], list[Accumulator]] = {("", "", ("rows",)): []}
    for call in node.accumulators:
        shared.setdefault(make.sharing(call), []).append(call)
    parts = {key: make.part(key, calls) for key, calls in shared.items()}
    kept: list[Part] = [part for (distinct, _, _), part in parts.items() if not distinct]
    for column in dict.fromkeys(distinct for distinct, _, _ in parts if distinct):
        members = [Member(where, part) for (distinct, where, _), part in parts.items() if distinct == column]
        kept.append(make.distinct(column, members))
    columns = zip(node.accumulators, node.columns[len(node.keys) :], strict=True)
    shown = tuple(Shown(parts[make.sharing(call)], call, column) for call, column in columns)
    return Layout(_placed(kept, worker.memory), tuple(kept), shown)


def _placed(parts: Sequence[Part], memory: Memory) -> Records:
    records = Records(sum(part.words for part in parts), memory)
    offset = 0
    for part in parts:
        part.place(records, offset)
        offset += part.words
    return records


class _Parts:
    """Makes the parts of one grouping.

    Args:
        source: the aggregate's input.
    """

    def __init__(self, source: Node, worker: Worker) -> None:
        self._source, self._session, self._memory = source, worker.session, worker.memory
        self._types = {column.name: column.arrow for column in source.columns}

    def sharing(self, call: Accumulator) -> tuple[str, str, object]:
        """Calls for which this is the same share a part: DISTINCT of what, under which FILTER, and what is kept."""
        return (call.distinct, call.where if call.distinct else "", self._kept(call))

    def _kept(self, call: Accumulator) -> object:
        if call.kind == "rows":
            return ("rows",)
        if call.kind in _SUMS:
            return ("sum", call.argument)
        if call.kind in ("bool_and", "bool_or"):
            return ("truths", call.argument)
        if call.kind in ("bit_and", "bit_or"):
            return ("bits", call.argument)
        if call.by:
            return ("in order", call.by, call.argument, call.where)
        if call.kind in MOMENTS:
            return ("moments", self._columns(call))
        if call.kind in _ORDERED and not self._is_best(call):
            return ("ordered", self._columns(call))
        return replace(call, output="", distinct="", where="" if call.distinct else call.where)

    def _is_best(self, call: Accumulator) -> bool:
        """Whether one row per group is enough to know."""
        return self._source.appends and call.kind in _BEST

    def distinct(self, column: str, members: Sequence[Member]) -> Part:
        """The part around those of DISTINCT calls over one column."""
        return Distinct(column, self._types[column], members, self._source.appends, self._memory)

    def part(self, key: tuple[str, str, object], calls: Sequence[Accumulator]) -> Showing:
        """A new part for calls that share it."""
        if key == ("", "", ("rows",)):
            return Rows()
        call = calls[0]
        if call.kind in _SUMS:
            floats = pa.types.is_floating(self._types[call.argument])
            wide = may_overflow(self._types[call.argument])
            whole = WideSum(call.argument) if wide else ExactSum(call.argument)
            return FloatSum(call.argument, self._memory) if floats else whole
        if call.kind in MOMENTS:
            return Moments(self._columns(call), self._memory)
        if call.by:
            return InOrder(calls, self._source, self._session, self._memory)
        if call.kind in _ORDERED:
            if self._is_best(call):
                return self._best(call)
            return Ordered(self._columns(call), calls, self._source, self._session, self._memory)
        match call.kind:
            case "count":
                return Count(call.argument, "" if call.distinct else call.where)
            case "bool_and" | "bool_or":
                return Truths(call.argument)
            case "bit_and" | "bit_or":
                return Bits(call.argument, self._types[call.argument])
            case "bit_xor":
                return BitXor(call.argument)
            case "mode":
                return Mode(self._columns(call), calls, self._source, self._session, self._memory)
        raise TypeError(f"no part keeps {call.kind}")

    def _columns(self, call: Accumulator) -> tuple[str, ...]:
        """What the entries of a call are ordered by, or what its products are of."""
        return (call.order, call.argument) if call.order else (call.argument,)

    def _best(self, call: Accumulator) -> Best:
        by_time = call.kind in ("any_value", "first", "last")
        compared = "" if by_time else call.order or call.argument
        kind = self._types[compared] if compared else None
        order = None
        if kind is not None and field_bits(kind):
            least = call.kind in ("min", "arg_min")
            order = OrderKey([Ordering(compared, least)], self._source, self._session, nulls=False)
        return Best(call, order, kind, self._types[call.argument], self._memory)


_SUMS = ("sum", "avg", "fsum", "favg")
_BEST = ("min", "max", "arg_min", "arg_max", "any_value", "first", "last")
_ORDERED = (*_BEST, "quantile_cont", "quantile_disc")
