"""Sources as they are read: positions, what their servers keep for us, first readings, changes of columns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.overview import Alarm
from headwater.console.shapes.shape import Asked, Json, Shape


class Snapshot(Shape):
    """How far the reading of a table is. States: waiting, running, paused, done, stopped."""

    table: str
    state: str
    rows: int
    expected: int | None
    message: str


class Waiting(Shape):
    """Something that was asked for and not taken up yet."""

    id: str
    action: str
    tables: list[str]
    at_us: int


class LogPart(Shape):
    """What our own log keeps of a source."""

    base: int
    head: int
    segments: int
    bytes: int


class CapturedSource(Shape):
    """A source closely. `position` is as the source writes it where that is known, else a number as text. `figures` are
    those of its type, named with units: of PostgreSQL slot, wal_kept_bytes, wal_budget_bytes, wal_safe_bytes; of MySQL
    the binary log's. `retained_bytes` is what the server keeps for us, null where that is not known."""

    name: str
    type: str
    state: str
    error: str | None
    hint: str | None
    lag_bytes: int | None
    lag_unit: str
    retained_bytes: int | None
    position: str | None
    figures: dict[str, Json]
    alarms: list[Alarm]
    gaps: int
    snapshots: list[Snapshot]
    can_snapshot: bool
    asked: list[Waiting]
    log: LogPart
    streams: list[str]


class ColumnChange(Shape):
    """What became of a column: added, removed, renamed, retyped; `key`: the stream has another key."""

    what: Literal["added", "removed", "renamed", "retyped", "key"]
    column: str
    was: str
    now: str


class SchemaChange(Shape):
    """A stream had other columns from an epoch on."""

    at_us: int
    epoch: int
    source: str
    stream: str
    changes: list[ColumnChange]


class Capture(Shape):
    """All sources, and the newest 200 changes of columns, newest first."""

    sources: list[CapturedSource]
    schema_changes: list[SchemaChange]


class AskSnapshots(Asked):
    """What is to become of readings of tables. start reads tables again while their changes are followed; pause, resume
    and stop are of those asked for so far, all of them if no table is named."""

    action: Literal["start", "pause", "resume", "stop"]
    tables: list[str] = Field(default_factory=list, max_length=1000)


class Took(Shape):
    """Whether the source has taken note of it: `taken`, `refused` with why, or `waiting` for it to look."""

    id: str
    state: Literal["taken", "refused", "waiting"]
    why: str | None
