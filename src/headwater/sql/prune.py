"""Leaves out of a plan the columns that nobody reads, down to the scans: they are not copied, moved, hashed or kept.

Only nodes without memory are narrowed; what the others keep has been chosen by their rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from headwater.sql.bind import quote
from headwater.sql.plan import Column, Linear, Node, Plan, Scan, Windowed
from headwater.sql.window_plan import Expiring

_NAME = r'"((?:[^"]|"")+)"'


def pruned(plan: Plan) -> Plan:
    """The plan whose scans, projections and windows give only columns that are read."""
    nodes = plan.nodes()
    wanted: dict[Node, set[str]] = {node: set() for node in nodes}
    wanted[plan.root] = set(plan.root.names)
    for node in reversed(nodes):
        if isinstance(node, Linear):  # SELECT needs a column, also where only rows are counted
            wanted[node] = wanted[node] or {node.names[0]}
        for source in node.inputs:
            wanted[source] |= _read(node, source, wanted[node])
    filters = {node: _filters(node, nodes) for node in nodes if isinstance(node, Scan)}
    made: dict[Node, Node] = {}
    for node in nodes:
        made[node] = _narrowed(node, wanted[node], tuple(made[source] for source in node.inputs), filters)
    return Plan(made[plan.root], plan.key)


def _read(node: Node, source: Node, wanted: set[str]) -> set[str]:
    """The columns of an input that a node reads, if `wanted` are read of its own."""
    if isinstance(node, Linear):
        texts = [expression for expression, name in node.select if node.multiplies or name in wanted]
        return _named([*texts, node.where, node.lateral], source.name, source)
    if isinstance(node, Windowed):
        return (wanted & set(source.names)) | _named([node.function], "s", source)
    if isinstance(node, Expiring):
        return wanted | {node.time}
    return set(source.names)


def _named(texts: Iterable[str], relation: str, source: Node) -> set[str]:
    """The columns that SQL names as those of a relation; all of them if it may mean more than it names."""
    found: set[str] = set()
    for text in texts:
        columns = [match.replace('""', '"') for match in re.findall(rf"{re.escape(quote(relation))}\.{_NAME}", text)]
        whole = len(columns) != text.count(quote(relation))
        if whole or not set(source.names).issuperset(columns):
            return set(source.names)
        found.update(columns)
    return found


def _narrowed(node: Node, wanted: set[str], inputs: tuple[Node, ...], filters: dict[Scan, str]) -> Node:
    match node:
        case Scan():
            return replace(node, columns=_of(node, wanted), predicate=filters[node])
        case Linear(multiplies=False) if not wanted.issuperset(node.names):
            select = tuple((expression, name) for expression, name in node.select if name in wanted)
            windows = {name: window for name, window in node.windows.items() if name in wanted}
            return replace(node, inputs=inputs, columns=_of(node, wanted), select=select, windows=windows)
        case Windowed():
            # A reject shows the row's time.
            kept = wanted | _named([node.function], "s", inputs[0]) | set(node.names[-2:])
            return replace(node, inputs=inputs, columns=_of(node, kept))
        case Expiring():
            return replace(node, inputs=inputs, columns=_of(node, wanted | {node.time}))
    return node if inputs == node.inputs else replace(node, inputs=inputs)


def _of(node: Node, names: set[str]) -> tuple[Column, ...]:
    return tuple(column for column in node.columns if column.name in names)


def _filters(scan: Scan, nodes: Iterable[Node]) -> str:
    """What a row of a scan must fulfil for any of its readers, over its column names; "" if one takes every row."""
    readers = [node for node in nodes if scan in node.inputs]
    if not all(isinstance(reader, Linear) and reader.where for reader in readers):
        return ""
    conditions = [reader.where.replace(f"{quote(scan.name)}.", "") for reader in readers if isinstance(reader, Linear)]
    return " OR ".join(f"({condition})" for condition in dict.fromkeys(conditions))
