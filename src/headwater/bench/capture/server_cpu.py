"""What the server's processes cost while somebody reads, seen in Linux's /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_EVERY_S = 0.05


class ServerCpu:
    """Adds up the CPU seconds that processes work while the context lasts.

    Args:
        processes: says which there are now, by process id; called 20 times a second, by a thread of its own.

    Attributes:
        seconds: the sum; None where there is no /proc.
    """

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self._processes = processes
        self._before: dict[int, float] = {}
        self._seen: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="server-cpu", daemon=True)
        self.seconds: float | None = None

    def __enter__(self) -> ServerCpu:
        self._look(self._before)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look(self._seen)
        worked = (seconds - self._before.get(process, 0.0) for process, seconds in self._seen.items())
        self.seconds = sum(worked) if Path("/proc/self/stat").exists() else None

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look(self._seen)

    def _look(self, seen: dict[int, float]) -> None:
        for process in self._processes():
            with suppress(OSError):  # it has just ended
                seen[process] = _cpu_s(process)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
