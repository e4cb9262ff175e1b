"""How long things took, counted in buckets: a few integers that hot loops add to once per batch."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets in seconds; above the last there is one more."""


class Durations:
    """A histogram of seconds. One thread adds, any thread reads.

    Args:
        bounds_s: upper bounds of the buckets in seconds, ascending.
    """

    def __init__(self, bounds_s: Sequence[float] = BOUNDS_S) -> None:
        self._bounds = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum_s = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        bucket = bisect_left(self._bounds, seconds)
        with self._lock:
            self._counts[bucket] += 1
            self._sum_s += seconds

    def read(self) -> tuple[list[tuple[str, int]], float]:
        """The buckets as Prometheus has them, (upper bound, how many are not above it) up to "+Inf", and the sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum_s
        buckets, so_far = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        return buckets, total
