"""The identity that proves nothing was lost, for every stream, model and sync."""

from __future__ import annotations

from headwater.console.shapes.overview import Account
from headwater.console.shapes.shape import Shape


class Line(Account):
    """An account; `difference` is what it lacks: positive if records are unaccounted for, negative if counted twice."""

    difference: int


class StreamLine(Line):
    """Of a stream, with its source."""

    source: str


class SyncLine(Shape):
    """Of a sync: handed = delivered + superseded + parked + pending + failed + discarded, if it holds."""

    name: str
    model: str
    handed: int
    delivered: int
    superseded: int
    parked: int
    pending: int
    failed: int
    discarded: int
    holds: bool


class AsideLine(Shape):
    """Of a stream or model of which checks set rows aside: what became of the rows that it offered."""

    name: str
    counts: dict[str, int]
    holds: bool


class Accounting(Shape):
    """All accounts. `holds` is whether every one adds up. `epoch` is the last whole one that they are of."""

    epoch: int
    holds: bool
    streams: list[StreamLine]
    models: list[Line]
    syncs: list[SyncLine]
    aside: list[AsideLine]
