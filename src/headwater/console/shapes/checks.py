"""Quality checks, as pages have them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.shape import Asked, Shape

State = Literal["ok", "warn", "fail", "unknown"]


class Outcome(Shape):
    """How a check stood after an epoch."""

    at_us: int
    epoch: int
    state: State
    failing: int | None
    value: float | None
    score: float | None


class CheckLine(Outcome):
    """How a check stands now, and before (`history`, the newest first). `says` is what must be true, `message` how it
    stands, `example` one of the rows that fail."""

    model: str
    name: str
    kind: str
    severity: Literal["warn", "reject", "stop"]
    message: str
    example: str
    says: str
    history: list[Outcome]


class Checks(Shape):
    """All checks."""

    checks: list[CheckLine]


class AskChecks(Asked):
    """Which checks."""

    model: str | None = Field(None, description="Only those of this stream or model.")
    history: int = Field(30, ge=0, le=500, description="So many past results of each.")
