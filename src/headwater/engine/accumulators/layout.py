"""Which parts a grouping needs: calls over the same argument share one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headwater.engine.accumulators.counts import BitXor, Count, Rows, Truths
from headwater.engine.accumulators.distinct import Distinct, Member
from headwater.engine.accumulators.floats import FloatSum
from headwater.engine.accumulators.part import Part, Showing
from headwater.engine.accumulators.records import Records
from headwater.engine.accumulators.sums import ExactSum
from headwater.engine.state.memory import Memory
from headwater.sql.plan import Accumulator, Aggregate, Column


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


def layout(node: Aggregate, memory: Memory) -> Layout:
    """Makes the parts of a grouping and places them in a record."""
    types = {field.name: field.type for field in node.inputs[0].schema}
    rows = Rows()
    plain: dict[object, Showing] = {("rows",): rows}
    distinct: dict[str, dict[tuple[str, object], Showing]] = {}
    calls = []
    for call, column in zip(node.accumulators, node.columns[len(node.keys) :], strict=True):
        if call.distinct:
            members = distinct.setdefault(call.distinct, {})
            part = members.setdefault((call.where, _sharing(call)), _part(call, types, memory))
        else:
            part = plain.setdefault(_sharing(call), _part(call, types, memory))
        calls.append(Shown(part, call, column))
    parts: list[Part] = list(plain.values())
    for name, members in distinct.items():
        listed = [Member(where, part) for (where, _), part in members.items()]
        parts.append(Distinct(name, types[name], listed, node.inputs[0].appends, memory))
    return Layout(_placed(parts, memory), tuple(parts), tuple(calls))


def _placed(parts: Sequence[Part], memory: Memory) -> Records:
    records = Records(sum(part.words for part in parts), memory)
    offset = 0
    for part in parts:
        part.place(records, offset)
        offset += part.words
    return records


def _sharing(call: Accumulator) -> object:
    """Calls for which this is the same share a part."""
    if call.kind in ("rows",):
        return ("rows",)
    if call.kind in ("sum", "avg"):
        return ("sum", call.argument)
    if call.kind in ("count_if", "bool_and", "bool_or"):
        return ("truths", call.argument)
    return replace(call, output="", distinct="", where="")


def _part(call: Accumulator, types: Mapping[str, pa.DataType], memory: Memory) -> Showing:
    match call.kind:
        case "rows":
            return Rows()
        case "count":
            return Count(call.argument)
        case "sum" | "avg" if pa.types.is_floating(types[call.argument]):
            return FloatSum(call.argument, memory)
        case "sum" | "avg":
            return ExactSum(call.argument)
        case "count_if" | "bool_and" | "bool_or":
            return Truths(call.argument)
        case "bit_xor":
            return BitXor(call.argument)
    raise TypeError(f"no part keeps {call.kind}")
