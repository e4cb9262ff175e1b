"""A plan at work: one operator per node, and the changes that travel between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.accounting import Ledger
from headwater.engine.crew import Crew
from headwater.engine.delta import ORIGIN, concat, has_origin, settled, shaped, with_origin
from headwater.engine.lazy import Delta, Lazy, table
from headwater.engine.netting import Netting
from headwater.engine.operator import Operator, Stateless
from headwater.engine.operators.aggregate import AggregateOperator
from headwater.engine.operators.combine import Combiner, Thrift
from headwater.engine.operators.expiring import ExpiringOperator
from headwater.engine.operators.gate import GateOperator
from headwater.engine.operators.join import JoinOperator
from headwater.engine.operators.joins import join_operator
from headwater.engine.operators.linear import LinearOperator
from headwater.engine.operators.once import OnceOperator
from headwater.engine.operators.recompute import RecomputeOperator
from headwater.engine.operators.session import SessionOperator
from headwater.engine.operators.session_aggregate import SessionAggregateOperator
from headwater.engine.operators.stamped import StampedOperator
from headwater.engine.operators.top import TopOperator
from headwater.engine.operators.union import UnionOperator
from headwater.engine.operators.windowed import WindowedOperator
from headwater.engine.placement import Exchange, Place, offered, places, stages
from headwater.engine.share import Offered, Sent, Share, received, sliced, split
from headwater.engine.worker import Worker
from headwater.sql.join_plan import Join
from headwater.sql.plan import Aggregate, Gate, Linear, Node, Plan, Recompute, Scan, Top, Union, Windowed
from headwater.sql.window_plan import Expiring, Session, SessionAggregate, Stamped

_FEW_ROWS = 4096
"""So many rows are worth waking other threads for."""

_LAZY = (JoinOperator, LinearOperator, TopOperator)
"""Operators that take deltas that are not gathered yet."""

_Also = Callable[[Operator], Delta | None]
_Parts = list[pa.Table | None]


class Travel:
    """One journey of changes through the graph: what every worker has by node, and what it sends to the others.

    Args:
        shown: nodes of which every worker picks its rows itself (`placement.offered`).
    """

    def __init__(
        self, count: int, deltas: Mapping[str, pa.Table], shown: Collection[Node] = (), *, begins: bool = False
    ) -> None:
        self.begins, self._shown = begins, shown
        whole = {node.stream for node in shown if isinstance(node, Scan)}
        self.scanned = {stream: _cut(delta, count, whole=stream in whole) for stream, delta in deltas.items()}
        self.changes: list[dict[Node, Delta | None]] = [{} for _ in range(count)]
        self._sent: list[dict[Exchange, Sent | Offered]] = [{} for _ in range(count)]
        self.combining: frozenset[Exchange] = frozenset()
        self.combined: list[tuple[Exchange, int, int, int]] = []

    def send(self, sender: int, exchange: Exchange, combiner: Combiner | None = None) -> None:
        """Divides what a worker has of a node among all, added up group by group if so asked."""
        change = self.changes[sender][exchange.source]
        if change is not None and change.num_rows:
            delta = table(change)
            if combiner is not None:
                delta = combiner.combined(delta)
                self.combined.append((exchange, change.num_rows, delta.num_rows, combiner.pays))
            delta = delta.drop_columns([ORIGIN]) if has_origin(delta) else delta
            share = Offered if exchange.source in self._shown else split
            self._sent[sender][exchange] = share(delta, exchange.by, len(self.changes))

    def received(self, receiver: int, exchange: Exchange) -> Delta | None:
        """What all have sent to a worker."""
        return received([sent[exchange] for sent in self._sent if exchange in sent], receiver)

    def waiting(self, nodes: Iterable[Node], places: Mapping[Node, Place]) -> int:
        """How many rows there are for a stage to begin with."""
        scans = (
            part
            for node in nodes
            if isinstance(node, Scan) and node not in self._shown
            for part in self.scanned.get(node.stream, ())
        )
        met = {exchange for node in nodes for exchange in places[node].given if exchange is not None}
        moved = (one.delta for sent in self._sent for exchange, one in sent.items() if exchange in met)
        return sum(part.num_rows for part in (*scans, *moved) if part is not None)


class Graph:
    """The operators of one plan, inputs before their readers, for every worker its own.

    Args:
        crew: who works; every worker has the share of the keys that `headwater.engine.placement` gives it.
    """

    def __init__(self, plan: Plan, crew: Crew) -> None:
        self._plan, self._crew = plan, crew
        self.nodes = plan.nodes()
        self._places = places(self.nodes, len(crew))
        self._stages = stages(self._places)
        self._offered = offered(self._places, len(crew))
        self._direct = _direct_paths(self.nodes)
        inner = {source for node in self._direct for source in node.inputs}
        self._ends = {node for node in self._direct if node not in inner}
        self._operators = [self._of_worker(worker) for worker in crew.workers]
        met = {exchange for _, exchanges in self._stages for exchange in exchanges if exchange.combined is not None}
        self._combiners = [{exchange: _combiner(exchange, worker) for exchange in met} for worker in crew.workers]
        self._thrift = Thrift(met)
        self._apart = len(crew) == 1 or self._places[plan.root].placed is not None
        self._settled = plan.settled
        self._schema = delta_schema(plan.root.schema)
        self._timed = any(map(_heeds_time, self.nodes))
        self._busy = False

    def _of_worker(self, worker: Worker) -> dict[Node, Operator]:
        mine = (node for node in self.nodes if worker.number == 0 or not self._places[node].alone)
        return {node: self._operator(node, worker) for node in mine if not isinstance(node, Scan)}

    def _operator(self, node: Node, worker: Worker) -> Operator:
        direct = self._direct.get(node, "")
        match node:
            case Linear(once=once) if once:
                return OnceOperator(node, worker, direct)
            case Linear():
                return LinearOperator(node, worker, direct)
            case Windowed():
                return WindowedOperator(node, worker, direct)
            case Session():
                return SessionOperator(node, worker)
            case SessionAggregate():
                return SessionAggregateOperator(node, worker)
            case Expiring():
                return ExpiringOperator(node, worker)
            case Stamped():
                return StampedOperator(node, worker)
            case Union():
                return UnionOperator(node)
            case Aggregate():
                return AggregateOperator(node, worker)
            case Join():
                return join_operator(node, worker)
            case Recompute():
                return RecomputeOperator(node, worker)
            case Top():
                return TopOperator(node, worker)
            case Gate():
                return GateOperator(node, worker)
        raise TypeError(f"no operator for {type(node).__name__}")

    @cached_property
    def _netting(self) -> Netting:
        return Netting(self._plan.root.schema)

    def initial(self) -> pa.Table | None:
        """The result over empty inputs."""
        return self._travel({}, None, begins=True)

    def step(self, deltas: Mapping[str, pa.Table]) -> pa.Table | None:
        """The result's changes from changes of inputs, by stream: no row both added and taken away."""
        return self._travel(deltas, None)

    def advance(self, closed_us: int) -> pa.Table | None:
        """The result's changes from windows closing."""
        return self._travel({}, lambda operator: operator.advance(closed_us)) if self._timed else None

    def _travel(self, deltas: Mapping[str, pa.Table], also: _Also | None, *, begins: bool = False) -> pa.Table | None:
        """Takes changes through the graph; `also` asks each operator for more after its step; where all `begins`, each
        is asked for its result over empty inputs before that."""
        travel = Travel(len(self._crew), deltas, self._offered, begins=begins)
        if also is None:
            self._busy = any(delta.num_rows >= _FEW_ROWS for delta in deltas.values())
        if also is None and self._busy:
            travel.combining = self._thrift.begin()
        for nodes, exchanges in self._stages:
            many = len(self._crew) > 1 and travel.waiting(nodes, self._places) >= _FEW_ROWS
            work = partial(self._work, travel, nodes, exchanges, also)
            self._crew.run(work, together=many or (also is not None and self._busy))
        for noted in travel.combined:
            self._thrift.note(*noted)
        parts = [changes.get(self._plan.root) for changes in travel.changes]
        return concat(parts) if self._apart or self._settled else settled(concat(parts), self._netting)

    def _work(
        self, travel: Travel, nodes: Sequence[Node], exchanges: Sequence[Exchange], also: _Also | None, worker: Worker
    ) -> None:
        """One worker's part of a stage: its nodes, and then its rows to those that they belong to."""
        changes, operators = travel.changes[worker.number], self._operators[worker.number]
        for node in nodes:
            if isinstance(node, Scan):
                parts = travel.scanned.get(node.stream)
                changes[node] = _scanned(worker.ledger, node, parts[worker.number] if parts else None)
            elif node in operators:
                changes[node] = self._stepped(travel, node, operators[node], also, worker.number)
            if node in self._ends:
                worker.ledger.land(self._direct[node], changes[node])
        for exchange in exchanges:
            if exchange.source in changes:
                combiner = self._combiners[worker.number][exchange] if exchange in travel.combining else None
                travel.send(worker.number, exchange, combiner)
        if self._plan.root in nodes:
            changes[self._plan.root] = self._shown(changes.get(self._plan.root))

    def _shown(self, delta: Delta | None) -> pa.Table | None:
        """A worker's changes of the result as they are shown."""
        if delta is None:
            return None
        change = shaped(table(delta), self._schema)
        return settled(change, self._netting) if self._apart and not self._settled else change

    def _stepped(self, travel: Travel, node: Node, operator: Operator, also: _Also | None, number: int) -> Delta | None:
        changes = travel.changes[number]
        given = [
            self._handed(source, node, changes.get(source)) if exchange is None else travel.received(number, exchange)
            for source, exchange in zip(node.inputs, self._places[node].given, strict=True)
        ]
        if not isinstance(operator, _LAZY):
            given = [None if delta is None else table(delta) for delta in given]
        found = [operator.initial()] if travel.begins else []
        if any(delta is not None for delta in given):
            found.append(operator.step(given))
        return concat([*found, *([also(operator)] if also else [])])

    def _handed(self, source: Node, reader: Node, delta: Delta | None) -> Delta | None:
        """A delta as its reader gets it: off the direct path without the origin of its rows."""
        if delta is None or isinstance(delta, Lazy) or source not in self._direct:
            return delta
        if isinstance(reader, Windowed) and reader in self._direct:
            return with_origin(delta)
        return delta if reader in self._direct or not has_origin(delta) else delta.drop_columns([ORIGIN])

    def combines(self, node: Node) -> bool:
        """Whether workers add up rows for this node before they send them."""
        return any(exchange is not None and exchange.combined is node for exchange in self._places[node].given)

    def keeps(self, node: Node) -> str:
        """What the operators of a node keep, "" for a scan."""
        return " | ".join(operators[node].keeps() for operators in self._operators if node in operators)

    def _stateful(self, number: int) -> dict[Node, Operator]:
        """A worker's operators that keep something."""
        return {node: op for node, op in self._operators[number].items() if not isinstance(op, Stateless)}

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        """Writes every worker's stateful operators, each into a folder of its own.

        Args:
            previous: an earlier checkpoint of as many workers.
        """

        def write(worker: Worker) -> None:
            own = f"worker{worker.number}"
            for node, operator in self._stateful(worker.number).items():
                operator.checkpoint(folder / own / node.name, previous / own / node.name if previous else None)

        self._crew.run(write, together=True)

    def restore(self, folder: Path, count: int, closed_us: int | None) -> None:
        """Takes every operator back to where `checkpoint` was called.

        Args:
            count: of how many workers the checkpoint is.
        """

        def read(worker: Worker) -> None:
            for node, operator in self._stateful(worker.number).items():
                place = self._places[node]
                if count == len(self._crew) or place.alone:
                    operator.restore([folder / f"worker{worker.number}" / node.name], None)
                else:
                    parts = [folder / f"worker{number}" / node.name for number in range(count)]
                    operator.restore(parts, Share(worker.number, len(self._crew), place.positions))
            if closed_us is not None:
                for operator in self._operators[worker.number].values():
                    operator.advance(closed_us)

        self._crew.run(read, together=True)


def _combiner(exchange: Exchange, worker: Worker) -> Combiner:
    assert exchange.combined is not None
    return Combiner(exchange.combined, worker)


def _cut(delta: pa.Table, count: int, *, whole: bool) -> _Parts:
    """An input's delta for workers without memory: in equal runs, a small one for the first alone, and so one that is
    to stay `whole`."""
    if count > 1 and delta.num_rows >= _FEW_ROWS and not whole:
        return sliced(delta, count)
    return [delta if delta.num_rows else None, *[None] * (count - 1)]


def _scanned(ledger: Ledger, node: Scan, delta: pa.Table | None) -> pa.Table | None:
    """An input's changes, only the columns that are read."""
    return ledger.read(node.stream, delta).select([*node.names, WEIGHT]) if delta is not None else None


def _heeds_time(node: Node) -> bool:
    """Whether a watermark may change what a node gives or keeps."""
    if isinstance(node, Aggregate | Join | Recompute | Top):
        return any(node.closes)
    return not isinstance(node, Scan | Linear | Union)


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
