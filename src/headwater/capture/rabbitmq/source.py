"""RabbitMQ as a source: queues are consumed, and a message is acknowledged when it is durable in the log.

A message that the server delivers again is left out (`headwater.capture.rabbitmq.window`). Nothing is made or changed
in the server.
"""

from __future__ import annotations

from collections.abc import Sequence

import pika
from pika.adapters.blocking_connection import BlockingChannel

from headwater.capture.gap import Gap, gap_reject
from headwater.capture.messages.message import unframe
from headwater.capture.messages.shaping import StreamShaper
from headwater.capture.rabbitmq.connection import ERRORS, close, connect, connected, failed
from headwater.capture.rabbitmq.diagnosis import diagnose
from headwater.capture.rabbitmq.intake import OFFSET, WINDOW, Intake, QueueIntake, StreamIntake
from headwater.capture.rabbitmq.probe import first_message
from headwater.capture.rabbitmq.reader import DECIDED, TAKEN, Figures, RabbitmqReader
from headwater.capture.rabbitmq.settings import RabbitmqSettings
from headwater.capture.rabbitmq.watch import RabbitmqWatcher
from headwater.capture.rabbitmq.window import Window
from headwater.capture.request import Request
from headwater.change import ChangeBatch, Group
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, PositionLost, SourceUnavailable, UserError
from headwater.finding import Finding
from headwater.position import Boundary, Position, Resume
from headwater.registry.store import SchemaStore
from headwater.schema import StreamSchema


class RabbitmqSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project.
        settings: from `headwater.yml`.
        project: name of the project; part of the name that the server shows of our connections.
        identity: not needed: a queue has one reader.
        clock: time.
    """

    def __init__(
        self,
        name: str,
        settings: RabbitmqSettings,
        *,
        project: str,
        identity: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._label = f"headwater {project}/{name}"
        self._clock = clock or SystemClock()
        self._figures = Figures()
        self._streams = settings.streams_by_queue()
        self.schemas: SchemaStore | None = None

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """See `Source.check`."""
        told = []
        with connected(self.settings, self._label, f"looking at the queues of source {self.name!r}") as connection:
            for queue, stream in self._streams.items():
                found = connection.channel().queue_declare(queue, passive=True).method
                told.append(
                    f"reads queue {queue!r} into stream {stream}: {found.message_count:,} messages wait, "
                    f"{found.consumer_count} consumers read it now"
                )
        return told

    def diagnose(self, resume: Resume | None) -> Sequence[Finding]:
        """See `headwater.capture.diagnosable.Diagnosable`."""
        return diagnose(self, self._label, resume)

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`."""
        found = [self._shaper(queue).stream() for queue in self._streams]
        return [stream for stream in found if stream is not None]

    def open(self, resume: Resume | None, decision: Request | None = None) -> RabbitmqReader:
        """See `Source.open`. What of a stream's messages is lost shows when its first one comes."""
        resume, first = dict(resume or {}), None
        if decision is not None and decision.id != resume.get(DECIDED):
            first = self._decide(resume, decision)
            resume = first.boundary.resume if first is not None else resume
        connection = connect(self.settings, self._label)
        try:
            channel = self._channel(connection)
            intakes = {queue: self._intake(queue, resume, connection) for queue in self._streams}
            reader = RabbitmqReader(connection, channel, intakes, resume, self._figures, first, self._clock)
            reader.consume(exclusive=self.settings.exclusive)
        except ERRORS as error:
            close(connection)
            failed(error, f"opening source {self.name!r}")
        except HeadwaterError:
            close(connection)
            raise
        return reader

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`. Queues have no position to lose."""
        with connected(self.settings, self._label, f"examining source {self.name!r}") as connection:
            for queue, settings in self.settings.queues.items():
                if settings.kind == "queue":
                    continue
                intake = StreamIntake(queue, settings, self._shaper(queue), self.name, resume, 0)
                found = first_message(connection, queue, intake.arguments())
                try:
                    if found is not None:
                        intake.prove(found)
                except PositionLost as lost:
                    return lost
        return None

    def watcher(self) -> RabbitmqWatcher:
        """See `Source.watcher`."""
        return RabbitmqWatcher(self.settings, f"{self._label} (watching)", self._figures)

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        queue = str(unframe(record)[0].column("partition")[0].as_py())
        if queue not in self._streams:
            raise UserError(f"queue {queue!r} is not read any more", hint="put it back into the source's queues")
        return self._shaper(queue).decode(record)

    def _shaper(self, queue: str) -> StreamShaper:
        return StreamShaper(self._streams[queue], self.settings.queues[queue], self.schemas, self.schemas)

    def _channel(self, connection: pika.BlockingConnection) -> BlockingChannel:
        """The channel that all queues are consumed on, once nobody else reads them: what a former reading of ours did
        not acknowledge comes first then."""
        channel = connection.channel()
        for queue, settings in self.settings.queues.items():
            found = channel.queue_declare(queue, passive=True)
            if self.settings.exclusive and settings.kind == "queue" and found.method.consumer_count:
                raise SourceUnavailable(
                    f"another consumer reads queue {queue!r}",
                    hint="end it, or set `exclusive: false`; one that has just died is gone when the server misses its "
                    "heartbeats",
                )
        channel.basic_qos(prefetch_count=self.settings.prefetch)
        return channel

    def _intake(self, queue: str, resume: Resume, connection: pika.BlockingConnection) -> Intake:
        settings, shaper = self.settings.queues[queue], self._shaper(queue)
        if settings.kind == "stream":
            return StreamIntake(queue, settings, shaper, self.name, resume, _oldest(connection, queue))
        size = max(self.settings.deduplicate_window, 2 * self.settings.prefetch)
        text = str(resume.get(WINDOW + queue) or "")
        return QueueIntake(queue, settings, shaper, Window(size, self.settings.deduplicate_for_s, text))

    def _decide(self, resume: Resume, decision: Request) -> Group | None:
        """Carries out that a loss was accepted; the first group holds the gap, and reads on at a stream's oldest
        message.

        Raises:
            PositionLost: it is another loss than the one accepted.
            UserError: a queue cannot be read again.
        """
        if decision.action != "accept_gap":
            raise UserError(
                f"{decision.action} cannot be asked of a RabbitMQ source: messages that were acknowledged are gone",
                hint=f"headwater source accept-gap {self.name}",
            )
        lost = self.examine(resume)
        if lost is None:
            return None
        if decision.cause and decision.cause != lost.cause:
            raise lost
        gap = Gap(
            source=self.name, cause=lost.cause, message=lost.message, since=lost.since, until=lost.until,
            lost_bytes=None, accepted_us=self._clock.now_us(), decision=decision.id, reason=decision.reason,
        )  # fmt: skip
        queue = lost.since.rpartition("/")[0]
        commit = int(resume.get(TAKEN) or 0) + 1
        moved = {**resume, TAKEN: commit, DECIDED: decision.id, OFFSET + queue: -1}
        return Group(Boundary(Position(commit), moved), rejects=gap_reject(gap))


def _oldest(connection: pika.BlockingConnection, stream: str) -> int:
    """Offset of the oldest message that a RabbitMQ stream keeps; 0 if there is none."""
    channel = connection.channel()
    count = channel.queue_declare(stream, passive=True).method.message_count
    channel.close()
    found = first_message(connection, stream, {"x-stream-offset": "first"}) if count else None
    return found.offset or 0 if found is not None else 0
