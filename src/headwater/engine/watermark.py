"""Event time: how far each input is, and up to where time windows are closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from headwater.sql.plan import Node, Plan, Scan, Windowed

_EPOCH = datetime.fromtimestamp(0, UTC)


def microseconds(time: datetime) -> int:
    """A time in microseconds since 1970 UTC; without a zone it is taken for UTC."""
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (zoned - _EPOCH) // timedelta(microseconds=1)


class Watermarks:
    """The watermark of each input.

    Args:
        plan: says which inputs TUMBLE and HOP read; only those hold event time back. Without them all do.
        inputs: names of all inputs.
        lateness: how long windows stay open past their end.
    """

    def __init__(self, plan: Plan, inputs: Iterable[str], lateness: timedelta) -> None:
        windowed = [node for node in plan.nodes() if isinstance(node, Windowed) and not node.clock]
        self._needed = {stream for node in windowed for stream in _streams(node)} or set(inputs)
        self._lateness_us = lateness // timedelta(microseconds=1)
        self.by_stream: dict[str, int] = {}

    @property
    def least_us(self) -> int | None:
        """The least watermark of the inputs that count; None while one of them has none."""
        if not self._needed <= self.by_stream.keys():
            return None
        return min((self.by_stream[stream] for stream in self._needed), default=None)

    def advance(self, watermarks: Mapping[str, int]) -> int | None:
        """Moves watermarks on, never back; up to where windows are closed now, None if that has not moved."""
        before = self.least_us
        for stream, us in watermarks.items():
            self.by_stream[stream] = max(us, self.by_stream.get(stream, us))
        least = self.least_us
        return None if least is None or least == before else least - self._lateness_us


def _streams(node: Node) -> set[str]:
    if isinstance(node, Scan):
        return {node.stream}
    return {stream for source in node.inputs for stream in _streams(source)}
