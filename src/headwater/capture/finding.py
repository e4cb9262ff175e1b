"""What a look at a source, or at this machine, found: `headwater doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from headwater.position import Resume

Level = Literal["ok", "warn", "fail"]
"""ok: as it should be; warn: works, and may not for ever or not safely; fail: does not work."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what, in a word or two.
        level: see `Level`.
        message: how it is.
        mend: the statement, setting or command that mends it; empty if nothing is to be mended.
    """

    check: str
    level: Level
    message: str
    mend: str = ""


@runtime_checkable
class Diagnosable(Protocol):
    """A source that can be looked at from all sides."""

    def diagnose(self, resume: Resume | None) -> Sequence[Finding]:
        """Looks at everything that matters for capture; makes and changes nothing.

        Args:
            resume: where the log ends; None if it holds nothing yet.

        Raises:
            SourceUnavailable: the source does not answer.
            SourceStopped: it refuses us.
        """
