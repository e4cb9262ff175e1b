"""How long a change takes from its source's commit to being visible in the lake, over the last many changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

KEPT = 200_000


class Freshness:
    """Delays of the last `KEPT` changes or so, in milliseconds. Snapshot rows have no delay."""

    def __init__(self) -> None:
        self._delays: deque[NDArray[np.float64]] = deque()
        self._count = 0

    def observe(self, commit_times: Iterable[NDArray[np.int64]], visible_us: int) -> None:
        """Notes that changes committed at these times (microseconds since 1970 UTC) are visible since `visible_us`."""
        for times in commit_times:
            if len(times):
                self._delays.append((visible_us - times) / 1000.0)
                self._count += len(times)
        while self._delays and self._count - len(self._delays[0]) >= KEPT:
            self._count -= len(self._delays.popleft())

    def percentiles(self) -> dict[str, float | None]:
        """The median and the 99th percentile in milliseconds; None before the first change."""
        if not self._delays:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(np.concatenate(self._delays), [50, 99])
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
