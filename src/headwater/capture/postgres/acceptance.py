"""Going on without what was lost, when the user has decided so: from where, and what to enter into the ledger."""

from __future__ import annotations

from headwater.capture.gap import Gap, gap_reject
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.lsn import lsn_text, parse_lsn
from headwater.capture.postgres.resume import Standing, boundary_before
from headwater.capture.postgres.resumption import (
    DIVERGED,
    PUBLICATION_MISSING,
    PUBLICATION_REMADE,
    TABLE_UNPUBLISHED,
    LogEnd,
)
from headwater.capture.postgres.slot import System, create_slot, drop_slot, read_slot, require_ours
from headwater.capture.request import Request
from headwater.change import Group
from headwater.errors import PositionLost, SourceUnavailable

SKIPS_WITHOUT_PUBLICATION = 180000
"""Version from which the server can decode changes made while the publication did not exist, leaving them out; those
before fail at them for ever, so that reading goes on behind."""


def new_start(
    connection: Connection, replication: Connection, end: LogEnd, lost: PositionLost, system: System, *, failover: bool
) -> int:
    """The LSN to go on from; a slot that is missing or lost is made anew.

    Raises:
        SourceStopped: the slot of that name is none of ours.
        SourceUnavailable: somebody is reading it.
    """
    slot = read_slot(connection, end.slot)
    if slot is not None:
        require_ours(slot, system)
    if slot is not None and slot.active:
        raise SourceUnavailable(f"replication slot {end.slot!r} is being read by another process")
    if slot is not None and slot.lost:
        drop_slot(connection, end.slot)
        slot = None
    if slot is None:
        return create_slot(replication, end.slot, failover=failover).lsn
    if lost.cause == DIVERGED and lost.until:
        return max(slot.confirmed, parse_lsn(lost.until))
    if lost.cause in (TABLE_UNPUBLISHED, PUBLICATION_MISSING, PUBLICATION_REMADE):
        skips = lost.cause == TABLE_UNPUBLISHED or connection.info.server_version >= SKIPS_WITHOUT_PUBLICATION
        return max(slot.confirmed, end.lsn if skips else system.wal_end)
    return slot.confirmed


def gap_group(
    end: LogEnd, lost: PositionLost, standing: Standing, at: int, until: int, decision: Request, now_us: int
) -> Group:
    """The group that moves the log's end to LSN `at` and holds the gap, both durable at once.

    Args:
        end: where the log ends.
        lost: what was lost.
        standing: what is so from now on.
        at: LSN to go on from.
        until: LSN before which changes may be missing; beyond `at` if only some tables' are.
        decision: what the user decided.
        now_us: time of the entry.
    """
    gap = Gap(
        source=end.source,
        cause=lost.cause,
        message=lost.message,
        since=lsn_text(end.lsn),
        until=lsn_text(until),
        lost_bytes=until - end.lsn if until >= end.lsn and lost.lost_bytes is not None else lost.lost_bytes,
        accepted_us=now_us,
        decision=decision.id,
        reason=decision.reason,
    )
    return Group(boundary_before(standing, at), rejects=gap_reject(gap))
