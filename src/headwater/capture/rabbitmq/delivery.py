"""A message as RabbitMQ delivers it, and what it is as a raw message of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pika
import pyarrow as pa

from headwater.capture.messages.message import MESSAGE_SCHEMA
from headwater.capture.rabbitmq.window import fingerprint

OFFSET_HEADER = "x-stream-offset"
_PROPERTIES = (
    *("message_id", "correlation_id", "type", "app_id", "user_id", "reply_to", "content_type", "content_encoding"),
    *("priority", "delivery_mode", "expiration"),
)


@dataclass(frozen=True)
class Delivery:
    """One delivery of a message.

    Attributes:
        queue: the queue that it comes from.
        tag: number of the delivery on its channel.
        offset: its offset if the queue is a RabbitMQ stream.
    """

    queue: str
    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def offset(self) -> int | None:
        """Offset in a RabbitMQ stream; None if the queue is none."""
        found = (self.properties.headers or {}).get(OFFSET_HEADER)
        return int(found) if isinstance(found, int) else None

    @property
    def time_us(self) -> int | None:
        """The publisher's timestamp, microseconds since 1970 UTC."""
        seconds = self.properties.timestamp
        return seconds * 1_000_000 if isinstance(seconds, int) and 0 <= seconds < 1 << 40 else None


def messages(deliveries: Sequence[Delivery]) -> pa.RecordBatch:
    """Raw messages (`MESSAGE_SCHEMA`): the key is the routing key, the partition the queue."""
    columns = {
        "value": [delivery.body for delivery in deliveries],
        "key": [delivery.routing_key.encode() for delivery in deliveries],
        "headers": [list(_headers(delivery)) for delivery in deliveries],
        "timestamp": [delivery.time_us for delivery in deliveries],
        "partition": [delivery.queue for delivery in deliveries],
        "offset": [delivery.offset for delivery in deliveries],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in MESSAGE_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=MESSAGE_SCHEMA)


def identity(delivery: Delivery) -> bytes | None:
    """Fingerprint of a message by its id; None if it has none."""
    name = delivery.properties.message_id
    return fingerprint(name.encode(), delivery.routing_key.encode(), delivery.body) if name else None


def whole(delivery: Delivery) -> bytes:
    """Fingerprint of a message by all that its publisher gave it."""
    parts = [value for name, value in _headers(delivery) if not name.startswith("x-") and name != "amqp.redelivered"]
    return fingerprint(delivery.routing_key.encode(), delivery.body, *parts, str(delivery.time_us).encode())


def _headers(delivery: Delivery) -> Iterator[tuple[str, bytes]]:
    """The application's headers, then the message's properties as `amqp.NAME`."""
    for name, value in (delivery.properties.headers or {}).items():
        yield name, _bytes(value)
    yield "amqp.exchange", delivery.exchange.encode()
    yield "amqp.redelivered", b"true" if delivery.redelivered else b"false"
    for name in _PROPERTIES:
        value = getattr(delivery.properties, name)
        if value is not None:
            yield f"amqp.{name}", _bytes(value)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value, default=str).encode()
