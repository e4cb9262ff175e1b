"""A plan at work: one operator per node, and the changes that travel between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa

from headwater.engine.delta import ORIGIN, concat
from headwater.engine.operator import Operator, Stateless
from headwater.engine.operators.aggregate import AggregateOperator
from headwater.engine.operators.gate import GateOperator
from headwater.engine.operators.join import JoinOperator
from headwater.engine.operators.linear import LinearOperator
from headwater.engine.operators.recompute import RecomputeOperator
from headwater.engine.operators.union import UnionOperator
from headwater.engine.operators.windowed import WindowedOperator
from headwater.engine.worker import Worker
from headwater.sql.plan import Aggregate, Gate, Join, Linear, Node, Plan, Recompute, Scan, Union, Windowed

_Also = Callable[[Operator], pa.Table | None]


class Graph:
    """The operators of one plan, inputs before their readers.

    Args:
        worker: what the operators work with.
    """

    def __init__(self, plan: Plan, worker: Worker) -> None:
        self._plan, self._worker, self._ledger = plan, worker, worker.ledger
        self.nodes = plan.nodes()
        self._direct = _direct_paths(self.nodes)
        inner = {source for node in self._direct for source in node.inputs}
        self._ends = {node for node in self._direct if node not in inner}
        self.operators: dict[Node, Operator] = {
            node: self._operator(node) for node in self.nodes if not isinstance(node, Scan)
        }

    def _operator(self, node: Node) -> Operator:
        direct, worker = self._direct.get(node, ""), self._worker
        match node:
            case Linear():
                return LinearOperator(node, worker, direct)
            case Windowed():
                return WindowedOperator(node, worker, direct)
            case Union():
                return UnionOperator(node)
            case Aggregate():
                return AggregateOperator(node, worker)
            case Join():
                return JoinOperator(node, worker)
            case Recompute():
                return RecomputeOperator(node, worker)
            case Gate():
                return GateOperator(node, worker)
        raise TypeError(f"no operator for {type(node).__name__}")

    def initial(self) -> pa.Table | None:
        """The result over empty inputs."""
        return self._travel({}, lambda operator: operator.initial())

    def step(self, deltas: Mapping[str, pa.Table]) -> pa.Table | None:
        """The result's changes from changes of inputs, by stream."""
        return self._travel(deltas, None)

    def advance(self, closed_us: int) -> pa.Table | None:
        """The result's changes from windows closing."""
        return self._travel({}, lambda operator: operator.advance(closed_us))

    def _travel(self, deltas: Mapping[str, pa.Table], also: _Also | None) -> pa.Table | None:
        """Takes changes through the graph; `also` asks each operator for more after its step."""
        changes: dict[Node, pa.Table | None] = {}
        for node in self.nodes:
            if isinstance(node, Scan):
                changes[node] = self._scanned(node, deltas.get(node.stream))
                self._land(node, changes[node])
                continue
            given = [self._handed(source, node, changes[source]) for source in node.inputs]
            operator = self.operators[node]
            found = [operator.step(given)] if any(delta is not None for delta in given) else []
            changes[node] = concat([*found, *([also(operator)] if also else [])])
            self._land(node, changes[node])
        return self._handed(self._plan.root, None, changes[self._plan.root])

    def _scanned(self, node: Scan, delta: pa.Table | None) -> pa.Table | None:
        return self._ledger.read(node.stream, delta) if delta is not None and delta.num_rows else None

    def _land(self, node: Node, delta: pa.Table | None) -> None:
        """Counts the rows that have come to the end of a direct path."""
        if node in self._ends:
            stream = self._direct[node]
            self._ledger.counts.landed += self._ledger.weigh(stream, delta)

    def _handed(self, source: Node, reader: Node | None, delta: pa.Table | None) -> pa.Table | None:
        """A delta as its reader gets it: off the direct path without the origin of its rows."""
        if delta is None or source not in self._direct or reader in self._direct:
            return delta
        return delta.drop_columns([ORIGIN])

    def stateful(self) -> dict[str, Operator]:
        """Operators that keep something, by node name."""
        return {n.name: op for n, op in self.operators.items() if not isinstance(op, Stateless)}

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        """Writes every stateful operator into a folder of its own."""
        for name, operator in self.stateful().items():
            operator.checkpoint(folder / name, previous / name if previous else None)

    def restore(self, folder: Path, closed_us: int | None) -> None:
        """Takes every operator back to where `checkpoint` was called."""
        for name, operator in self.stateful().items():
            operator.restore([folder / name], None)
        if closed_us is not None:
            for operator in self.operators.values():
                operator.advance(closed_us)


def _direct_paths(nodes: list[Node]) -> dict[Node, str]:
    """Nodes that rows of one input reach one by one, with the input: from a scan through operators without memory, up
    to where rows are shared or merged."""
    readers = {node: sum(other.inputs.count(node) for other in nodes) for node in nodes}
    direct: dict[Node, str] = {}
    for node in nodes:
        if isinstance(node, Scan):
            direct[node] = node.stream
        elif isinstance(node, Linear | Windowed) and node.inputs[0] in direct and readers[node.inputs[0]] == 1:
            direct[node] = direct[node.inputs[0]]
    return direct
