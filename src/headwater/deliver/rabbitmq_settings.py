"""Settings of a RabbitMQ destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headwater.amqp import AmqpUrl, TlsSettings
from headwater.formats.settings import FormatSettings, JsonFormat


class RabbitmqSettings(BaseModel):
    """An exchange of RabbitMQ that is told a model's changes, a message each."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["rabbitmq"] = Field("rabbitmq", description="Kind of destination.")
    url: AmqpUrl = Field(
        description="Address: amqp:// or, for TLS, amqps://, with the virtual host as the path.",
        examples=["amqp://headwater:password@localhost:5672/shop"],
    )
    tls: TlsSettings = Field(default=TlsSettings(), description="Certificates of an amqps:// server, and ours.")
    exchange: str = Field(
        "",
        max_length=255,
        description="The exchange, which must be there. The default is the one that leads to the queue that the "
        "routing key names.",
        examples=["orders"],
    )
    routing_key: str = Field(
        "", max_length=255, description="Routing key of every message.", examples=["order.changed"]
    )
    routing_key_column: str = Field("", description="Column whose value is the routing key instead.")
    format: FormatSettings = Field(default=JsonFormat(nan=False), description="How a message's body is written.")
    heartbeat_s: float = Field(
        30.0, ge=2, description="A connection without a sign of life counts as lost after so many seconds."
    )
    timeout_s: float = Field(30.0, ge=1, description="Seconds to wait for a connection or for confirms.")

    @model_validator(mode="after")
    def _routed(self) -> Self:
        if self.routing_key and self.routing_key_column:
            raise ValueError("give a `routing_key` or a `routing_key_column`, not both")
        if not self.exchange and not self.routing_key and not self.routing_key_column:
            raise ValueError("without an `exchange`, `routing_key` must name a queue")
        return self
