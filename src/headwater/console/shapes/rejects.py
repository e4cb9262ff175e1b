"""The ledger of rejects, as pages have it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.shape import Asked, Json, Shape

State = Literal["open", "requested", "replayed", "superseded", "discarded"]


class Cause(Shape):
    """Entries that failed alike. `example` is the number of the newest, `message` what it says. `replays` is false
    where trying again makes no sense (an accepted gap)."""

    stream: str
    stage: str
    reason: str
    state: State
    count: int
    first_seen_us: int
    last_seen_us: int
    example: int
    message: str
    replays: bool


class Causes(Shape):
    """All causes, the most frequent first."""

    causes: list[Cause]


class AskCauses(Asked):
    """Which entries are counted."""

    settled: bool = Field(False, description="Also those that are replayed, superseded or discarded.")


class AskRejects(Asked):
    """Which entries."""

    stream: str | None = Field(None, description='Of this stream or model ("value" means all of "value/...").')
    stage: str | None = None
    reason: str | None = None
    state: State | None = Field(None, description="In this state; by default those that are open or requested.")
    after: int = Field(0, ge=0, description="With a number above this one.")
    limit: int = Field(100, ge=1, le=1000)


class Reject(Shape):
    """One entry; `bytes` is the size of its record."""

    id: int
    epoch: int
    stream: str
    stage: str
    reason: str
    message: str
    position: str
    key: str
    weight: int
    state: State
    attempts: int
    first_seen_us: int
    last_seen_us: int
    bytes: int


class Rejects(Shape):
    """Entries, oldest first; `next_after` asks for those that follow, null if there are none."""

    rejects: list[Reject]
    next_after: int | None


class RejectDetail(Reject):
    """One entry whole. `raw_base64` are its bytes as they came, `raw_text` the same where they are text; both end
    early if `truncated`. `rows` is what it would have been; `undecodable` why that cannot be said."""

    raw_base64: str
    raw_text: str | None
    truncated: bool
    rows: list[dict[str, Json]]
    undecodable: str | None


class CauseOf(Asked):
    """What entries have in common."""

    stream: str
    stage: str | None = None
    reason: str | None = None


class Decision(Asked):
    """Which entries, by number or by what they failed of; and that it is meant."""

    ids: list[int] = Field(default_factory=list, max_length=1000)
    cause: CauseOf | None = None
    confirm: Literal[True] = Field(description="It is meant.")


class Decided(Shape):
    """How many entries it was about."""

    moved: int
