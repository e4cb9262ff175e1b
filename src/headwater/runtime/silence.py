"""Which streams have been silent for so long that they do not hold event time back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headwater.runtime.nodes import StreamNode
from headwater.runtime.state_store import EpochPlan


class Silence:
    """When each stream was last heard of. What is decided by it stands in the epoch's plan, so that an epoch that runs
    again decides the same.

    Attributes:
        told: the streams that the last epoch took for idle.
    """

    def __init__(self) -> None:
        self.told: tuple[str, ...] = ()
        self._heard_s: dict[str, float] = {}

    def of(self, streams: Mapping[str, StreamNode], now_s: float) -> tuple[str, ...]:
        """The streams that are idle now; a stream begins to be silent when it is first asked about."""
        idle = []
        for name, node in streams.items():
            heard_s = self._heard_s.setdefault(name, now_s)
            limit = node.watermark.idle_after if node.watermark is not None else None
            if limit is not None and now_s - heard_s >= limit.total_seconds():
                idle.append(name)
        return tuple(idle)

    def observe(self, seen: Collection[str], plan: EpochPlan, now_s: float) -> None:
        """Notes the streams that an epoch had rows of, and those that it took for idle."""
        self.told = tuple(name for name in plan.idle if name not in seen)
        self._heard_s.update(dict.fromkeys(seen, now_s))
