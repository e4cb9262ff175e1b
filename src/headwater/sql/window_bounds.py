"""Where columns that bound time windows come from."""

from __future__ import annotations

from headwater.sql.plan import Linear, Node, Windowed


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
