"""Where the rows of each node are: which worker has them, and which must change workers on the way to a reader.

Rows change workers only where they must: a node whose input came shared out by a part of its key takes it as it is.
Nodes are put into stages; within a stage rows stay with their worker, so that it runs the stage's nodes on its own, and
between two stages rows change workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headwater.engine.accumulators.layout import nettable
from headwater.index.row_encoding import is_fixed
from headwater.sql.plan import Aggregate, Linear, Node, Scan, Union

Positions = tuple[frozenset[str], ...]
"""Rows are placed by the values of columns; each position names the columns that all hold the same value there."""

By = tuple[str, ...]

_FEW_WORKERS = 4
"""So many look at all rows of an input each."""


@dataclass(frozen=True)
class Exchange:
    """Rows of `source` on their way to the workers that own the values of columns `by`; () to worker 0.

    Attributes:
        combined: an `Aggregate` for which they may be added up on the way, and that alone gets them then.
    """

    source: Node
    by: By
    combined: Aggregate | None = None


@dataclass(frozen=True)
class Place:
    """Where a node works.

    Attributes:
        stage: from 0.
        given: by input, how its rows change workers on their way here, None where they stay.
        alone: worker 0 does it alone.
        positions: which columns of each input's `spread` its rows are placed by, None for all.
        placed: how the node's own rows are placed: by these, () all on worker 0, None anyhow.
    """

    stage: int
    given: tuple[Exchange | None, ...] = ()
    alone: bool = False
    positions: tuple[int, ...] | None = None
    placed: Positions | None = None


def places(nodes: Sequence[Node], workers: int) -> dict[Node, Place]:
    """The place of every node, given inputs before their readers; one worker has everything where it is."""
    found: dict[Node, Place] = {}
    for node in nodes:
        found[node] = _place(node, found)
    if workers > 1:
        return found
    return {node: replace(place, stage=0, given=(None,) * len(node.inputs)) for node, place in found.items()}


def stages(found: Mapping[Node, Place]) -> list[tuple[list[Node], list[Exchange]]]:
    """By stage, its nodes, inputs before their readers, and the exchanges that begin at its end."""
    result: list[tuple[list[Node], list[Exchange]]] = [
        ([], []) for _ in range(1 + max(p.stage for p in found.values()))
    ]
    for node, place in found.items():
        result[place.stage][0].append(node)
        for exchange in place.given:
            if exchange is not None and exchange not in result[found[exchange.source].stage][1]:
                result[found[exchange.source].stage][1].append(exchange)
    return result


def offered(found: Mapping[Node, Place], workers: int) -> frozenset[Node]:
    """The nodes whose rows every worker is shown whole, to pick its own: inputs of which all rows change workers as
    they come in, and what only renames their columns. To hash keys of fixed size again in each worker costs less than
    to send the rows on from one to another, as long as there are few workers."""
    readers: dict[Node, list[tuple[Node, Exchange | None]]] = {}
    for node, place in found.items():
        for source, exchange in zip(node.inputs, place.given, strict=True):
            readers.setdefault(source, []).append((node, exchange))

    def shown(node: Node) -> bool:
        ways = readers.get(node, [])
        return bool(ways) and all(
            _may_be_offered(exchange) if exchange is not None else _renames(reader) and shown(reader)
            for reader, exchange in ways
        )

    scans = [node for node in found if isinstance(node, Scan) and 1 < workers <= _FEW_WORKERS and shown(node)]
    return frozenset([*scans, *(node for node in found if _renames(node) and node.inputs[0] in scans)])


def _may_be_offered(exchange: Exchange) -> bool:
    if exchange.combined is not None or not exchange.by:
        return False
    return all(is_fixed(exchange.source.schema.field(name).type) for name in exchange.by)


def _renames(node: Node) -> bool:
    """Whether a node gives the rows of a scan as they are, under other names."""
    if not isinstance(node, Linear) or node.where or node.multiplies or not isinstance(node.inputs[0], Scan):
        return False
    return len({output for _, output in node.carries(0)}) == len(node.select)


def _place(node: Node, found: Mapping[Node, Place]) -> Place:
    if isinstance(node, Scan):
        return Place(0)
    if not node.inputs:
        return Place(0, alone=True, placed=())
    given, alone, positions = _wanted(node, [found[source].placed for source in node.inputs])
    stage = max(
        found[source].stage + (exchange is not None) for source, exchange in zip(node.inputs, given, strict=True)
    )
    return Place(stage, given, alone, positions, () if alone else _output(node, given, found))


def _wanted(
    node: Node, placed: Sequence[Positions | None]
) -> tuple[tuple[Exchange | None, ...], bool, tuple[int, ...] | None]:
    """How the rows of the inputs must change workers, whether worker 0 works alone, and by which positions of its keys
    the node's rows are placed."""
    spread = node.spread
    combined = node if isinstance(node, Aggregate) and node.partial and nettable(node) else None
    if all(keys is None for keys in spread):
        return (None,) * len(spread), all(by == () for by in placed), None
    if any(keys == () for keys in spread) or not _same_types(node):
        moves = [
            None if by == () else Exchange(source, (), combined) for source, by in zip(node.inputs, placed, strict=True)
        ]
        return tuple(moves), True, None
    fits = [_fit(keys, by) for keys, by in zip(spread, placed, strict=True)]
    chosen = next((fit for fit in fits if fit), None)
    given: list[Exchange | None] = []
    for source, keys, fit in zip(node.inputs, spread, fits, strict=True):
        if keys is None or (fit and fit == chosen):
            given.append(None)
        else:
            given.append(Exchange(source, keys if chosen is None else tuple(keys[at] for at in chosen), combined))
    return tuple(given), False, chosen


def _same_types(node: Node) -> bool:
    """Whether equal keys of different inputs are sure to have equal hashes."""
    kinds = [
        [source.schema.field(name).type for name in keys]
        for source, keys in zip(node.inputs, node.spread, strict=True)
        if keys is not None
    ]
    return all(_alike(first, other) for kind in kinds[1:] for first, other in zip(kinds[0], kind, strict=True))


def _alike(first: pa.DataType, second: pa.DataType) -> bool:
    return bool(first == second or (pa.types.is_integer(first) and pa.types.is_integer(second)))


def _fit(keys: By | None, placed: Positions | None) -> tuple[int, ...] | None:
    """The positions among the keys of the columns that rows are placed by; None if that is not by the keys."""
    if not keys or not placed:
        return None
    at = [next((i for i, key in enumerate(keys) if key in same), -1) for same in placed]
    return None if -1 in at else tuple(at)


def _output(node: Node, given: Sequence[Exchange | None], found: Mapping[Node, Place]) -> Positions | None:
    """How the node's rows are placed, from how its inputs' are when they come here, and what it carries over."""
    sides = list(_sides(node, given, found))
    if isinstance(node, Union):
        if any(side is None or len(side) != len(sides[0] or ()) for side in sides):
            return None
        merged = tuple(frozenset.intersection(*(side[i] for side in sides if side)) for i in range(len(sides[0] or ())))
    else:
        known = [side for side in sides if side is not None]
        if not known:
            return None
        merged = tuple(frozenset.union(*(side[i] for side in known)) for i in range(len(known[0])))
    return merged if merged and all(merged) else None


def _sides(node: Node, given: Sequence[Exchange | None], found: Mapping[Node, Place]) -> Iterator[Positions | None]:
    """For each input, the node's columns that hold what the input's rows are placed by."""
    for side, (source, exchange) in enumerate(zip(node.inputs, given, strict=True)):
        placed = found[source].placed if exchange is None else tuple(frozenset((name,)) for name in exchange.by)
        carried = node.carries(side)
        yield (
            None
            if placed is None
            else tuple(frozenset(output for name, output in carried if name in same) for same in placed)
        )
