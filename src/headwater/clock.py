"""The only caller of time. Everything that needs the hour is handed a `Clock`, so that tests can hold one still."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the code may know of time."""

    def now_us(self) -> int:
        """Wall clock in microseconds since 1970 UTC; for stamps, never for durations."""

    def monotonic_s(self) -> float:
        """Seconds that never go back; for durations and deadlines."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Sleeps until `event` is set (then True) or `timeout_s` seconds have gone (then False)."""


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)
