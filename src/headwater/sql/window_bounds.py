"""Where columns that bound time windows come from."""

from __future__ import annotations

from headwater.sql.plan import Aggregate, Linear, Node, Windowed


def bound_of(node: Node, name: str) -> tuple[Windowed, int] | None:
    """The node that made a column as a bound of its windows, and which: 0 the start, 1 the end; None if there is no
    such, or its windows have no fixed length."""
    while isinstance(node, Linear) and not node.multiplies:
        carried = {own: given for given, own in node.carries(0)}
        if name not in carried:
            return None
        node, name = node.inputs[0], carried[name]
    if not isinstance(node, Windowed) or node.even is None or name not in node.names[-2:]:
        return None
    return node, node.names[-2:].index(name)


def told_by_others(node: Aggregate) -> set[str]:
    """The keys of a grouping that follow from others: the end of a window from its start."""
    bounds = {key: bound_of(node.inputs[0], key) for key in node.keys}
    starts = {found[0] for found in bounds.values() if found is not None and found[1] == 0}
    return {key for key, found in bounds.items() if found is not None and found[1] == 1 and found[0] in starts}
