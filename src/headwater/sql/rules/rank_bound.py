"""`row_number() ... <= n`: rows beyond the numbers that readers let through need neither be kept nor numbered.

The condition may stand in QUALIFY or, with the number as a column, in WHERE of any query further out: either way it is
the filter of a node above the one that numbers the rows, with nothing but projections between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp, parse_one

from headwater.sql.expressions import column, conjunction, conjuncts, text
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Gate, Linear, Node, Top
from headwater.sql.rules.top import top_title

_MIRRORED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE, exp.EQ: exp.EQ,
}  # fmt: skip
_MOST = 1 << 62
_RANGES: Mapping[type[exp.Expr], Callable[[int], tuple[int, int]]] = {
    exp.LT: lambda bound: (1, bound - 1),
    exp.LTE: lambda bound: (1, bound),
    exp.GT: lambda bound: (bound + 1, _MOST),
    exp.GTE: lambda bound: (bound, _MOST),
    exp.EQ: lambda bound: (bound, bound),
}
"""The numbers for which a comparison with a bound is true."""


@dataclass(frozen=True)
class _Path:
    """A way from a node that numbers rows to the first filter on the number.

    Attributes:
        between: the nodes on the way, from below, each with the name that the number has in its input.
        last: the filter.
        name: the name of the number in its input.
        low: least number let through.
        high: greatest.
    """

    between: tuple[tuple[Node, str], ...]
    last: Linear
    name: str
    low: int
    high: int


def bound_ranks(root: Node, nodes: Sequence[Node]) -> Node:
    """The plan with every numbering limited to the numbers that are wanted, and without the column of numbers where
    that is all they are wanted for.

    Args:
        root: of the plan.
        nodes: all of it, inputs before readers.
    """
    readers: dict[Node, list[Node]] = {node: [other for other in nodes if node in other.inputs] for node in nodes}
    changed: dict[Node, Node] = {}
    for node in nodes:
        if isinstance(node, Top) and node.rank and node.limit is None:
            paths = _paths(node, node.rank, readers, root, ())
            if paths:
                changed |= _limited(node, paths)
    return _rebuilt(root, changed, {}) if changed else root


def _paths(
    node: Node, name: str, readers: Mapping[Node, Sequence[Node]], root: Node, between: tuple[tuple[Node, str], ...]
) -> list[_Path] | None:
    """All ways upwards; None if on one of them every number is let through."""
    found: list[_Path] = []
    for reader in readers[node]:
        low, high = _range(reader.where, node.name, name) if isinstance(reader, Linear) else (1, _MOST)
        if isinstance(reader, Linear) and high < _MOST:
            found.append(_Path(between, reader, name, low, high))
            continue
        further = _paths_through(reader, node, name, readers, root, between)
        if further is None:
            return None
        found += further
    return None if node is root else found


def _paths_through(
    reader: Node, node: Node, name: str, readers: Mapping[Node, Sequence[Node]], root: Node,
    between: tuple[tuple[Node, str], ...],
) -> list[_Path] | None:  # fmt: skip
    if isinstance(reader, Gate):
        return _paths(reader, name, readers, root, (*between, (reader, name)))
    if isinstance(reader, Linear):
        passed = [new for expression, new in reader.select if expression == text(column(node.name, name))]
        if len(passed) == 1:
            return _paths(reader, passed[0], readers, root, (*between, (reader, name)))
    return None


def _range(where: str, relation: str, name: str) -> tuple[int, int]:
    """The numbers for which a condition may be true: between the least and the greatest, and perhaps not all."""
    low, high = 1, _MOST
    for part in _conjuncts(where):
        found = _part_range(part, text(column(relation, name)))
        if found is not None:
            low, high = max(low, found[0]), min(high, found[1])
    return low, high


def _conjuncts(where: str) -> list[exp.Expr]:
    return conjuncts(parse_one(where, dialect=DIALECT)) if where else []


def _part_range(part: exp.Expr, number: str) -> tuple[int, int] | None:
    """The numbers for which a comparison is true; None if it is no comparison of the number with a literal."""
    if isinstance(part, exp.Between) and text(part.this) == number and not part.args.get("symmetric"):
        low, high = _integer(part.args["low"]), _integer(part.args["high"])
        return (low, high) if low is not None and high is not None else None
    for kind, mirrored in _MIRRORED.items():
        if type(part) is kind:
            for word, side, other in ((kind, part.this, part.expression), (mirrored, part.expression, part.this)):
                bound = _integer(other)
                if text(side) == number and bound is not None:
                    return _RANGES[word](bound)
    return None


def _integer(part: exp.Expr) -> int | None:
    return int(part.this) if isinstance(part, exp.Literal) and not part.is_string and part.this.isdigit() else None


def _limited(node: Top, paths: Sequence[_Path]) -> dict[Node, Node]:
    """What is to be put in place of a node and of those above it."""
    low, high = min(path.low for path in paths), max(path.high for path in paths)
    if not 0 < low <= high:
        return {}
    limit, offset = high - low + 1, low - 1
    top = replace(node, limit=limit, offset=offset, title=top_title(node.keys, limit, offset))
    exact: dict[Node, Linear] = {
        path.last: _without_bound(path) for path in paths if (path.low, path.high) == (low, high)
    }
    rest = _unnumbered(paths[0], exact[paths[0].last], node.name) if len(paths) == 1 else None
    if rest is None:
        return {node: top, **exact}
    return {node: replace(top, rank="", columns=tuple(c for c in top.columns if c.name != node.rank)), **rest}


def _without_bound(path: _Path) -> Linear:
    """The filter of a path without what is true of every row that comes to it."""
    own = text(column(_below(path), path.name))
    where = conjunction(part for part in _conjuncts(path.last.where) if _part_range(part, own) is None)
    return replace(
        path.last, where=where, title=path.last.title if where else path.last.title.replace("filter and ", "")
    )


def _below(path: _Path) -> str:
    """The relation that the filter of a path reads."""
    return path.last.inputs[0].name


def _unnumbered(path: _Path, last: Linear, below: str) -> dict[Node, Node] | None:
    """The nodes of a path without the number, if its filter, now `last`, was all it was for; else None."""
    changed: dict[Node, Node] = {path.last: last}
    for node, name in path.between:
        own, new = text(column(below, name)), name
        if isinstance(node, Linear):
            (new,) = [new for expression, new in node.select if expression == own]
            kept = tuple(item for item in node.select if item[0] != own)
            if any(own in expression for expression, _ in kept) or own in node.where + node.lateral or not kept:
                return None
            changed[node] = replace(node, select=kept, columns=tuple(c for c in node.columns if c.name != new))
        else:
            changed[node] = replace(node, columns=tuple(c for c in node.columns if c.name != name))
        below = node.name
    own = text(column(below, path.name))
    if own in last.where + last.lateral or any(own in expression for expression, _ in last.select):
        return None
    return changed


def _rebuilt(node: Node, changed: Mapping[Node, Node], made: dict[Node, Node]) -> Node:
    """A node over what its inputs have become."""
    if node not in made:
        inputs = tuple(_rebuilt(source, changed, made) for source in node.inputs)
        now = changed.get(node, node)
        made[node] = now if inputs == now.inputs else replace(now, inputs=inputs)
    return made[node]
