"""How many requests a source takes in a second."""

from __future__ import annotations

from headwater.clock import Clock


class Pace:
    """A bucket of a second's worth of requests. Used in the server's loop alone.

    Args:
        per_second: requests; None for no limit.
        clock: time.
    """

    def __init__(self, per_second: float | None, clock: Clock) -> None:
        self._rate = per_second
        self._clock = clock
        self._most = max(per_second or 1.0, 1.0)
        self._left = self._most
        self._at_s = clock.monotonic_s()

    def wait_s(self) -> float:
        """Takes one request, and returns 0; or how long it is until the next may come."""
        if self._rate is None:
            return 0.0
        now_s = self._clock.monotonic_s()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0
