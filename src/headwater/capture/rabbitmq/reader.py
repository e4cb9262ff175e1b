"""One open reading of RabbitMQ queues: deliveries become groups, and are acknowledged when these are durable.

All queues are consumed on one channel, so that the numbers of deliveries are in order over all of them and one
acknowledgement (`multiple`) says everything up to a group's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pika
import pyarrow as pa
from pika.adapters.blocking_connection import BlockingChannel

from headwater import failpoint
from headwater.capture.rabbitmq.connection import ERRORS, close, failed
from headwater.capture.rabbitmq.delivery import Delivery
from headwater.capture.rabbitmq.intake import Intake, Taken
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group
from headwater.clock import Clock
from headwater.errors import SourceUnavailable, UserError
from headwater.position import Boundary, JsonScalar, Position, Resume

GROUP_BYTES = 16 << 20
LAG_S = 1.0
"""Seconds between two looks at how many messages wait."""
PAUSE_S = 1.0
"""Of a longer pause between two polls no more counts as time of reading."""
TAKEN, DECIDED = "taken", "decided"


@dataclass
class Figures:
    """What a reading tells its source's watcher.

    Attributes:
        unacknowledged: messages that were delivered and are not acknowledged.
        repeated: messages that were delivered again and left out, since the source was made.
    """

    unacknowledged: int = 0
    repeated: int = 0


@dataclass
class _Offered:
    """A group that waits to be confirmed.

    Attributes:
        commit: of its boundary.
        tag: number of its last delivery.
        count: how many deliveries it ends.
        taken: what became of them, by queue.
    """

    commit: int
    tag: int
    count: int
    taken: Mapping[str, Taken]


class RabbitmqReader:
    """See `headwater.capture.source.Reader`.

    Args:
        connection: open; the reader closes it.
        channel: of it, with `prefetch` set.
        intakes: by queue.
        resume: where the log ends; None at the beginning.
        figures: to be kept up to date.
        first: a group to be offered before all others; None for none.
        clock: time.
    """

    def __init__(
        self,
        connection: pika.BlockingConnection,
        channel: BlockingChannel,
        intakes: Mapping[str, Intake],
        resume: Resume,
        figures: Figures,
        first: Group | None,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._intakes = intakes
        self._resume = resume
        self._figures = figures
        self._first = first
        self._clock = clock
        self._taken = int(resume.get(TAKEN) or 0)
        self._waiting: deque[Delivery] = deque()
        self._offered: deque[_Offered] = deque()
        self._cancelled = ""
        self._reading_s = 0.0
        self._polled_s = clock.monotonic_s()
        self._looked_s: float | None = None
        self._ready_messages: int | None = None
        self._none_then, self._taken_then = False, -1
        self._mean_bytes = 100.0
        figures.unacknowledged = 0

    def consume(self, *, exclusive: bool) -> None:
        """Begins to consume all queues.

        Raises:
            SourceUnavailable, SourceStopped: a queue cannot be consumed.
        """
        for queue, intake in self._intakes.items():
            try:
                self._channel.add_on_cancel_callback(self._on_cancel)
                self._channel.basic_consume(
                    queue, self._callback(queue), arguments=intake.arguments(), consumer_tag=f"headwater.{queue}",
                    exclusive=exclusive and intake.exclusive,
                )  # fmt: skip
            except ERRORS as error:
                failed(error, f"consuming queue {queue!r}")

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`. All that has been delivered by then is one group."""
        if self._first is not None:
            group, self._first = self._first, None
            return group
        self._pump(0.0 if self._waiting else timeout_s)
        if not self._waiting:
            return None
        deliveries, size = [], 0
        while self._waiting and size < GROUP_BYTES:
            deliveries.append(self._waiting.popleft())
            size += len(deliveries[-1].body) + 100
        self._mean_bytes = size / len(deliveries)
        return self._group(deliveries)

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`. Acknowledges the deliveries up to there; of rejected messages the server is told to
        dead-letter them, where the settings say so."""
        failpoint.reach("capture.confirm.before")
        done = []
        while self._offered and self._offered[0].commit <= boundary.position.commit:
            done.append(self._offered.popleft())
        if done:
            try:
                self._answer(done)
            except ERRORS as error:
                failed(error, "acknowledging messages")
        for group in done:
            self._figures.unacknowledged -= group.count
            for queue, taken in group.taken.items():
                self._intakes[queue].settle(taken, self._reading_s)
        failpoint.reach("capture.confirm.after")

    def _answer(self, done: Sequence[_Offered]) -> None:
        """Answers for all deliveries of these groups, run by run: a number may be named only once."""
        refused = sorted(tag for group in done for taken in group.taken.values() for tag in taken.refused)
        answered = done[0].tag - done[0].count
        for number, tag in enumerate(refused):
            if tag - 1 > answered:
                self._channel.basic_ack(tag - 1, multiple=True)
            if number + 1 == len(refused) or refused[number + 1] != tag + 1:
                self._channel.basic_nack(tag, multiple=True, requeue=False)
            answered = tag
        if done[-1].tag > answered:
            self._channel.basic_ack(done[-1].tag, multiple=True)

    def ask(self, request: Request) -> None:
        """See `Reader.ask`."""
        raise UserError(
            f"{request.action} cannot be asked of a RabbitMQ source: what was acknowledged is not in its queues"
        )

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """See `Reader.lag_bytes`: messages that wait in the queues, by their mean size; 0 if there are none.

        A quorum queue whose leader is busy says 0 whatever it holds. So none are there only when two looks found none,
        and nothing was delivered in between.
        """
        now = self._clock.monotonic_s()
        if self._looked_s is None or now - self._looked_s >= LAG_S:
            try:
                ready = sum(self._ready(intake) for intake in self._intakes.values())
            except ERRORS as error:
                failed(error, "asking how many messages wait")
            quiet = self._taken == self._taken_then
            self._ready_messages = ready or (0 if self._none_then and quiet else None)
            self._looked_s, self._none_then, self._taken_then = now, ready == 0, self._taken
        if self._ready_messages is None:
            return None
        return int((self._ready_messages + len(self._waiting)) * self._mean_bytes)

    def close(self) -> None:
        """See `Reader.close`. What was not acknowledged goes back into its queue."""
        self._figures.unacknowledged = 0
        close(self._connection)

    def _ready(self, intake: Intake) -> int:
        found = self._channel.queue_declare(intake.queue, passive=True)
        return intake.behind(int(found.method.message_count))

    def _pump(self, timeout_s: float) -> None:
        """Lets pika read, answer heartbeats and call back.

        Raises:
            SourceUnavailable: connection, channel or consumer are gone.
        """
        now = self._clock.monotonic_s()
        self._reading_s += min(now - self._polled_s, PAUSE_S)
        self._polled_s = now
        try:
            self._connection.process_data_events(timeout_s)
        except ERRORS as error:
            failed(error, "reading from RabbitMQ")
        if self._cancelled:
            raise SourceUnavailable(f"RabbitMQ ended the reading of queue {self._cancelled!r}: deleted, or moved")
        if self._channel.is_closed:
            raise SourceUnavailable("RabbitMQ closed the channel; what was not acknowledged comes again")

    def _group(self, deliveries: Sequence[Delivery]) -> Group:
        by_queue: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_queue.setdefault(delivery.queue, []).append(delivery)
        commit, ordinal = self._taken + 1, 0
        taken: dict[str, Taken] = {}
        for queue, some in by_queue.items():
            taken[queue] = self._intakes[queue].take(some, Position(commit, ordinal), self._reading_s)
            ordinal += taken[queue].count
        self._taken += len(deliveries)
        self._offered.append(_Offered(commit, deliveries[-1].tag, len(deliveries), taken))
        return self._made(taken, Position(commit, max(0, ordinal - 1)), deliveries)

    def _made(self, taken: Mapping[str, Taken], position: Position, deliveries: Sequence[Delivery]) -> Group:
        batches: list[ChangeBatch] = []
        rejects: list[pa.RecordBatch] = []
        filtered: dict[str, int] = {}
        for queue, one in taken.items():
            self._figures.repeated += one.repeated
            left_out = one.repeated
            if one.shaped is not None:
                batches += one.shaped.batches
                rejects += [one.shaped.rejects] if one.shaped.rejects is not None else []
                left_out += one.shaped.filtered
            if left_out:
                filtered[self._intakes[queue].stream] = left_out
        kept = {key: value for intake in self._intakes.values() for key, value in intake.kept().items()}
        resume: dict[str, JsonScalar] = {TAKEN: self._taken, DECIDED: self._resume.get(DECIDED), **kept}
        time_us = max((delivery.time_us or 0 for delivery in deliveries), default=0)
        boundary = Boundary(position, resume, time_us)
        return Group(boundary, tuple(batches), _joined(rejects), filtered)

    def _callback(self, queue: str) -> Callable[[BlockingChannel, Any, pika.BasicProperties, bytes], None]:
        def on_message(channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            self._figures.unacknowledged += 1
            self._waiting.append(
                Delivery(queue, method.delivery_tag, method.redelivered, method.exchange, method.routing_key,
                         properties, body)
            )  # fmt: skip

        return on_message

    def _on_cancel(self, frame: Any) -> None:
        self._cancelled = frame.method.consumer_tag.removeprefix("headwater.")


def _joined(rejects: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    if not rejects:
        return None
    return pa.Table.from_batches(rejects).combine_chunks().to_batches()[0]
