"""Answers that many ask for at once are made once: for some tenths of a second everybody gets the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

from headwater.clock import Clock

Made = TypeVar("Made")


class Kept:
    """What was made a moment ago, by name. Used by any thread; who comes while it is being made waits for it.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._found: dict[str, tuple[float, object, object]] = {}

    def get(self, name: str, age_s: float, make: Callable[[], Made], mark: object = None) -> Made:
        """What `make` gave at most `age_s` seconds ago under the same mark, else what it gives now."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            found = self._found.get(name)
            now = self._clock.monotonic_s()
            if found is None or now - found[0] > age_s or found[1] != mark:
                found = self._found[name] = (now, mark, make())
            return cast(Made, found[2])
