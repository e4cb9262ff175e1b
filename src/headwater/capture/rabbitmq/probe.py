"""One message of a RabbitMQ stream, to see where it begins or whether it is the one that we know."""

from __future__ import annotations

from typing import Any

import pika

from headwater.capture.rabbitmq.delivery import Delivery

DEADLINE_S = 5.0


def first_message(connection: pika.BlockingConnection, queue: str, arguments: dict[str, Any]) -> Delivery | None:
    """The first message that a reading with these arguments would bring; None if there is none within 5 s.

    Raises:
        pika.exceptions.AMQPError: the queue cannot be read.
    """
    channel = connection.channel()
    try:
        channel.basic_qos(prefetch_count=1)
        for method, properties, body in channel.consume(queue, arguments=arguments, inactivity_timeout=DEADLINE_S):
            if method is None:
                return None
            return Delivery(
                queue, method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body
            )
        return None
    finally:
        if channel.is_open:
            channel.close()
