"""Whether reading can go on where the log ends: the same cluster, the same history, the same slot, always published.

An LSN says where in one history a change stands, so the history is looked at first; then the slot, which must still
hold what follows the log; then the publication, because the server sends nothing of a table, and says nothing, for as
long as it is not published. What cannot be had is a `PositionLost` with the cause and both ways out.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from headwater.capture.postgres.connection import Connection, failed
from headwater.capture.postgres.lsn import lsn_text, parse_lsn
from headwater.capture.postgres.publication import Stamps
from headwater.capture.postgres.resume import Standing
from headwater.capture.postgres.slot import Slot, System, require_ours
from headwater.errors import PositionLost, SourceUnavailable

OTHER_CLUSTER = "other_cluster"
DIVERGED = "history_diverged"
SERVER_BEHIND = "server_behind"
SLOT_MISSING = "slot_missing"
SLOT_INVALIDATED = "slot_invalidated"
SLOT_AHEAD = "slot_ahead"
SLOT_OLDER = "slot_older"
PUBLICATION_MISSING = "publication_missing"
PUBLICATION_REMADE = "publication_remade"
TABLE_UNPUBLISHED = "table_unpublished"

_PREVENTION = {
    "wal_removed": "against a next time raise max_slot_wal_keep_size at the server",
    "rows_removed": "against a next time set hot_standby_feedback = on at the standby",
    "wal_level_insufficient": "first set wal_level = logical at the primary, and keep it so",
    "idle_timeout": "against a next time raise idle_replication_slot_timeout at the server",
}


@dataclass(frozen=True)
class LogEnd:
    """Where our log ends.

    Attributes:
        source: the source's name.
        standing: what the resume point says was so.
        slot: name of the slot to go on with.
        lsn: every transaction that commits before it is in the log, and none after.
    """

    source: str
    standing: Standing
    slot: str
    lsn: int

    def lost(self, cause: str, message: str, until: int | None = None, advice: str = "") -> PositionLost:
        """The error that says so; `until` is the LSN from which the server can send."""
        return PositionLost(
            message,
            source=self.source,
            cause=cause,
            since=lsn_text(self.lsn),
            until="" if until is None else lsn_text(until),
            lost_bytes=until - self.lsn if until is not None and until >= self.lsn else None,
            advice=advice,
        )

    def require_same_cluster(self, system: System) -> None:
        """Refuses another database or cluster.

        Raises:
            PositionLost: it is one.
        """
        standing = self.standing
        if (system.identifier, system.database) != (standing.system, standing.database):
            raise self.lost(
                OTHER_CLUSTER,
                f"this is another database: the log holds changes of {standing.database!r} in cluster "
                f"{standing.system}, and the url leads to {system.database!r} in cluster {system.identifier}; a server "
                "that was upgraded with pg_upgrade, or restored from a dump, is another cluster",
                advice="if the url is wrong, put the former one back; after pg_upgrade from version 17 or newer, which "
                "copies the slot and only if everything was read from it, the gap to accept is empty",
            )

    def require_same_history(self, replication: Connection, system: System) -> None:
        """Refuses a server on which the transactions that the log ends with never happened.

        Raises:
            PositionLost: its timeline left ours before the log's end, or its log is shorter than ours.
        """
        if system.timeline != self.standing.timeline:
            left = switch_point(replication, self.standing.timeline, system.timeline)
            if left is None or left < self.lsn:
                where = "never knew our timeline" if left is None else f"left it at {lsn_text(left)}"
                raise self.lost(
                    DIVERGED,
                    f"the server failed over or was restored without transactions that the log holds: the log ends at "
                    f"{lsn_text(self.lsn)} of timeline {self.standing.timeline}, and the server, now on timeline "
                    f"{system.timeline}, {where}; its tables lack what the log has beyond, and the log lacks what the "
                    "server did instead",
                    until=left,
                )
        if system.wal_end < self.lsn:
            raise self.lost(
                SERVER_BEHIND,
                f"the server's write-ahead log ends at {lsn_text(system.wal_end)}, before the log's "
                f"{lsn_text(self.lsn)}: the server was restored from a backup, or it is a standby that is behind",
                until=system.wal_end,
            )

    def require_slot(self, slot: Slot | None, system: System, own_pid: int | None = None) -> Slot:
        """Refuses a slot from which reading on would leave a gap.

        Args:
            slot: as it is now.
            system: the server.
            own_pid: the server process that reads it for us, once one does.

        Raises:
            PositionLost: gone, lost, older or ahead.
            SourceStopped: it is none of ours.
            SourceUnavailable: somebody is reading it now.
        """
        name, after = self.slot, lsn_text(self.lsn)
        if slot is None:
            raise self.lost(
                SLOT_MISSING,
                f"replication slot {name!r} is gone: the server may have thrown away changes after {after}",
                until=system.wal_end,
            )
        require_ours(slot, system)
        if slot.lost:
            raise self.lost(
                SLOT_INVALIDATED,
                f"the server gave replication slot {name!r} up ({slot.lost}): changes after {after} are gone",
                until=system.wal_end,
                advice=_PREVENTION.get(slot.lost, ""),
            )
        if slot.active and slot.active_pid != own_pid:
            raise SourceUnavailable(
                f"replication slot {name!r} is being read by another process"
                + (f", pid {slot.active_pid} at the server" if slot.active_pid else ""),
                hint="if it stays so, another Headwater runs on this state folder, or a dead connection is not missed "
                f"yet; at the server: SELECT pg_terminate_backend({slot.active_pid or 'pid'});",
            )
        self._require_behind(slot, system)
        return slot

    def _require_behind(self, slot: Slot, system: System) -> None:
        if slot.confirmed > self.lsn:
            raise self.lost(
                SLOT_AHEAD,
                f"replication slot {slot.name!r} is ahead of the log: {slot.confirmed - self.lsn} bytes up to "
                f"{lsn_text(slot.confirmed)} were confirmed that the log, which ends at {lsn_text(self.lsn)}, does not "
                "hold; somebody advanced, read or made anew the slot, or an older copy of the state folder was put "
                "back",
                until=slot.confirmed,
                advice="if there is a newer copy of the state folder, put that back",
            )
        if system.timeline == self.standing.timeline and slot.restart < self.standing.restart:
            raise self.lost(
                SLOT_OLDER,
                f"replication slot {slot.name!r} is older than it was: it begins at {lsn_text(slot.restart)} and began "
                f"at {lsn_text(self.standing.restart)} before, so the server was put back to an older copy of itself",
                until=slot.confirmed,
            )

    def require_published(self, stamps: Stamps | None, publication: str) -> None:
        """Refuses a publication that was not there, or lacked a captured table, for any while since it was last seen.

        PostgreSQL 18 skips, with no more than a warning in its log, changes that were made while the publication did
        not exist; every version skips those of a table while it was out of it. So what counts is not that it
        publishes now but that it is the same entry.

        Raises:
            PositionLost: it was made anew, or a table was taken out of it.
        """
        seen = self.standing.published
        after = f"changes made meanwhile, after {lsn_text(self.lsn)}, were not sent"
        if stamps is None:
            raise self.lost(
                PUBLICATION_MISSING,
                f"publication {publication!r} is gone: {after}",
                advice="it is made again by either way out, or, where the role may not, the statement to run is told",
            )
        if not seen:
            return
        if stamps.publication != seen.publication:
            raise self.lost(
                PUBLICATION_REMADE,
                f"publication {publication!r} was made anew or altered since it was last read: {after}",
            )
        for table, entry in stamps.tables.items():
            if entry is None:
                raise self.lost(
                    TABLE_UNPUBLISHED, f"publication {publication!r} does not publish captured table {table} any more"
                )
            if seen.tables.get(table, entry) != entry:
                raise self.lost(
                    TABLE_UNPUBLISHED,
                    f"table {table} was taken out of publication {publication!r} and put back: {after}",
                )


def switch_point(replication: Connection, ours: int, now: int) -> int | None:
    """Where the history that leads to timeline `now` left timeline `ours`; None if it never was on it.

    Source: "TIMELINE_HISTORY" in the streaming replication protocol; a history file has a line per ancestor: its
    number, the LSN at which it was left, a reason.
    """
    try:
        row = replication.execute(f"TIMELINE_HISTORY {now:d}".encode()).fetchone()
    except psycopg.Error as error:
        failed(error, f"reading the history of timeline {now}")
    content = row[1] if row else b""
    text = content.decode() if isinstance(content, bytes) else str(content)
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return next((parse_lsn(fields[1]) for fields in lines if fields[0] == str(ours)), None)
