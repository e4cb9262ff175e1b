"""The last resorts of a plan: nodes that have neither a key nor an order to go by, so that a change of one row may cost
as much as there are rows. A model must allow them."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.sql.join_plan import Join
from headwater.sql.plan import Aggregate, Linear, Node, Plan, Recompute, Scan, Top


@dataclass(frozen=True)
class LastResort:
    """One of them.

    Attributes:
        node: of the plan.
        why: what in the SQL leaves it no key.
        cost: what each change does, as words that follow "each change".
    """

    node: Node
    why: str
    cost: str


def last_resorts(plan: Plan) -> list[LastResort]:
    """All of them, inputs before their readers."""
    return [found for node in plan.nodes() if (found := last_resort(node)) is not None]


def last_resort(node: Node) -> LastResort | None:
    """Why a node is one; None if it is not."""
    match node:
        case Recompute(whole=True) if node.inputs:
            return LastResort(node, node.why, "computes it again over all rows")
        case Top(keys=(), limit=None) if node.rank:
            return LastResort(node, "row_number() OVER all rows", "numbers again all later rows")
        case Join(left_keys=(), ranged=None) if not any(_few(side) for side in node.inputs):
            kind = "CROSS" if node.word == "INNER" and not node.residual else node.word
            return LastResort(node, f"{kind} JOIN without an equality or a range", "meets all rows")
    return None


def _few(node: Node) -> bool:
    """Whether there is at most one row, or always the same."""
    return _single(node) or not any(isinstance(below, Scan) for below in Plan(node).nodes())


def _single(node: Node) -> bool:
    """Whether there is at most one row."""
    match node:
        case Linear():
            return not node.multiplies and _single(node.inputs[0])
        case Aggregate():
            return not node.keys or _alike(node.inputs[0])
        case Top(keys=(), limit=int(limit)):
            return limit <= 1
        case Join(word="INNER"):
            return all(_single(side) for side in node.inputs)
    return False


def _alike(node: Node) -> bool:
    """Whether what is computed is the same for every row: it names no column."""
    if not isinstance(node, Linear) or node.multiplies:
        return False
    return not any(f'"{node.inputs[0].name}".' in expression for expression, _ in node.select)
