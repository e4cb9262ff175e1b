"""Makes one projection of two that follow each other: DuckDB is asked once, and what only renames costs nothing.

Texts are put into each other: every expression of a plan names columns as `"relation"."column"` and nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from headwater.sql.bind import quote
from headwater.sql.plan import Linear, Node, Plan

_NAME = r'"((?:[^"]|"")+)"'


def fused(plan: Plan) -> Plan:
    """The plan without projections that another can do as well."""
    made: dict[Node, Node] = {}
    readers = Counter(source for node in plan.nodes() for source in node.inputs)
    for node in plan.nodes():
        inputs = tuple(made[source] for source in node.inputs)
        made[node] = node if inputs == node.inputs else replace(node, inputs=inputs)
        if isinstance(node, Linear):
            made[node] = _with_input(made[node], readers[node.inputs[0]] == 1)
    return Plan(made[plan.root], plan.key)


def _with_input(node: Node, alone: bool) -> Node:
    """A projection in one with what it reads, if that is a projection whose work can be done here.

    Args:
        alone: nobody else reads what it reads.
    """
    if not isinstance(node, Linear) or not isinstance(node.inputs[0], Linear):
        return node
    source = node.inputs[0]
    if source.multiplies or not (_renames(source) or (alone and _may_compute(node, source))):
        return node
    expressions = {name: expression for expression, name in source.select}
    texts = [expression for expression, _ in node.select]
    moved = [_moved(text, source.name, expressions) for text in (*texts, node.where, node.lateral)]
    if any(text is None for text in moved):
        return node
    *select, where, lateral = (text or "" for text in moved)
    both = " AND ".join(f"({part})" if source.where and where else part for part in (source.where, where) if part)
    named = tuple((text, name) for text, (_, name) in zip(select, node.select, strict=True))
    title = " and ".join(word for word in ("filter", "unnest", "project") if word in f"{source.title} {node.title}")
    return replace(node, inputs=source.inputs, select=named, where=both, lateral=lateral, title=title)


def _may_compute(node: Linear, source: Linear) -> bool:
    """Whether expressions of the source can be computed by its reader: each once, and not before rows on which they
    fail have been filtered out."""
    if node.multiplies or (source.where and node.where):
        return False
    computed = {name for expression, name in source.select if not _plain(expression, source.inputs[0])}
    texts = [node.where, node.lateral, *(expression for expression, _ in node.select)]
    used = Counter(match for text in texts for match in re.findall(rf"{re.escape(quote(source.name))}\.{_NAME}", text))
    return all(used[name.replace('"', '""')] <= 1 for name in computed)


def _renames(node: Linear) -> bool:
    return not node.where and all(_plain(expression, node.inputs[0]) for expression, _ in node.select)


def _plain(expression: str, source: Node) -> bool:
    return re.fullmatch(rf"{re.escape(quote(source.name))}\.{_NAME}", expression) is not None


def _moved(text: str, relation: str, expressions: dict[str, str]) -> str | None:
    """SQL with what the columns of a relation stand for in their place; None if it names the relation as a whole."""
    pattern = re.compile(rf"{re.escape(quote(relation))}\.{_NAME}")
    found = pattern.findall(text)
    if len(found) != text.count(quote(relation)) or any(name.replace('""', '"') not in expressions for name in found):
        return None
    if pattern.fullmatch(text):
        return expressions[found[0].replace('""', '"')]
    return pattern.sub(lambda match: _parted(expressions[match[1].replace('""', '"')]), text)


def _parted(expression: str) -> str:
    """An expression as a part of another."""
    return expression if re.fullmatch(rf"{_NAME}\.{_NAME}", expression) else f"({expression})"
