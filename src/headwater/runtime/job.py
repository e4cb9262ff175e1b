"""A supervised job: a thread whose body is begun again with back-off when what failed may pass."""

from __future__ import annotations

import errno
import sqlite3
import threading
from typing import Literal

from headwater.clock import Clock
from headwater.errors import HeadwaterError, StorageFailed
from headwater.runtime.journal import Journal

State = Literal["starting", "snapshotting", "running", "waiting", "done", "stopped"]

BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 30.0


class Job(threading.Thread):
    """Runs `body` until it returns, the job is told to stop, or an error that another try cannot mend.

    Subclasses implement `body`, call `healthy` when they have got going, and look at `stopping` often.

    Attributes:
        state: for the status page.
        error: the error that the job waits or stopped for.
        beat_s: when its loop last went round (`Clock.monotonic_s`); None while it does not go round on purpose: before
            it has got going, while it waits to try again, and after its end.
    """

    def __init__(self, name: str, journal: Journal, clock: Clock) -> None:
        super().__init__(name=name, daemon=True)
        self.journal = journal
        self.clock = clock
        self.stopping = threading.Event()
        self.state: State = "starting"
        self.error: HeadwaterError | None = None
        self.beat_s: float | None = None
        self._failures = 0

    def body(self) -> None:
        """The work; called again from the top after a retryable failure."""
        raise NotImplementedError

    def healthy(self, state: State = "running") -> None:
        """Notes that the job works, so that the next failure is tried again soon."""
        if self.state != state:
            self.state = state
            self.journal.write(f"{self.name.partition(':')[0]}.{state}", job=self.name)
        self.error = None
        self._failures = 0
        self.alive()

    def alive(self) -> None:
        """Notes that the loop goes round: for jobs that have one, at each turn."""
        self.beat_s = self.clock.monotonic_s()

    def is_final(self, failure: HeadwaterError) -> bool:
        """Whether a failure that may pass cannot pass any more."""
        return False

    def stop(self) -> None:
        """Asks the job to end at the next safe place."""
        self.stopping.set()

    def run(self) -> None:
        """The thread: runs the body under supervision."""
        while not self.stopping.is_set():
            self.beat_s = None
            try:
                self.body()
                self.beat_s = None
                self.state = "done"
                return
            except Exception as error:  # noqa: BLE001 the supervision edge: every failure becomes a state or a retry
                failure = as_headwater_error(error)
                failure.message = self.journal.secrets.mask(failure.message)
                failure.hint = self.journal.secrets.mask(failure.hint)
            self.error, self.beat_s = failure, None
            if not failure.retryable or self.is_final(failure):
                self.state = "stopped"
                self.journal.write(
                    f"{self.name.partition(':')[0]}.stopped",
                    "error",
                    job=self.name,
                    code=failure.code,
                    error=str(failure),
                    hint=failure.hint,
                )
                return
            self._back_off(failure)
        self.state = "done" if self.error is None else self.state

    def _back_off(self, failure: HeadwaterError) -> None:
        delay = min(BACKOFF_FIRST_S * 2**self._failures, BACKOFF_MOST_S)
        self._failures += 1
        self.state = "waiting"
        self.journal.write(
            f"{self.name.partition(':')[0]}.waiting",
            "warning",
            job=self.name,
            code=failure.code,
            error=str(failure),
            hint=failure.hint,
            next_try_s=delay,
        )
        self.clock.wait(self.stopping, delay)


def as_headwater_error(error: Exception) -> HeadwaterError:
    """Any exception as one of ours: the disk's errors are storage failures, all else unknown is a bug of ours."""
    if isinstance(error, HeadwaterError):
        return error
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
    if full or isinstance(error, sqlite3.OperationalError):
        failed = StorageFailed(f"the disk failed: {error}", hint="free some space; nothing was lost")
        failed.__cause__ = error
        return failed
    bug = HeadwaterError(
        f"{type(error).__name__}: {error}", hint="this is a bug of Headwater's; the traceback is in the state folder"
    )
    bug.__cause__ = error
    return bug
