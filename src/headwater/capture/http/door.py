"""Where requests wait for the capture thread: the server's threads bring them, one reading takes them."""

from __future__ import annotations

import threading
from collections import deque

from headwater.capture.http.submission import NotTaken, Submission

SHUT = "the source is not being read now; try again soon"


class Full(Exception):
    """No more can be taken in at present: the log is slower than what comes."""


class Door:
    """A queue with a limit in bytes, open while a reading takes from it.

    Args:
        most_bytes: what may wait.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._waiting: deque[Submission] = deque()
        self._bytes = 0
        self._open = False
        self._changed = threading.Condition()

    def offer(self, submission: Submission) -> None:
        """Puts a request in line.

        Raises:
            Full: too much waits, or nobody takes anything out at present. The request was not taken.
        """
        with self._changed:
            if not self._open:
                raise Full(SHUT)
            if self._waiting and self._bytes + submission.size > self._most:
                raise Full("more is coming in than the log can take; try again soon")
            self._waiting.append(submission)
            self._bytes += submission.size
            self._changed.notify()

    def take(self, timeout_s: float, most_records: int, most_bytes: int) -> list[Submission]:
        """Requests in the order in which they came, at least one if any comes in time."""
        taken: list[Submission] = []
        records = size = 0
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            while self._waiting and (not taken or (records < most_records and size < most_bytes)):
                submission = self._waiting.popleft()
                taken.append(submission)
                records += submission.messages.num_rows
                size += submission.size
            self._bytes -= size
        return taken

    def unlock(self) -> None:
        """A reading has begun."""
        with self._changed:
            self._open = True

    def shut(self) -> None:
        """The reading has ended: whoever waits is told to come again."""
        with self._changed:
            self._open = False
            left, self._waiting, self._bytes = list(self._waiting), deque(), 0
        for submission in left:
            submission.refuse(NotTaken(503, SHUT))

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes
