"""GROUP BY over SESSION by its key and bounds, where rows only come: one entry per session, no rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headwater.sql.block import Block
from headwater.sql.expressions import column
from headwater.sql.plan import Node
from headwater.sql.planner import closing
from headwater.sql.rules.time_window import BOUNDS
from headwater.sql.window_plan import Session, SessionAggregate, SessionValue

_SUMMED = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_COMPARED = _SUMMED | {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}


def session_entries(
    block: Block, keys: Sequence[tuple[exp.Expr, str]], calls: Sequence[tuple[exp.Expr, str]], sql: str
) -> Node | None:
    """The fused node, None if the grouping is of another kind.

    Args:
        keys: key expressions and the names they get.
        calls: the distinct aggregate calls, and theirs.
        sql: the grouping as it was, for its types.
    """
    node = block.node
    if not block.planner.allows("session_entries") or not isinstance(node, Session) or block.filters:
        return None
    alone = node.inputs[0]
    named = {key.name: name for key, name in keys if isinstance(key, exp.Column)}
    others = {name for name in named if name not in BOUNDS}
    if not alone.appends or len(named) != len(keys) or others != set(node.keys) or len(named) == len(others):
        return None
    types = {c.name: c.type for c in node.columns}
    values = [_value(call, output, types) for call, output in calls]
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return None
    used = dict.fromkeys([*node.keys, node.time, *(value.argument for value in found if value.argument)])
    source = block.planner.linear(alone, [(column(alone.name, name), name) for name in used])
    windows = {named[name]: node.windows[name] for name in BOUNDS if name in named}
    made = SessionAggregate(
        block.planner.name(), block.planner.describe(sql), (source,), f"{node.title}, aggregated", windows,
        True, "session_entries",
        tuple((name, named[name]) for name in node.keys), node.time, node.gap_us,
        named.get(BOUNDS[0], ""), named.get(BOUNDS[1], ""), tuple(found), closing(windows),
    )  # fmt: skip
    return block.planner.gated(block.planner.add(made))


def _value(call: exp.Expr, output: str, types: dict[str, str]) -> SessionValue | None:
    """An aggregate call that an entry can hold; None for others."""
    argument = call.args.get("this")
    if call.expressions or not isinstance(call, exp.Count | exp.Sum | exp.Min | exp.Max):
        return None
    if isinstance(call, exp.Count) and (argument is None or isinstance(argument, exp.Star)):
        return SessionValue("rows", "", output)
    if not isinstance(argument, exp.Column) or argument.name in BOUNDS:
        return None
    type_ = types[argument.name]
    match call:
        case exp.Count():
            return SessionValue("count", argument.name, output)
        case exp.Sum() if type_ in _SUMMED:
            return SessionValue("sum", argument.name, output)
        case exp.Min() if type_ in _COMPARED:
            return SessionValue("min", argument.name, output)
        case exp.Max() if type_ in _COMPARED:
            return SessionValue("max", argument.name, output)
    return None
