"""What the console is told as it happens, and the figures over time."""

from __future__ import annotations

from pydantic import Field

from headwater.console.shapes.shape import Asked, Json, Shape


class JournalEntry(Shape):
    """One change of state. `number` counts from 1 since the project was started; fields are those of the event."""

    number: int
    at_us: int
    level: str
    event: str
    fields: dict[str, Json]


class Journal(Shape):
    """The last changes of state, oldest first."""

    entries: list[JournalEntry]


class AskJournal(Asked):
    """Which entries."""

    after: int = Field(0, ge=0, description="Entries after the one of this number.")
    limit: int = Field(200, ge=1, le=2000, description="The newest so many.")


class AskEvents(Asked):
    """Which events."""

    topics: str = Field("overview,journal,history", description="Comma-separated: overview, journal, history.")
    after: int | None = Field(None, ge=0, description="Journal entries after this number; by default the last 50.")


class AskHistory(Asked):
    """Which samples."""

    since_us: int = Field(0, ge=0, description="Samples after this time.")


class History(Shape):
    """Figures of the last quarter of an hour, a sample a second: `series` by `kind:name:figure`, null where there was
    none."""

    at_us: list[int]
    series: dict[str, list[float | None]]


class Sample(Shape):
    """One sample, as the event `history` has it."""

    at_us: int
    values: dict[str, float | None]
