"""Looks at slot and publication from the side: how much the server keeps for us, and whether it still sends all."""

from __future__ import annotations

import threading

import psycopg

from headwater.capture.health import Alarm, Health
from headwater.capture.postgres.connection import Connection, connect, cut_after, failed
from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.postgres.publication import read_stamps
from headwater.capture.postgres.resume import lsn_of, standing_of
from headwater.capture.postgres.resumption import LogEnd
from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.slot import drop_slot
from headwater.clock import Clock
from headwater.errors import HeadwaterError, PositionLost, SourceUnavailable
from headwater.position import JsonScalar, Resume

WAL_BUDGET = "wal_budget"
LOW = 0.2
"""Share of `max_slot_wal_keep_size` below which what is left of it is an alarm."""

DROP_WAIT_S = 2.0

_TERMINATE = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s"

_SLOT = """
WITH now AS (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn)
SELECT to_jsonb(s), pg_wal_lsn_diff(now.lsn, s.restart_lsn)::bigint,
  pg_wal_lsn_diff(now.lsn, s.confirmed_flush_lsn)::bigint,
  (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headwater' AND usename = current_user)
FROM pg_replication_slots s, now WHERE s.slot_name = %s"""


class PostgresWatcher:
    """See `headwater.capture.health.Watcher`.

    Args:
        source: the source's name.
        settings: how to reach the server, and the budget.
        publication: name of the publication.
        clock: time.
        acts: carries out `on_wal_budget: stop`; otherwise only looks.
    """

    def __init__(
        self, source: str, settings: PostgresSettings, publication: str, clock: Clock, *, acts: bool = True
    ) -> None:
        self._acts = acts
        self.interval_s = settings.heartbeat_s
        self._source = source
        self._settings = settings
        self._publication = publication
        self._clock = clock
        self._connection: Connection | None = None

    def look(self, resume: Resume | None) -> Health:
        """See `Watcher.look`. With `on_wal_budget: stop` a slot over its budget is dropped here."""
        if resume is None:
            return Health()
        try:
            self._connection = self._connection or connect(self._settings, asking=True)
            with cut_after(self._connection, self._settings.query_timeout_s + DROP_WAIT_S):
                return self._look(self._connection, resume)
        except psycopg.Error as error:
            self.close()
            failed(error, f"watching source {self._source!r}")

    def close(self) -> None:
        """See `Watcher.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _look(self, connection: Connection, resume: Resume) -> Health:
        standing = standing_of(resume)
        end = LogEnd(self._source, standing, self._settings.slot or standing.slot, lsn_of(resume))
        row = connection.execute(_SLOT, (end.slot,)).fetchone()
        if row is None:
            return Health()
        slot, kept, unconfirmed, connections = row
        budget = int(self._settings.wal_budget)
        safe = slot.get("safe_wal_size")
        figures: dict[str, JsonScalar] = {
            "slot": end.slot,
            "wal_kept_bytes": kept,
            "wal_unconfirmed_bytes": unconfirmed,
            "wal_budget_bytes": budget,
            "wal_status": slot.get("wal_status"),
            "wal_safe_bytes": safe,
            "failover": slot.get("failover"),
            "connections": connections,
        }
        alarms = [*self._over_budget(end, kept), *_nearly_lost(end, kept, safe, slot.get("wal_status"))]
        return Health(figures, tuple(alarms), self._stop(connection, end, kept))

    def _stop(self, connection: Connection, end: LogEnd, kept: int | None) -> HeadwaterError | None:
        try:
            end.require_published(read_stamps(connection, self._publication, end.standing.tables), self._publication)
        except PositionLost as lost:
            return lost
        if not self._acts or self._settings.on_wal_budget == "alarm" or (kept or 0) <= self._settings.wal_budget:
            return None
        self._give_up(connection, end.slot)
        return end.lost(
            WAL_BUDGET,
            f"replication slot {end.slot!r} made the server keep {kept:,} bytes of its log, more than wal_budget, and "
            f"was dropped, as on_wal_budget: stop asks for: changes after {lsn_text(end.lsn)} are gone",
        )

    def _over_budget(self, end: LogEnd, kept: int | None) -> list[Alarm]:
        if (kept or 0) <= self._settings.wal_budget:
            return []
        return [
            Alarm(
                WAL_BUDGET,
                f"the server keeps {kept:,} bytes of its log for replication slot {end.slot!r}, more than wal_budget "
                f"({int(self._settings.wal_budget):,} bytes)",
                "see whether this source runs and keeps up, and whether a transaction at the server is open for long: "
                "SELECT pid, xact_start, state, query FROM pg_stat_activity WHERE xact_start IS NOT NULL "
                "ORDER BY xact_start LIMIT 5;",
            )
        ]

    def _give_up(self, connection: Connection, slot: str) -> None:
        """Drops the slot, from under our own reader if need be.

        Raises:
            SourceUnavailable: it stays in use; the next look tries again.
        """
        deadline = self._clock.monotonic_s() + DROP_WAIT_S
        while True:
            connection.execute(_TERMINATE, (slot,))
            try:
                drop_slot(connection, slot)
            except SourceUnavailable:
                if self._clock.monotonic_s() >= deadline:
                    raise
                self._clock.wait(threading.Event(), 0.05)
            else:
                return


def _nearly_lost(end: LogEnd, kept: int | None, safe: int | None, status: str | None) -> list[Alarm]:
    few = safe is not None and safe < LOW * ((kept or 0) + safe)
    if status != "unreserved" and not few:
        return []
    return [
        Alarm(
            "wal_nearly_lost",
            f"the server will give replication slot {end.slot!r} up after {max(safe or 0, 0):,} more bytes of its log",
            "make this source keep up, or run as an administrator: ALTER SYSTEM SET max_slot_wal_keep_size = '...'; "
            "SELECT pg_reload_conf();",
        )
    ]
