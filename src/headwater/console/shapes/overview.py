"""The answer of /v1/overview: a project at a glance."""

from __future__ import annotations

from typing import Literal

from headwater.console.shapes.shape import Json, Shape

Level = Literal["fail", "warn", "info"]


class Trouble(Shape):
    """Something that is wrong, and how to mend it.

    `kind` and `name` say what it is about, `what` is a sentence, `mend` a command or a sentence, `page` the path in the
    console that shows more.
    """

    level: Level
    kind: str
    name: str
    what: str
    mend: str = ""
    page: str = ""


class Standing(Shape):
    """The last checkpoint; nulls before the first."""

    epoch: int | None
    at_us: int | None
    age_s: float | None


class Account(Shape):
    """read = landed + rejected + filtered + late + in_flight, if it holds."""

    name: str
    read: int
    landed: int
    rejected: int
    filtered: int
    late: int
    in_flight: int
    holds: bool


class StreamGlance(Account):
    """A stream: its account and its rate."""

    rows_per_s: float


class Alarm(Shape):
    """What goes well still and will not for ever."""

    code: str
    message: str
    hint: str


class SnapshotGlance(Shape):
    """How far the first reading of a table is; `expected` rows by the source's statistics, null if unknown."""

    table: str
    state: str
    rows: int
    expected: int | None
    message: str


class SourceGlance(Shape):
    """A source: how it fares. `health` holds figures of its type, named with their units."""

    name: str
    type: str
    state: str
    error: str | None
    hint: str | None
    lag_bytes: int | None
    lag_unit: str
    rows_per_s: float
    position: int | None
    gaps: int
    health: dict[str, Json]
    alarms: list[Alarm]
    snapshots: list[SnapshotGlance]
    streams: list[StreamGlance]


class CheckCounts(Shape):
    """Checks of a model by their outcome."""

    ok: int = 0
    warn: int = 0
    fail: int = 0


class ModelGlance(Shape):
    """A model. `rows_per_s` is what it reads, `given_per_s` what it gives; `busy` the share of the time in which it was
    computed, 0 to 1; `rows` those of its table; `state_bytes` its state in the last checkpoint."""

    name: str
    state: str
    error: str | None
    rows: int
    rows_per_s: float
    given_per_s: float
    watermark_us: int | None
    busy: float | None
    state_bytes: int | None
    holds: bool
    checks: CheckCounts


class TableGlance(Shape):
    """A lake table; files and bytes are of its data files, null until they were looked at."""

    name: str
    rows: int
    epoch: int
    files: int | None
    bytes: int | None


class SyncGlance(Shape):
    """A sync: what was handed to it and what became of that; `oldest_s` is the age of what waits longest."""

    name: str
    model: str
    type: str
    state: str
    error: str | None
    hint: str | None
    handed: int
    delivered: int
    superseded: int
    parked: int
    pending: int
    failed: int
    discarded: int
    oldest_s: float | None
    holds: bool


class RejectsGlance(Shape):
    """Rejects that wait for a decision, and of how many kinds (stream and stage) they are."""

    open: int
    causes: int


class Holds(Shape):
    """Whether every account adds up."""

    holds: bool


class Overview(Shape):
    """A project at a glance. `state` is that of the epochs: starting, running, waiting, stopped."""

    project: str
    version: str
    state: str
    error: str | None
    since_us: int
    now_us: int
    epoch: int
    checkpoint: Standing
    freshness_ms: dict[str, float | None]
    sources: list[SourceGlance]
    models: list[ModelGlance]
    tables: list[TableGlance]
    syncs: list[SyncGlance]
    rejects: RejectsGlance
    accounting: Holds
    problems: list[Trouble]
