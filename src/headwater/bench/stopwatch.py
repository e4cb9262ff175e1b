"""Times the stretches of work that count, and nothing between them."""

from __future__ import annotations

import resource

from headwater.clock import Clock


class Stopwatch:
    """A context: runs inside it are laps.

    Args:
        clock: what seconds are taken from.

    Attributes:
        laps_s: seconds of each lap.
        cpu_s: seconds that this process's threads worked during the laps: where other programs take the machine, the
            fairer figure.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.laps_s: list[float] = []
        self.cpu_s = 0.0
        self._started_s = self._cpu_before_s = 0.0

    @property
    def seconds(self) -> float:
        """All laps together."""
        return sum(self.laps_s)

    def __enter__(self) -> None:
        self._cpu_before_s, self._started_s = _cpu_s(), self._clock.monotonic_s()

    def __exit__(self, *_: object) -> None:
        self.laps_s.append(self._clock.monotonic_s() - self._started_s)
        self.cpu_s += _cpu_s() - self._cpu_before_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
