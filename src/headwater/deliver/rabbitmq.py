"""RabbitMQ as a destination: a persistent message per change, publisher confirms, unroutable messages refused.

RabbitMQ cannot say which calls it holds, so a message may come twice after a crash or a lost connection, with the same
`message_id`: at least once, and a consumer that keeps ids has each once (our own source does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import pika
from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from headwater.amqp import connection_parameters, reason, refused, untrusted
from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.key_text import names
from headwater.deliver.rabbitmq_publisher import Outgoing, Publisher
from headwater.deliver.rabbitmq_settings import RabbitmqSettings
from headwater.errors import DestinationStopped, DestinationUnavailable, UserError
from headwater.finding import Finding, sentences, way
from headwater.formats.encoder import Encoder, make_encoder
from headwater.formats.settings import JsonFormat

KEY_BYTES = 255
"""Longest routing key that AMQP can carry."""
_CONTENT = {"json": "application/json", "csv": "text/csv", "debezium-json": "application/json"}
_STOPS = frozenset((403, 404, 530))


class RabbitmqDestination:
    """See `headwater.deliver.destination.Destination`.

    Args:
        settings: from `headwater.yml`.
    """

    exactly_once = False
    wants_before = False
    repeats_keys = False
    send: Send = "every"

    def __init__(self, settings: RabbitmqSettings) -> None:
        self.settings = settings

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        self._require(sync)
        with _told("looking at RabbitMQ"):
            connection = pika.BlockingConnection(_parameters(self.settings, sync))
            try:
                if self.settings.exchange:
                    connection.channel().exchange_declare(self.settings.exchange, passive=True)
                elif self.settings.routing_key:
                    connection.channel().queue_declare(self.settings.routing_key, passive=True)
            finally:
                if connection.is_open:
                    connection.close()
        where = f"exchange {self.settings.exchange!r}" if self.settings.exchange else "the default exchange"
        key = f"the value of {self.settings.routing_key_column}" if self.settings.routing_key_column else (
            repr(self.settings.routing_key)
        )  # fmt: skip
        return [f"publishes a message per change to {where} with the routing key {key}, at least once"]

    def diagnose(self, sync: Sync) -> list[Finding]:
        """See `headwater.deliver.diagnosable.Diagnosable`. Whether we may publish, only publishing tells."""
        address = urlsplit(self.settings.url.get_secret_value())
        encrypted = address.scheme == "amqps"
        found = [way(address.hostname or "", encrypted=encrypted, mend="amqps:// in the sync's url")]
        return [*found, *sentences("exchange", lambda: self.check(sync))]

    def open(self, sync: Sync) -> RabbitmqSession:
        """See `Destination.open`."""
        self._require(sync)
        with _told("connecting to RabbitMQ"):
            publisher = Publisher(_parameters(self.settings, sync), self.settings.timeout_s)
        return RabbitmqSession(self.settings, sync, publisher)

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`. What is written with a schema is shown in JSON, so that none is registered."""
        form = self.settings.format
        readable = JsonFormat(nan=False) if form.type in ("avro", "protobuf") else form
        return [
            f"{one.properties.type} {one.exchange}/{one.routing_key}: {one.body.decode(errors='backslashreplace')}"
            for one in _messages(self.settings, sync, batch, make_encoder(readable))
        ]

    def _require(self, sync: Sync) -> None:
        column = self.settings.routing_key_column
        if column and column not in sync.columns.names:
            raise DestinationStopped(
                f"the model {sync.model} has no column {column!r}",
                hint=f"its columns are {', '.join(sync.columns.names)}",
            )


class RabbitmqSession:
    """See `headwater.deliver.destination.Session`.

    Args:
        settings: from `headwater.yml`.
        sync: the sync.
        publisher: the session closes it.
    """

    def __init__(self, settings: RabbitmqSettings, sync: Sync, publisher: Publisher) -> None:
        self._settings = settings
        self._sync = sync
        self._publisher = publisher
        self._encoder = _encoder(settings, sync)

    def held(self) -> str | None:
        """See `Session.held`. A broker cannot say."""
        return None

    def deliver(self, batch: Batch) -> Outcomes:
        """See `Session.deliver`."""
        messages = _messages(self._settings, self._sync, batch, self._encoder)
        bad = {
            number: f"the routing key is longer than {KEY_BYTES} bytes"
            for number, one in enumerate(messages)
            if len(one.routing_key.encode()) > KEY_BYTES
        }
        sent = [number for number in range(len(messages)) if number not in bad]
        with _told("publishing to RabbitMQ"):
            answers = self._publisher.publish([messages[number] for number in sent])
        returned = {
            sent[place]: f"no queue takes routing key {messages[sent[place]].routing_key!r}: {why}"
            for place, why in answers.returned.items()
        }
        again = {sent[place]: "the broker did not take it (nack): a queue may be full" for place in answers.refused}
        return Outcomes.of(len(batch), {**bad, **returned}, {n: why for n, why in again.items() if n not in returned})

    def close(self) -> None:
        """See `Session.close`."""
        self._publisher.close()


def _encoder(settings: RabbitmqSettings, sync: Sync) -> Encoder:
    """How bodies are written; schemas are registered under the name of where they go."""
    try:
        return make_encoder(settings.format, sync.schemas, f"{settings.exchange or settings.routing_key}-value")
    except UserError as error:
        raise DestinationStopped(error.message, hint=error.hint) from None


def _messages(settings: RabbitmqSettings, sync: Sync, batch: Batch, encoder: Encoder) -> list[Outgoing]:
    try:
        bodies = encoder.encode(batch.rows).to_pylist()
    except UserError as error:
        raise DestinationStopped(error.message, hint=error.hint) from None
    keys: Sequence[str | None] = [settings.routing_key] * len(batch)
    if settings.routing_key_column:
        keys = names(batch.rows, [settings.routing_key_column])
    marks = batch.idempotency_keys(sync)
    records = zip(bodies, keys, marks, batch.op.tolist(), batch.seq.tolist(), batch.epoch.tolist(), strict=True)
    return [
        Outgoing(
            settings.exchange,
            key or "",
            pika.BasicProperties(
                message_id=mark, type=Op(op).name.lower(), app_id="headwater", delivery_mode=2,
                content_type=_CONTENT.get(settings.format.type, "application/octet-stream"),
                headers={"headwater-seq": seq, "headwater-epoch": epoch},
            ),
            body,
        )
        for body, key, mark, op, seq, epoch in records
    ]  # fmt: skip


def _parameters(settings: RabbitmqSettings, sync: Sync) -> pika.ConnectionParameters:
    return connection_parameters(
        settings.url, settings.tls, name=f"headwater {sync.id}", heartbeat_s=settings.heartbeat_s,
        timeout_s=settings.timeout_s,
    )  # fmt: skip


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Turns errors of the client into ours."""
    try:
        yield
    except (exceptions.AMQPError, AMQPConnectorException, exceptions.ChannelError, OSError) as error:
        stops = refused(error) or (isinstance(error, exceptions.ChannelClosedByBroker) and error.reply_code in _STOPS)
        if stops:
            raise DestinationStopped(
                f"RabbitMQ refused us while {doing}: {reason(error)}",
                hint="check the sync's url, that its exchange is there, and what the user may do: "
                "rabbitmqctl list_permissions -p VHOST",
            ) from None
        if mend := untrusted(error):
            raise DestinationStopped(f"{doing} failed: {reason(error)}", hint=mend) from None
        raise DestinationUnavailable(f"{doing} failed: {reason(error)}") from None
