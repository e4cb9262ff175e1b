"""What the server's WAL senders cost while somebody reads, seen in Linux's /proc."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psycopg

_EVERY_S = 0.05
_WALSENDERS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'"


class ServerCpu:
    """Adds up the CPU seconds of every WAL sender seen while the context lasts; their starting cost included.

    Attributes:
        seconds: the sum; None where there is no /proc.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="server-cpu", daemon=True)
        self.seconds: float | None = None

    def __enter__(self) -> ServerCpu:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = sum(self._seen.values()) if Path("/proc/self/stat").exists() else None

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(_EVERY_S):
                for (pid,) in connection.execute(_WALSENDERS).fetchall():
                    with suppress(OSError):  # it has just ended
                        self._seen[pid] = _cpu_s(pid)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
