"""Clocks that are wrong."""

from __future__ import annotations

from headwater.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clock, so far ahead of the world's.

    Attributes:
        ahead_us: how far, in microseconds; may grow.
    """

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class HourAhead(ShiftedClock):
    """An hour ahead."""

    def __init__(self) -> None:
        super().__init__(3_600_000_000)
