"""What is kept of one queue while it is read: what came already, and where in a RabbitMQ stream the reading stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headwater.capture.messages.shaping import Shaped, StreamShaper
from headwater.capture.rabbitmq.delivery import Delivery, identity, messages, whole
from headwater.capture.rabbitmq.settings import QueueSettings
from headwater.capture.rabbitmq.window import Window, fingerprint
from headwater.errors import PositionLost, SourceStopped
from headwater.position import JsonScalar, Position, Resume

WINDOW, OFFSET, MARK = "window:", "offset:", "mark:"
"""Beginnings of the keys of a resume point; the queue's name follows."""


@dataclass
class Taken:
    """What became of some deliveries of one queue.

    Attributes:
        shaped: the new messages, shaped; None if there were none.
        count: how many positions they take.
        repeated: messages that were taken before, left out.
        marks: what to settle in the window when they are acknowledged.
        refused: delivery tags of rejected messages that the server is to dead-letter.
    """

    shaped: Shaped | None = None
    count: int = 0
    repeated: int = 0
    marks: list[bytes] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


class Intake(Protocol):
    """One queue of one reading."""

    queue: str
    stream: str
    exclusive: bool
    """Whether nobody else may read it at the same time."""

    def behind(self, count: int) -> int:
        """How many messages wait, of a queue that says that it holds `count`."""

    def arguments(self) -> dict[str, object]:
        """Arguments to consume it with."""

    def take(self, deliveries: Sequence[Delivery], first: Position, reading_s: float) -> Taken:
        """Shapes deliveries, in order.

        Args:
            deliveries: what came.
            first: position of the first new one.
            reading_s: seconds that have been spent in reading, a long pause counting little.

        Raises:
            SourceStopped: they do not come from what the settings say the queue is, or not from where they must.
        """

    def kept(self) -> dict[str, JsonScalar]:
        """What the resume point must hold of it."""

    def settle(self, taken: Taken, reading_s: float) -> None:
        """Notes that deliveries were acknowledged."""


class QueueIntake:
    """A classic or quorum queue.

    Args:
        queue: its name.
        settings: what to do with its messages.
        shaper: makes its stream.
        window: which messages came already.
    """

    exclusive = True

    def __init__(self, queue: str, settings: QueueSettings, shaper: StreamShaper, window: Window) -> None:
        self.queue, self.stream = queue, shaper.name
        self._settings = settings
        self._shaper = shaper
        self._window = window

    def behind(self, count: int) -> int:
        """See `Intake.behind`."""
        return count

    def arguments(self) -> dict[str, object]:
        """See `Intake.arguments`."""
        return {}

    def take(self, deliveries: Sequence[Delivery], first: Position, reading_s: float) -> Taken:
        """See `Intake.take`."""
        taken, new, marks = Taken(), [], []
        for delivery in deliveries:
            if delivery.offset is not None:
                raise SourceStopped(
                    f"{self.queue!r} is a RabbitMQ stream, and is read as a queue",
                    hint=f"set queues: {{{self.queue}: {{kind: stream}}}}",
                )
            mark = self._mark(delivery)
            if mark is not None:
                taken.marks.append(mark)
            if mark is not None and self._repeated(mark, delivery):
                taken.repeated += 1
                if self._dead_letters and self._window.rejected(mark):
                    taken.refused.append(delivery.tag)
            else:
                new.append(delivery)
                marks.append(mark)
        if new:
            shaped = self._shaper.shape(messages(new), first)
            taken.shaped, taken.count = shaped, len(new)
            for number in shaped.rejected.tolist():
                self._reject(new[number], marks[number], taken)
        self._window.forget(reading_s)
        return taken

    def kept(self) -> dict[str, JsonScalar]:
        """See `Intake.kept`."""
        return {WINDOW + self.queue: self._window.text}

    def settle(self, taken: Taken, reading_s: float) -> None:
        """See `Intake.settle`."""
        for mark in taken.marks:
            self._window.settle(mark, reading_s)

    @property
    def _dead_letters(self) -> bool:
        return self._settings.rejected == "dead_letter"

    def _mark(self, delivery: Delivery) -> bytes | None:
        if self._settings.deduplicate == "message_id":
            return identity(delivery)
        return whole(delivery) if self._settings.deduplicate == "hash" else None

    def _repeated(self, mark: bytes, delivery: Delivery) -> bool:
        by_hash = self._settings.deduplicate == "hash"
        if by_hash and not delivery.redelivered:
            self._window.add(mark)
            return False
        return self._window.seen(mark, one_for_one=by_hash)

    def _reject(self, delivery: Delivery, mark: bytes | None, taken: Taken) -> None:
        if self._dead_letters:
            taken.refused.append(delivery.tag)
            if mark is not None:
                self._window.reject(mark)


class StreamIntake:
    """A RabbitMQ stream: read on from the last message that the log holds, which must still be the same.

    Args:
        queue: its name.
        settings: what to do with its messages.
        shaper: makes its stream.
        source: the source's name, for what is said of a loss.
        resume: where the log ends; None at the beginning.
        oldest: offset of the oldest message that it keeps, 0 if it has none.
    """

    exclusive = False

    def __init__(
        self,
        queue: str,
        settings: QueueSettings,
        shaper: StreamShaper,
        source: str,
        resume: Resume | None,
        oldest: int,
    ) -> None:
        self.queue, self.stream = queue, shaper.name
        self._shaper = shaper
        self._source = source
        offset = (resume or {}).get(OFFSET + queue)
        self._last = int(offset) if offset is not None else -1
        self._start = settings.start if offset is None else "first"
        self._oldest = oldest
        self._last_mark = str((resume or {}).get(MARK + queue) or "")
        self._proven = self._last < 0

    def behind(self, count: int) -> int:
        """See `Intake.behind`. A stream counts all that it keeps."""
        return max(0, self._oldest + count - 1 - self._last)

    def arguments(self) -> dict[str, object]:
        """See `Intake.arguments`. The last message is asked for again: it proves that this is the same stream."""
        return {"x-stream-offset": self._last if self._last >= 0 else self._start}

    def take(self, deliveries: Sequence[Delivery], first: Position, reading_s: float) -> Taken:
        """See `Intake.take`."""
        taken, new = Taken(), []
        for delivery in deliveries:
            if delivery.offset is None:
                raise SourceStopped(
                    f"{self.queue!r} is no RabbitMQ stream, and is read as one",
                    hint=f"set queues: {{{self.queue}: {{kind: queue}}}}",
                )
            self.prove(delivery)
            if delivery.offset > self._last:
                new.append(delivery)
        if new:
            self._last, self._last_mark = int(new[-1].offset or 0), _mark(new[-1])
            taken.shaped, taken.count = self._shaper.shape(messages(new), first), len(new)
        return taken

    def kept(self) -> dict[str, JsonScalar]:
        """See `Intake.kept`."""
        return (
            {}
            if self._last < 0 and self._start != "first"
            else {OFFSET + self.queue: self._last, MARK + self.queue: self._last_mark}
        )

    def settle(self, taken: Taken, reading_s: float) -> None:
        """See `Intake.settle`. Nothing depends on it: a stream keeps its messages."""

    def prove(self, delivery: Delivery) -> None:
        """Looks whether the first message of the reading is the one that the log ends with, or the one after it.

        Raises:
            PositionLost: it is neither.
        """
        if self._proven:
            return
        offset = int(delivery.offset or 0)
        if offset < self._last:
            raise self._lost("stream_made_anew", f"its newest message has offset {offset:,}", offset)
        if offset == self._last and _mark(delivery) != self._last_mark:
            raise self._lost("stream_made_anew", "another message stands there now", 0)
        if offset > self._last + 1:
            raise self._lost("stream_truncated", f"its oldest message has offset {offset:,}", offset)
        self._proven = True

    def _lost(self, cause: str, what: str, until: int) -> PositionLost:
        return PositionLost(
            f"the log ends at offset {self._last:,} of the RabbitMQ stream {self.queue!r}, and {what}",
            source=self._source,
            cause=cause,
            since=f"{self.queue}/{self._last}",
            until=f"{self.queue}/{until}",
        )


def _mark(delivery: Delivery) -> str:
    return fingerprint(delivery.body, delivery.routing_key.encode()).hex()
