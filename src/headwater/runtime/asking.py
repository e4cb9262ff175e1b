"""Hands users' requests to a reading: those that it takes note of are done once its resume point tells of them."""

from __future__ import annotations

from headwater.capture.request import DECISIONS, Request
from headwater.capture.source import Reader
from headwater.capture.worklist import is_taken
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.position import Resume
from headwater.runtime.journal import Journal
from headwater.runtime.requests import Requests

LOOK_S = 0.25
"""Seconds between two looks for requests."""


class Asking:
    """The requests of one reading.

    Args:
        reader: whom to ask.
        requests: the files; None if nobody can ask.
        journal: where is told what became of them.
        clock: time.
        source: the source's name.
    """

    def __init__(self, reader: Reader, requests: Requests | None, journal: Journal, clock: Clock, source: str) -> None:
        self._reader, self._requests, self._journal, self._clock = reader, requests, journal, clock
        self._source = source
        self._asked: dict[str, Request] = {}
        self._looked_at: float | None = None

    @property
    def waits(self) -> bool:
        """Whether something was asked for that is not in the log, or a snapshot is not through."""
        return bool(self._asked) or any(task.state in ("waiting", "running") for task in self._reader.progress())

    def look(self) -> None:
        """Asks for what is new, now and then.

        Raises:
            StorageFailed: what was refused could not be written down.
        """
        now = self._clock.monotonic_s()
        if self._requests is None or (self._looked_at is not None and now - self._looked_at < LOOK_S):
            return
        self._looked_at = now
        for request in self._requests.pending():
            if request.action not in DECISIONS and request.id not in self._asked:
                self._ask(self._requests, request)

    def _ask(self, requests: Requests, request: Request) -> None:
        try:
            self._reader.ask(request)
        except UserError as error:
            requests.refuse(request.id, f"{error}" + (f" ({error.hint})" if error.hint else ""))
            self._journal.write(
                "source.request_refused", "warning", source=self._source, request=request.action, error=str(error)
            )
            return
        self._asked[request.id] = request

    def durable(self, resume: Resume) -> None:
        """Forgets the requests that a durable resume point tells of."""
        taken = [name for name in self._asked if is_taken(resume.get("snapshots"), name)]
        for name in taken:
            request = self._asked.pop(name)
            if self._requests is not None:
                self._requests.done(name)
            self._journal.write(
                "source.request_taken", source=self._source, request=request.action, tables=", ".join(request.tables)
            )
