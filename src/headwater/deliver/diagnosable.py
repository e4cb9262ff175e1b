"""A destination that `headwater doctor` can look at from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headwater.deliver.destination import Sync
from headwater.finding import Finding


@runtime_checkable
class Diagnosable(Protocol):
    """A destination that can be looked at from all sides."""

    def diagnose(self, sync: Sync) -> Sequence[Finding]:
        """Looks at the way there, at what it is, and at what we may do with it; makes and changes nothing.

        Raises:
            DestinationUnavailable: it does not answer.
            DestinationStopped: it refuses us.
        """
