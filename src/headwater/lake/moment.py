"""Moments in a table's past: how one is named, and what is known of each table snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Moment:
    """A moment of a table, named in exactly one way.

    Attributes:
        time_us: what was committed by then, microseconds since 1970 UTC.
        snapshot: a table snapshot by its id (Iceberg), or a version (Delta).
        epoch: the end of this epoch.
        ref: a tag or branch.
    """

    time_us: int | None = None
    snapshot: int | None = None
    epoch: int | None = None
    ref: str | None = None

    def __str__(self) -> str:
        named = {"snapshot": self.snapshot, "epoch": self.epoch, "ref": self.ref}
        said = [f"{what} {value}" for what, value in named.items() if value is not None]
        return said[0] if said else time_text(self.time_us or 0)


def time_text(time_us: int) -> str:
    """A time for people: `2026-11-21 20:15:03.120 UTC`."""
    from datetime import UTC, datetime, timedelta

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d} UTC"


@dataclass(frozen=True)
class TableSnapshot:
    """One table snapshot, as `headwater tables history` shows it.

    Attributes:
        snapshot: its id.
        committed_at_us: when, microseconds since 1970 UTC.
        epoch: the epoch whose end it holds; None if another writer made it.
        properties: what the commit was given: source positions and log offsets.
        operation: in the format's own words (append, overwrite, delete, replace).
        rows_added, rows_deleted: by this commit; None if it does not say.
        rows: there after it; None if it does not say.
        files: data files there after it; None if it does not say.
        maintenance: it changed files and no rows.
        current: it is what readers see now.
        refs: tags and branches that name it.
    """

    snapshot: int
    committed_at_us: int
    epoch: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    operation: str = ""
    rows_added: int | None = None
    rows_deleted: int | None = None
    rows: int | None = None
    files: int | None = None
    maintenance: bool = False
    current: bool = False
    refs: tuple[str, ...] = ()
