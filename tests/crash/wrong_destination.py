"""Destinations with a bug put in, to see that the campaign finds it."""

from __future__ import annotations

from collections.abc import Callable

from headwater.deliver.destination import Batch, Destination, Outcomes, Session, Sync
from headwater.project.definition import SyncDefinition
from headwater.project.destinations import make_destination
from headwater.runtime import delivery_job


class ForgetsReceipts:
    """A session that does not know what it holds, and does not say so."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def held(self) -> str | None:
        return ""

    def deliver(self, batch: Batch) -> Outcomes:
        return self._inner.deliver(batch)

    def close(self) -> None:
        self._inner.close()


class AnswersEarly(ForgetsReceipts):
    """A session that says that records are delivered, and writes them when it is asked the next time."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self._waiting: Batch | None = None

    def held(self) -> str | None:
        return None

    def deliver(self, batch: Batch) -> Outcomes:
        before, self._waiting = self._waiting, batch
        if before is not None:
            self._inner.deliver(before)
        return Outcomes.delivered(len(batch))


SENDING_BUGS: dict[str, Callable[[Session], Session]] = {
    "forget-receipt": ForgetsReceipts, "answer-before-commit": AnswersEarly,
}  # fmt: skip


class _Wrong:
    def __init__(self, inner: Destination, bug: Callable[[Session], Session]) -> None:
        self._inner, self._bug = inner, bug
        self.exactly_once, self.wants_before = inner.exactly_once, inner.wants_before
        self.repeats_keys, self.send = inner.repeats_keys, inner.send

    def check(self, sync: Sync) -> list[str]:
        return self._inner.check(sync)

    def open(self, sync: Sync) -> Session:
        return self._bug(self._inner.open(sync))

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        return self._inner.preview(sync, batch)


def put_in(bug: str) -> None:
    """Makes every destination of this process have the bug."""

    def wrong(sync: SyncDefinition) -> Destination:
        return _Wrong(make_destination(sync), SENDING_BUGS[bug])

    delivery_job.make_destination = wrong  # type: ignore[attr-defined]
