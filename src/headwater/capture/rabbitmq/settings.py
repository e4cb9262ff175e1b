"""Settings of a RabbitMQ source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.amqp import AmqpUrl, TlsSettings
from headwater.capture.messages.settings import MessageStreamSettings

Deduplicate = Literal["message_id", "hash", "off"]


class QueueSettings(MessageStreamSettings):
    """One queue, and the stream that its messages become."""

    stream: str = Field(
        "",
        pattern=r"^[a-z][a-z0-9_]{0,62}$|^$",
        description="Name of the stream; the default is the queue's, in small letters, with _ for what is no letter or "
        "digit.",
        examples=["orders"],
    )
    kind: Literal["queue", "stream"] = Field(
        "queue",
        description="queue: a classic or quorum queue, whose messages go when they are acknowledged. stream: a "
        "RabbitMQ stream, which keeps them; our place in it stands in the log.",
    )
    start: Literal["first", "next"] = Field(
        "first", description="Where the first reading of a RabbitMQ stream begins: at its oldest message, or its end."
    )
    deduplicate: Deduplicate = Field(
        "message_id",
        description="What makes a message that is delivered again count once. message_id: its message_id, with its "
        "routing key and body; messages without one are taken as often as they come. hash: all of it; equal messages "
        "are told apart by number. off: nothing.",
    )
    rejected: Literal["acknowledge", "dead_letter"] = Field(
        "acknowledge",
        description="What the server is told of a message that cannot be read, when it is in the ledger of rejects. "
        "dead_letter: it is refused, so that the queue's dead-letter exchange takes it as well.",
    )


class RabbitmqSettings(BaseModel):
    """How to reach a RabbitMQ (3.8 or newer) and which of its queues to read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["rabbitmq"] = Field("rabbitmq", description="Kind of source.")
    url: AmqpUrl = Field(
        description="Address: amqp:// or, for TLS, amqps://, with the virtual host as the path. Special characters in "
        "user, password and virtual host are percent-encoded.",
        examples=["amqp://headwater:password@localhost:5672/shop"],
    )
    tls: TlsSettings = Field(default_factory=TlsSettings, description="Certificates of an amqps:// server, and ours.")
    queues: dict[str, QueueSettings] = Field(
        min_length=1, description="The queues to read, by name. They are not made: they must be there."
    )
    prefetch: int = Field(
        1000, ge=1, le=65_535, description="Most messages of a queue that are delivered and not yet acknowledged."
    )
    exclusive: bool = Field(
        True,
        description="Wait while another consumer reads one of the queues. With false messages are shared with it, and "
        "one that is delivered to both in turn may be taken by both.",
    )
    deduplicate_window: int = Field(
        2000,
        ge=0,
        description="How many messages of a queue are remembered after they were acknowledged; at least twice "
        "prefetch is.",
    )
    deduplicate_for_s: float = Field(300.0, ge=1, description="Seconds for which they are.")
    heartbeat_s: float = Field(
        30.0, ge=2, description="A connection without a sign of life counts as lost after so many seconds."
    )
    connect_timeout_s: float = Field(10.0, ge=1, description="Seconds to wait for a connection.")
    backlog_budget: int = Field(
        1_000_000, ge=1, description="How many messages may wait in a queue before that is an alarm."
    )

    @model_validator(mode="after")
    def _one_stream_each(self) -> Self:
        seen: dict[str, str] = {}
        for queue, stream in self.streams_by_queue().items():
            if stream in seen:
                raise ValueError(f"queues {seen[stream]!r} and {queue!r} both feed {stream!r}: give one a `stream`")
            seen[stream] = queue
        return self

    def streams_by_queue(self) -> dict[str, str]:
        """The name of each queue's stream."""
        return {name: queue.stream or _stream_name(name) for name, queue in self.queues.items()}


def _stream_name(queue: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", queue.lower()).strip("_")[:63]
    return name if name[:1].isalpha() else f"q_{name}"[:63]
