"""Event time: how far each input is, and up to where time windows are closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from headwater.sql.plan import Node, Plan, Scan, Windowed
from headwater.sql.window_plan import Expiring

_EPOCH = datetime.fromtimestamp(0, UTC)


class Stored(TypedDict):
    """Watermarks as a checkpoint has them, in microseconds."""

    by_stream: dict[str, int]
    idle: list[str]
    least: int | None


def microseconds(time: datetime) -> int:
    """A time in microseconds since 1970 UTC; without a zone it is taken for UTC."""
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (zoned - _EPOCH) // timedelta(microseconds=1)


class Watermarks:
    """The watermark of each input.

    Args:
        plan: says which inputs TUMBLE and HOP read or have a time to live; only those hold event time back. Without
            them all do.
        inputs: names of all inputs.
        lateness: how long windows stay open past their end.
    """

    def __init__(self, plan: Plan, inputs: Iterable[str], lateness: timedelta) -> None:
        timed = [n for n in plan.nodes() if isinstance(n, Expiring) or (isinstance(n, Windowed) and not n.clock)]
        self._needed = {stream for node in timed for stream in _streams(node)} or set(inputs)
        self._lateness_us = lateness // timedelta(microseconds=1)
        self.by_stream: dict[str, int] = {}
        self.idle: set[str] = set()
        self.least_us: int | None = None
        """The least watermark of the inputs that count, which never goes back; None while one of them has none."""

    def advance(self, watermarks: Mapping[str, int], idle: Iterable[str] = ()) -> int | None:
        """Moves watermarks on, never back; up to where windows are closed now, None if that has not moved.

        Args:
            watermarks: by input; one that is named holds event time back again.
            idle: inputs that do not, until they are named.
        """
        self.idle = self.idle.union(idle).difference(watermarks)
        for stream, us in watermarks.items():
            self.by_stream[stream] = max(us, self.by_stream.get(stream, us))
        counting = self._needed - self.idle
        if not counting or not counting <= self.by_stream.keys():
            return None
        least = min(self.by_stream[stream] for stream in counting)
        if self.least_us is not None and least <= self.least_us:
            return None
        self.least_us = least
        return least - self._lateness_us

    def stored(self) -> Stored:
        """For a checkpoint."""
        return {"by_stream": dict(self.by_stream), "idle": sorted(self.idle), "least": self.least_us}

    def restore(self, stored: Stored) -> int | None:
        """Takes back what `stored` gave; up to where windows are closed."""
        self.by_stream, self.idle, self.least_us = dict(stored["by_stream"]), set(stored["idle"]), stored["least"]
        return None if self.least_us is None else self.least_us - self._lateness_us


def _streams(node: Node) -> set[str]:
    if isinstance(node, Scan):
        return {node.stream}
    return {stream for source in node.inputs for stream in _streams(source)}
