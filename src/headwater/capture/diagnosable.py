"""A source that `headwater doctor` can look at from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headwater.finding import Finding
from headwater.position import Resume


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
