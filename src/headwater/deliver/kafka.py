"""Kafka as a destination: a transaction for each call, which holds its records and a note of which they are.

The note (`Batch.receipt`) is a message of a topic of the sync's own, written in the very transaction: who reads
committed messages finds the last one, and with it what is there. A transactional id is the sync's: opening the sync
anew fences whoever else has it open, and what that one has not committed is aborted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from headwater.deliver.destination import Batch, Outcomes, Send, Sync
from headwater.deliver.isolation import isolate
from headwater.deliver.kafka_messages import Encode, Encoders, Message, messages
from headwater.deliver.kafka_settings import KafkaSettings
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError
from headwater.finding import Finding, is_loopback, sentences, way
from headwater.formats.encoder import Encoder, ValueRefused, make_encoder
from headwater.formats.schema_source import SchemaSource
from headwater.formats.settings import JsonFormat
from headwater.kafka.connection import configuration
from headwater.kafka.control import Control
from headwater.kafka.failures import hint_of

FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
Noting = Callable[[KafkaError | None, object], None]
TIMEOUT_S = 30.0
LARGEST = 1_000_000
"""What brokers take if nobody has said otherwise."""
TAIL = 16
"""Offsets that are looked at first for the last note: it and its transaction's mark are two."""


def _rights(topic: str, allowed: frozenset[str]) -> Finding:
    """Whether we may write to a topic."""
    if "WRITE" in allowed or not allowed:  # brokers without an authorizer, or too old to say
        return Finding("rights", "ok", f"we may write to topic {topic}")
    mend = f"kafka-acls.sh --add --allow-principal User:... --operation Write --topic {topic}"
    return Finding("rights", "fail", f"we may not write to topic {topic}", mend)


def _compacted(control: Control, progress: str) -> Iterator[Finding]:
    """Whether the notes of what was delivered are kept for ever."""
    kept_ms = control.retention_ms([progress]).get(progress, -1)
    if kept_ms < 0:
        yield Finding("notes", "ok", f"topic {progress} keeps the newest note")
        return
    told = f"topic {progress} is not compacted: after {kept_ms / 3_600_000:.1f} quiet hours the last note is gone"
    alter = "kafka-configs.sh --alter --entity-type topics --entity-name"
    yield Finding("notes", "warn", told, f"{alter} {progress} --add-config cleanup.policy=compact")


class KafkaDestination:
    """See `headwater.deliver.destination.Destination`."""

    exactly_once = True
    repeats_keys = True
    send: Send = "every"

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.wants_before = settings.envelope == "debezium"

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        there = self._control(sync).names()
        settings = self.settings
        if settings.topic not in there and not settings.create:
            raise DestinationStopped(
                f"sync {sync.name!r}: there is no topic {settings.topic}, or we may not see it",
                hint="create: true makes it, or kafka-topics.sh --create",
            )
        made = "" if settings.topic in there else ", which is made"
        return [
            f"sends {settings.envelope} messages in {settings.format.type} to topic {settings.topic}{made}",
            f"notes in topic {self._progress(sync)} what each transaction holds",
        ]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`."""
        settings, control, progress = self.settings, self._control(sync), self._progress(sync)
        there = set(control.names())
        servers = [server.strip() for server in settings.servers.split(",")]
        far = next((server for server in servers if not is_loopback(server)), servers[0])
        found = [way(far, encrypted=settings.tls, mend="tls: true, with a TLS listener")]
        found += sentences("topic", lambda: self.check(sync))
        found += [_rights(topic, control.allowed(topic)) for topic in sorted({settings.topic, progress} & there)]
        return [*found, *(_compacted(control, progress) if progress in there else ())]

    def open(self, sync: Sync) -> KafkaSession:
        """See `Destination.open`."""
        self.check(sync)
        control, settings = self._control(sync), self.settings
        there = control.names()
        if settings.topic not in there:
            policy = "compact" if settings.envelope == "upsert" else "delete"
            control.make_topic(settings.topic, settings.partitions, {"cleanup.policy": policy})
        if self._progress(sync) not in there:
            control.make_topic(self._progress(sync), 1, {"cleanup.policy": "compact", "segment.ms": "3600000"})
        largest = int(settings.options.get("message.max.bytes", LARGEST))
        return KafkaSession(
            settings, sync, self._progress(sync), min(largest, control.largest_message(settings.topic) or largest)
        )

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        return [
            message.shown()
            for message in messages(readable(self.settings), sync, batch, encoders(readable(self.settings)))
        ]

    def _progress(self, sync: Sync) -> str:
        return self.settings.progress_topic or f"headwater-{sync.project}-{sync.name}-progress"

    def _control(self, sync: Sync) -> Control:
        given = configuration(self.settings, sync.id)
        return Control(given, f"asking the brokers about sync {sync.name!r}", failed=_refused)


class KafkaSession:
    """See `headwater.deliver.destination.Session`.

    Args:
        settings: the destination's.
        sync: what is sent.
        progress: topic of the notes.
        largest: most bytes of a message.

    Raises:
        DestinationStopped, DestinationUnavailable: as `Destination.open`.
    """

    def __init__(self, settings: KafkaSettings, sync: Sync, progress: str, largest: int) -> None:
        self._settings, self._sync, self._progress = settings, sync, progress
        self._encoders = encoders(settings, sync.schemas)
        self._largest = largest
        self._producer = Producer(
            {
                **configuration(settings, sync.id),
                "transactional.id": f"headwater-{sync.id}",
                "enable.idempotence": True,
                "acks": "all",
                "transaction.timeout.ms": settings.transaction_timeout_s * 1000,
                "compression.type": settings.compression,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "message.max.bytes": 2 * LARGEST,
                "batch.size": min(1_000_000, largest),
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._call("taking the sync over", lambda: self._producer.init_transactions(TIMEOUT_S))

    def held(self) -> str | None:
        """See `Session.held`."""
        consumer = Consumer(
            {
                **configuration(self._settings, self._sync.id),
                "group.id": f"headwater-{self._sync.id}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            return str(self._call("reading what is held", lambda: self._last_note(consumer)))
        finally:
            consumer.close()

    def _last_note(self, consumer: Consumer) -> str:
        place = TopicPartition(self._progress, 0)
        low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
        reach = TAIL
        while True:
            start = max(low, high - reach)
            found = self._notes_from(consumer, start)
            if found is not None or start == low:
                note = json.loads(found) if found is not None else {}
                return str(note["receipt"]) if note.get("outbox") == self._sync.outbox else ""
            reach *= 16

    def _notes_from(self, consumer: Consumer, start: int) -> bytes | None:
        """The last note at `start` or later."""
        consumer.assign([TopicPartition(self._progress, 0, start)])
        last: bytes | None = None
        while True:
            message = consumer.poll(TIMEOUT_S)
            if message is None:
                raise DestinationUnavailable(f"topic {self._progress} is not read to its end")
            error = message.error()
            if error is None:
                last = message.value() if message.key() == self._sync.id.encode() else last
            elif error.code() == KafkaError._PARTITION_EOF:
                return last
            else:
                raise KafkaException(error)

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`: all of the call or nothing, but for messages that the brokers refuse."""
        made, refused = self._written(batch)
        refused |= {
            message.row: f"the message has {message.size:,} bytes, more than {self._largest:,} (message.max.bytes)"
            for message in made
            if message.size > self._largest
        }
        while True:
            outcomes = _outcomes(batch, made, refused)
            left = [message for message in made if outcomes.state[message.row] == 0]
            too_large = self._transact(left, batch.receipt(outcomes))
            if not too_large:
                return outcomes
            largest = max((message for message in made if message.row in too_large), key=lambda one: one.size)
            refused[largest.row] = too_large[largest.row]  # the brokers refuse a batch for one of its messages

    def _written(self, batch: Batch) -> tuple[list[Message], dict[int, str]]:
        """The messages of a batch; those of records that the format cannot say are empty, and why is told by record."""
        try:
            return messages(self._settings, self._sync, batch, self._encoders), {}
        except ValueRefused:
            refused = isolate(len(batch), lambda places: self._complaint(batch.take(places)))
        rest = np.setdiff1d(np.arange(len(batch)), list(refused))
        made = messages(self._settings, self._sync, batch.take(rest), self._encoders)
        keys: Sequence[bytes | None] = [None] * len(batch)
        if self._sync.key:
            keys = self._encoders.key(batch.rows.select(list(self._sync.key)))
        whole = [replace(message, row=int(rest[message.row])) for message in made]
        whole += [Message(row, keys[row], b"") for row in refused]
        return sorted(whole, key=lambda message: message.row), refused

    def _complaint(self, batch: Batch) -> str | None:
        try:
            messages(self._settings, self._sync, batch, self._encoders)
        except ValueRefused as error:
            return error.message
        return None

    def _transact(self, sent: list[Message], receipt: str) -> dict[int, str]:
        """One transaction; if brokers refuse messages, it is aborted, and those are returned with why."""
        producer = self._producer
        failures: list[tuple[int, KafkaError]] = []
        self._call("beginning a transaction", producer.begin_transaction)
        note = json.dumps({"outbox": self._sync.outbox, "receipt": receipt}).encode()
        try:
            for message in sent:
                self._produce(self._settings.topic, message.value, message.key, _noting(message.row, failures))
            self._produce(self._progress, note, self._sync.id.encode(), _noting(-1, failures))
            self._call("sending messages", lambda: producer.flush(TIMEOUT_S * 4))
            refused = {
                row: f"the brokers refuse the message: {why.str()}" for row, why in failures if why.code() in TOO_LARGE
            }
            if refused and -1 not in refused:
                self._call("giving a transaction up", lambda: producer.abort_transaction(TIMEOUT_S))
                return refused
            if failures:
                raise KafkaException(failures[0][1])
            self._call("committing a transaction", self._commit)
        except (KafkaException, SystemError) as error:
            raise failed(self._ending(error), "sending messages") from error
        return {}

    def _ending(self, error: KafkaException | SystemError) -> KafkaException | SystemError:
        """What ended the producer, where `error` says only that something did; else `error`."""
        if _told(error).code() == KafkaError._FATAL:
            try:
                self._producer.begin_transaction()
            except KafkaException as ending:
                return ending
        return error

    def _commit(self) -> None:
        """Commits; an error after which it may be asked again is asked again. After any other nobody knows whether the
        transaction holds: the session ends, and the next one reads it."""
        for last in (False, False, True):
            try:
                self._producer.commit_transaction(TIMEOUT_S)
                return
            except KafkaException as error:
                if last or not _told(error).retriable():
                    raise

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, noting: Noting) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=noting)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _call(self, doing: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (KafkaException, SystemError) as error:
            raise failed(error, doing) from error

    def close(self) -> None:
        """See `Session.close`. An open transaction is aborted by whoever opens the sync next, or in time."""
        self._producer.purge()


def readable(settings: KafkaSettings) -> KafkaSettings:
    """The settings with messages that people can read, for which no schema is registered."""
    if settings.format.type == "json":
        return settings
    return settings.model_copy(update={"format": JsonFormat(nan=False)})


def encoders(settings: KafkaSettings, registry: SchemaSource | None = None) -> Encoders:
    """How the destination's keys and values are written: under the subjects TOPIC-key and TOPIC-value where a registry
    is asked.

    Args:
        settings: the destination's.
        registry: where schemas are registered, if the format names no registry of its own.

    Raises:
        UserError: the format cannot be written as it is set up, or what it needs is not installed.
    """
    own: dict[str, Any] = {
        name: ""
        for name in ("subject", "schema_text", "schema_file", "message")
        if name in type(settings.format).model_fields
    }
    of_key = settings.format.model_copy(update=own)  # which the settings name for values
    return Encoders(
        _encode(make_encoder(of_key, registry, f"{settings.topic}-key")),
        _encode(make_encoder(settings.format, registry, f"{settings.topic}-value")),
    )


def _encode(encoder: Encoder) -> Encode:
    return lambda rows: cast("list[bytes]", encoder.encode(rows).to_pylist())


def failed(error: KafkaException | SystemError, doing: str) -> HeadwaterError:
    """Kafka's error as one of a destination.

    What ends a producer for good (it is fenced) the library raises out of whatever serves its events, and goes on
    reporting messages of the same turn all the while: Python sees that the report was called with an exception set,
    and puts a SystemError over it, of which Kafka's error is the cause.

    Raises:
        SystemError: it has nothing to do with Kafka.
    """
    given = _told(error)
    return _refused(given.code(), given.str(), doing)


def _told(error: BaseException) -> KafkaError:
    under: BaseException | None = error
    while under is not None and not isinstance(under, KafkaException):
        under = under.__cause__ or under.__context__
    if under is None:
        raise error
    return cast(KafkaError, under.args[0])


def _refused(code: int, text: str, doing: str) -> HeadwaterError:
    if code in FENCED:
        return DestinationStopped(
            f"{doing}: another process has taken this sync over",
            hint="only one may run with this project's state; see whether another one does",
        )
    hint = hint_of(code)
    if hint is not None:
        return DestinationStopped(f"{doing}: {text}", hint=hint)
    return DestinationUnavailable(f"{doing}: {text}", hint="trying again")


def _noting(row: int, failures: list[tuple[int, KafkaError]]) -> Noting:
    def note(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append((row, error))

    return note


def _outcomes(batch: Batch, made: list[Message], refused: Mapping[int, str]) -> Outcomes:
    """All delivered but for those refused; later changes of their keys wait."""
    if not refused:
        return Outcomes.delivered(len(batch))
    stuck: set[bytes] = set()
    waits: dict[int, str] = {}
    for message in made:
        if message.row in refused and message.key is not None:
            stuck.add(message.key)
        elif message.key in stuck:
            waits[message.row] = "an earlier change of its key was refused"
    return Outcomes.of(len(batch), refused, waits)
