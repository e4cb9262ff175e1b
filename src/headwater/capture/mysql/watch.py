"""Looks at the server's binary log from the side: how far we are behind its end, and how long it keeps what we need."""

from __future__ import annotations

import pymysql

from headwater.capture.health import Alarm, Health
from headwater.capture.mysql.connection import Connection, connect, failed
from headwater.capture.mysql.place import Place
from headwater.capture.mysql.preconditions import retention_s
from headwater.capture.mysql.resume import RUNNING, place_of
from headwater.capture.mysql.server import binary_logs, read_server
from headwater.capture.mysql.settings import MysqlSettings
from headwater.clock import Clock
from headwater.position import JsonScalar, Resume

LOG_BUDGET, NEARLY_PURGED = "log_budget", "log_nearly_purged"
LATE = 0.5
"""Share of the server's retention after which a file that we have not read to its end is an alarm."""


class MysqlWatcher:
    """See `headwater.capture.health.Watcher`.

    Args:
        source: the source's name.
        settings: how to reach the server, and the budget.
        clock: time.
    """

    def __init__(self, source: str, settings: MysqlSettings, clock: Clock) -> None:
        self.interval_s = settings.heartbeat_s
        self._source = source
        self._settings = settings
        self._clock = clock
        self._connection: Connection | None = None
        self._closed: tuple[str, float] = ("", 0.0)
        """The file that we stand in, and when it was first seen not to be the server's last one."""

    def look(self, resume: Resume | None) -> Health:
        """See `Watcher.look`."""
        if resume is None:
            return Health()
        try:
            self._connection = self._connection or connect(self._settings, timeout_s=60.0)
            return self._look(self._connection, resume)
        except pymysql.MySQLError as error:
            self.close()
            failed(error, f"watching source {self._source!r}")

    def close(self) -> None:
        """See `Watcher.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look(self, connection: Connection, resume: Resume) -> Health:
        server, files, place = read_server(connection), binary_logs(connection), place_of(resume)
        behind, kept_s = behind_bytes(files, place), retention_s(server)
        figures: dict[str, JsonScalar] = {
            "file": place.file,
            "log_behind_bytes": behind,
            "log_behind_files": sum(name > place.file for name in files) if behind is not None else None,
            "log_budget_bytes": int(self._settings.log_budget),
            "log_oldest_file": min(files, default=""),
            "log_kept_bytes": sum(files.values()),
            "log_kept_s": kept_s,
        }
        if resume.get("snapshot") == RUNNING:
            place = Place("", 0)  # nobody moves it while the tables are read
        alarms = [*self._over_budget(behind or 0), *self._nearly_purged(files, place, kept_s)]
        return Health(figures, tuple(alarms))

    def _over_budget(self, behind: int) -> list[Alarm]:
        budget = int(self._settings.log_budget)
        if behind <= budget:
            return []
        told = f"source {self._source!r} is {behind:,} bytes of binary log behind, more than log_budget ({budget:,})"
        return [Alarm(LOG_BUDGET, told, "see whether this source runs and keeps up: headwater status")]

    def _nearly_purged(self, files: dict[str, int], place: Place, kept_s: int | None) -> list[Alarm]:
        """The server purges a file so long after it has ended, whether we have read it or not."""
        now = self._clock.monotonic_s()
        if place.file not in files or place.file == max(files):
            self._closed = ("", now)
            return []
        if self._closed[0] != place.file:
            self._closed = (place.file, now)
        since = now - self._closed[1]
        if not kept_s or since < LATE * kept_s:
            return []
        told = f"the server ended {place.file} {since:.0f} s ago, purges it after {kept_s} s, and it is not read yet"
        mend = f"make this source keep up, or run as an administrator: {_longer(kept_s)}"
        return [Alarm(NEARLY_PURGED, told, mend)]


def behind_bytes(files: dict[str, int], place: Place) -> int | None:
    """Bytes of log between a place and the log's end; None if the server does not have that file.

    Args:
        files: the server's binary logs by name, with their sizes.
        place: where we are.
    """
    if place.file not in files:
        return None
    return sum(size for name, size in files.items() if name >= place.file) - place.position


def _longer(kept_s: int) -> str:
    return f"SET GLOBAL binlog_expire_logs_seconds = {7 * kept_s};"
