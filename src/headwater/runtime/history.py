"""What a running project's figures were in the last minutes: a ring of one value per series and second, in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headwater.clock import Clock

EVERY_S = 1.0
KEPT = 900
"""Samples: a quarter of an hour."""


class History:
    """The ring. One thread adds, any may read.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._at_us = np.zeros(KEPT, np.int64)
        self._series: dict[str, NDArray[np.float32]] = {}
        self._count = 0
        self._due_s = float("-inf")

    def is_due(self) -> bool:
        """Whether a second has gone since the last sample."""
        return self._clock.monotonic_s() >= self._due_s

    def add(self, values: Mapping[str, float | None]) -> None:
        """Adds a sample: by series its value, None where it has none. A series that is not there has none."""
        self._due_s = self._clock.monotonic_s() + EVERY_S
        with self._lock:
            place = self._count % KEPT
            self._at_us[place] = self._clock.now_us()
            for series in self._series.values():
                series[place] = np.nan
            for name, value in values.items():
                if name not in self._series:
                    self._series[name] = np.full(KEPT, np.nan, np.float32)
                self._series[name][place] = np.nan if value is None else value
            self._count += 1

    def since(self, at_us: int) -> tuple[list[int], dict[str, list[float | None]]]:
        """The samples after a time (microseconds since 1970 UTC), oldest first: their times, and the values by series;
        None where a series had none."""
        with self._lock:
            kept = min(self._count, KEPT)
            places = np.arange(self._count - kept, self._count) % KEPT
            places = places[self._at_us[places] > at_us]
            times = self._at_us[places].tolist()
            series = {name: values[places].astype(np.float64) for name, values in self._series.items()}
        return times, {name: _told(values) for name, values in series.items()}


def _told(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else float(f"{value:.7g}") for value in values.tolist()]
