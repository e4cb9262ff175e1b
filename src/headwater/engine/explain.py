"""A plan as text for people: what each operator does, why, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.engine.graph import Graph
from headwater.sql.join_plan import Join
from headwater.sql.last_resort import last_resort
from headwater.sql.paths_taken import paths_taken
from headwater.sql.plan import Aggregate, Gate, Linear, Node, Plan, Recompute, Scan, Windowed


def explain(plan: Plan, graph: Graph) -> str:
    """One line per operator, readers above what they read; a shared one is written once and named after that."""
    lines: list[str] = []
    _write(plan.root, graph, 0, set(), lines)
    return "\n".join(lines)


@dataclass(frozen=True)
class Step:
    """An operator of a plan, in words.

    Attributes:
        operator: its name and what it does.
        way: how it is kept up to date.
        detail: more of it; "" if there is no more.
        reads: names of the operators that it reads.
        last_resort: it has no key to work by, and what each change costs therefore; "" for any other.
    """

    operator: str
    way: str
    detail: str
    reads: tuple[str, ...]
    last_resort: str


def steps(plan: Plan) -> list[Step]:
    """The operators of a plan, each once, before what it reads."""
    found: dict[Node, Step] = {}
    waiting = [plan.root]
    while waiting:
        node = waiting.pop(0)
        if node not in found:
            resort = last_resort(node)
            cost = f"each change {resort.cost}" if resort is not None else ""
            reads = tuple(source.name for source in node.inputs)
            found[node] = Step(f"{node.name} {node.title}", _way(node), _detail(node), reads, cost)
            waiting += node.inputs
    return list(found.values())


def _way(node: Node) -> str:
    match node:
        case Recompute(whole=False):
            return "the keys that changed are computed again"
        case Recompute():
            return "computed again as a whole"
        case Scan():
            return "changes as they come"
        case Linear():
            return "each row alone"
        case Gate() | Windowed():
            return "by the watermark"
    return "kept by key, each change adds or takes away"


def _write(node: Node, graph: Graph, depth: int, seen: set[Node], lines: list[str]) -> None:
    kept = graph.keeps(node)
    keeps = f"  [keeps {kept}]" if kept and node not in seen else ""
    again = " (as above)" if node in seen and node.inputs else ""
    detail = _detail(node)
    paths = (*paths_taken(node), *(["partial_aggregates"] if graph.combines(node) else []))
    fast = f"  [fast path{'s' * (len(paths) > 1)} {', '.join(paths)}]" if paths else ""
    found = last_resort(node)
    cost = f"  [last resort: each change {found.cost}]" if found is not None else ""
    lines.append(f"{'  ' * depth}{node.name} {node.title}{f': {detail}' if detail else ''}{again}{fast}{cost}{keeps}")
    if node in seen:
        return
    seen.add(node)
    for source in node.inputs:
        _write(source, graph, depth + 1, seen, lines)


def _detail(node: Node) -> str:
    match node:
        case Linear():
            return node.where[:160]
        case Scan():
            return f"{', '.join(node.names)}{f' where {node.predicate}' if node.predicate else ''}"[:160]
        case Aggregate():
            return ", ".join(accumulator.kind for accumulator in node.accumulators)
        case Join():
            return node.condition[:160]
        case Recompute(whole=False):
            return "cost: the rows of each key that changed"
        case Gate():
            return node.closes
        case Windowed():
            return "windows start at multiples of it since 1970-01-01 UTC"
    return ""
