"""How fast records may go out: the rate that the user set, and how long a destination in trouble is left alone."""

from __future__ import annotations

import random

from headwater.clock import Clock

BURST_S = 1.0
"""So many seconds' worth of records may go at once."""


class Pace:
    """The rate limit and the circuit breaker of one sync. While the destination is in trouble it is only probed: one
    record at a time, with waits that double.

    Args:
        clock: time.
        first_wait_s, longest_wait_s: the waits.
        records_per_second: the limit; None for none.
        chance: takes a random part off each wait, so that many do not come back at once.
    """

    def __init__(
        self, clock: Clock, first_wait_s: float, longest_wait_s: float, records_per_second: float | None,
        chance: random.Random,
    ) -> None:  # fmt: skip
        self._clock, self._chance = clock, chance
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s
        self._rate = records_per_second
        self._tokens = 0.0 if records_per_second is None else max(1.0, records_per_second * BURST_S)
        self._filled_s = clock.monotonic_s()
        self._blocked_until_s = 0.0
        self.failures = 0

    @property
    def probing(self) -> bool:
        """Whether the destination is in trouble."""
        return self.failures > 0

    def wait_s(self) -> float:
        """How long nothing may go out."""
        now = self._clock.monotonic_s()
        wait = self._blocked_until_s - now
        if self._rate is not None and self._room() < 1.0:
            wait = max(wait, (1.0 - self._tokens) / self._rate)
        return max(wait, 0.0)

    def most(self, wanted: int) -> int:
        """How many of so many records may go out now."""
        if self.probing:
            wanted = 1
        return wanted if self._rate is None else max(1, min(wanted, int(self._room())))

    def spend(self, count: int) -> None:
        """Notes that so many records go out."""
        if self._rate is not None:
            self._room()
            self._tokens -= count

    def down(self, retry_after_s: float | None = None) -> float:
        """Notes that nothing got through; returns how long the destination is left alone."""
        wait = max(self.delay_s(self.failures), retry_after_s or 0.0)
        self.failures += 1
        self._blocked_until_s = self._clock.monotonic_s() + wait
        return wait

    def up(self, retry_after_s: float | None = None) -> None:
        """Notes that something got through, and how long the destination asks to be left alone."""
        self.failures = 0
        if retry_after_s:
            self._blocked_until_s = self._clock.monotonic_s() + retry_after_s

    def now(self) -> None:
        """Forgets the wait: the user says that the destination is well."""
        self._blocked_until_s = 0.0

    def delay_s(self, failures: int) -> float:
        """The wait after so many failures before it: doubled each time, less up to a half."""
        whole = min(self._first_wait_s * 2.0 ** min(failures, 60), self._longest_wait_s)
        return whole * (1.0 - 0.5 * self._chance.random())

    def _room(self) -> float:
        now = self._clock.monotonic_s()
        if self._rate is not None:
            most = max(1.0, self._rate * BURST_S)
            self._tokens = min(most, self._tokens + (now - self._filled_s) * self._rate)
        self._filled_s = now
        return self._tokens
