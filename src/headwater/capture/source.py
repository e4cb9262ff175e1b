"""The contract of a source: what a foreign system must do to feed the log.

The runtime owns the one loop `poll -> append to the log and fsync -> confirm`; a connector never confirms by itself.
House connectors use this seam and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.capture.health import Watcher
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group
from headwater.errors import PositionLost
from headwater.position import Boundary, Resume
from headwater.schema import StreamSchema


class Reader(Protocol):
    """One open reading of a source, used by one thread."""

    def poll(self, timeout_s: float) -> Group | None:
        """The next whole transactions, at most `timeout_s` seconds from now; None if nothing is complete yet.

        Called in a loop. Keeps the connection alive while there is nothing to read. Groups come in source order; each
        is offered once per open reading. A snapshot comes first when there is no resume point, as groups of READ
        changes whose resume says how far the snapshot got. A transaction too large for memory comes as groups with
        `more`, which nobody may see before the last is durable; after an error in between it is read again from its
        beginning. A stream may appear that `discover` did not name (a new table): its schema comes with its batch.

        Raises:
            SourceUnavailable: the system went away; the supervisor closes this reading and opens another later.
            SourceStopped: the source cannot go on without a decision of the user's.
        """

    def confirm(self, boundary: Boundary) -> None:
        """Tells the source that everything up to `boundary` is durable in the log and need not be kept for us.

        Called only after the fsync, with boundaries of polled groups, never out of order.
        """

    def ask(self, request: Request) -> None:
        """Takes note of what a user wants of this reading, to be done in later polls. What became of it is kept in the
        resume point, so that it survives a crash, and shown by `progress`. Asking twice changes nothing.

        Raises:
            UserError: it cannot be done; nothing has changed.
        """

    def progress(self) -> Sequence[Progress]:
        """Snapshots that run, wait, or ended since this reading was opened."""

    def lag_bytes(self) -> int | None:
        """How many bytes of the source's own log lie between its head and what was last polled; None if unknown."""

    def close(self) -> None:
        """Gives up the connection. May be called twice."""


class Source(Protocol):
    """A configured connector."""

    name: str

    def tell_transactions(self) -> bool:
        """Lets groups carry rows of `<source>_transactions` (`capture.audit_trail`), if the source knows more of them
        than their commits' times. Returns whether it does. Called before `open`."""

    def check(self) -> list[str]:
        """Looks whether the source can be read and returns what opening it will do, a sentence each.

        Raises:
            SourceStopped: it cannot; the message says why and the hint the SQL or command that mends it.
            SourceUnavailable: it does not answer.
        """

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """The streams this source feeds, with their types as of now; with `resume`, those that reading on from there
        feeds, without what the settings name and that reading never began with."""

    def open(self, resume: Resume | None, decision: Request | None = None) -> Reader:
        """Begins to read after `resume` (the last durable group's), or from a snapshot when it is None.

        Args:
            resume: where the log ends.
            decision: what the user decided (`DECISIONS`). resnapshot: the captured tables are emptied and read again
                from a new position. accept_gap: if the position is lost for `decision.cause`, the reading begins where
                the source can, and its first group moves the boundary there and holds the gap (`capture.gap`). A resume
                point keeps the last decision's id as `decided`: one that has been carried out is not again.

        Raises:
            PositionLost: reading on would leave a gap that was not accepted: never skip over one.
            SourceStopped: it cannot go on for another reason.
        """

    def examine(self, resume: Resume) -> PositionLost | None:
        """Whether reading could go on after `resume`: what is lost, if not. Nothing is made or changed.

        Raises:
            SourceUnavailable: the source does not answer.
            SourceStopped: it refuses us.
        """

    def watcher(self) -> Watcher:
        """Something that looks at the source from the side, on a connection of its own."""

    def decode(self, record: bytes) -> ChangeBatch:
        """Decodes once more a record that was rejected at decode (`REJECT_SCHEMA`, `record`), with today's settings.

        Raises:
            UserError: it still cannot be decoded.
        """
