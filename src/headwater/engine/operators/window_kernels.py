"""The compiled loop that finds the windows of times."""

from __future__ import annotations

from numba import types

from headwater.engine.accumulators.records import longs_in, longs_out
from headwater.index.kernels import Longs, compiled


@compiled(types.void(longs_in, types.int64, longs_out))
def last_multiples(times: Longs, step: int, out: Longs) -> None:
    """Writes the last multiple of `step` that is not after each time. Most follow one of the same window."""
    start = times[0] - times[0] % step if len(times) else 0
    for row in range(len(times)):
        time = times[row]
        if not start <= time < start + step:
            start = time - time % step
        out[row] = start
