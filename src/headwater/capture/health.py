"""How a source fares as seen from the side: what it keeps for us, and what may go wrong soon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from headwater.errors import HeadwaterError
from headwater.position import JsonScalar, Resume


@dataclass(frozen=True)
class Alarm:
    """Something that goes well still and will not for ever.

    Attributes:
        code: tells alarms apart; one is told once when it begins and once when it ends.
        message: what is so.
        hint: what to do.
    """

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Health:
    """What a look found.

    Attributes:
        figures: for the status, by name with its unit last.
        alarms: what the user should know.
        stop: the error to stop the source with, now; None if it may go on.
    """

    figures: Mapping[str, JsonScalar] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()
    stop: HeadwaterError | None = None


class Watcher(Protocol):
    """Looks at a source now and then, whether it is being read or not. Used by one thread of its own."""

    interval_s: float
    """Seconds between two looks."""

    def look(self, resume: Resume | None) -> Health:
        """One look; takes a few queries with a time limit each.

        Args:
            resume: where the log ends now; None if it holds nothing yet.

        Raises:
            SourceUnavailable: the source does not answer; the next look tries again.
            SourceStopped: it refuses us.
        """

    def close(self) -> None:
        """Gives up the connection."""


class NoWatcher:
    """For a source that there is nothing to be said of."""

    interval_s = 60.0

    def look(self, resume: Resume | None) -> Health:
        """Nothing is found."""
        return Health()

    def close(self) -> None:
        """There is nothing to give up."""
