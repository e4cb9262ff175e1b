"""Clocks that are wrong."""

from __future__ import annotations

from headwater.clock import SystemClock


class HourAhead(SystemClock):
    """The machine's clock, an hour ahead of the world's."""

    def now_us(self) -> int:
        return super().now_us() + 3_600_000_000
