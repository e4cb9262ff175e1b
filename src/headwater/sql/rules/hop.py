"""HOP under a GROUP BY of its windows: rows can come with their last window alone, for the aggregate knows the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from headwater.sql.bind import quote
from headwater.sql.expressions import column, columns, substitute, text
from headwater.sql.plan import Hop, Linear, Node, Windowed
from headwater.sql.planner import Planner, Selected


def on_last_windows(
    planner: Planner, node: Node, keys: Selected, arguments: Selected, where: Sequence[exp.Expr]
) -> tuple[Node, Hop] | None:
    """What a grouping is computed from if the rows of `node` come with their last window only.

    Args:
        node: the rows to group.
        keys: key expressions and their names.
        arguments: what else is computed of each row.
        where: conditions on the rows.

    Returns:
        The projected rows, and how the windows among the keys follow each other; None if the rows are no windows of a
        HOP, or it matters for more than the group which window it is.
    """
    moving = tuple(name for key, name in keys if isinstance(key, exp.Column) and key.name in node.windows)
    others = [*(key for key, name in keys if name not in moving), *(value for value, _ in arguments), *where]
    if not moving or not planner.allows("hop_panes") or any(c.name in node.windows for c in columns(others)):
        return None
    found = _with_last_windows(planner, node)
    if found is None:
        return None
    last, hop = found
    mapping: dict[str, exp.Expr] = {text(column(node.name, name)): column(last.name, name) for name in node.names}
    selected = [(substitute(value, mapping), name) for value, name in [*keys, *arguments]]
    source = planner.linear(last, selected, [substitute(part, mapping) for part in where])
    return source, replace(hop, columns=moving)


def _with_last_windows(planner: Planner, node: Node) -> tuple[Node, Hop] | None:
    """A node of the same rows, each with its last window only."""
    if isinstance(node, Windowed):
        last = node.last
        return None if last is None or last.hop is None else (last, last.hop)
    if not isinstance(node, Linear) or node.multiplies or node.lateral:
        return None
    (source,) = node.inputs
    # Window columns may be passed on, and that is all.
    passed = {f"{quote(source.name)}.{quote(name)}" for name in source.windows}
    made = [expression for expression, _ in node.select if expression not in passed]
    if any(name in expression for name in passed for expression in [*made, node.where]):
        return None
    found = _with_last_windows(planner, source)
    if found is None:
        return None
    below, hop = found
    before, after = f"{quote(source.name)}.", f"{quote(below.name)}."
    select = tuple((expression.replace(before, after), name) for expression, name in node.select)
    moved = replace(
        node, name=planner.name(), inputs=(below,), select=select, where=node.where.replace(before, after)
    )  # fmt: skip
    return planner.add(moved), hop
