"""Publishes many messages to RabbitMQ at once and waits for what the broker says of each (publisher confirms).

pika's blocking channel waits for one confirm after the other; this one publishes a whole call and then lets the loop
run until all are answered. A mandatory message that no queue takes comes back (`basic.return`) before its confirm.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pika
from pika import exceptions
from pika.adapters.select_connection import SelectConnection

CLOSE_S = 2.0


@dataclass(frozen=True)
class Outgoing:
    """One message; its `properties.message_id` is unique in its call."""

    exchange: str
    routing_key: str
    properties: pika.BasicProperties
    body: bytes


@dataclass
class Answers:
    """What the broker said, by the message's number in its call.

    Attributes:
        returned: no queue takes it: why.
        refused: it was not taken over (nack), which may pass.
    """

    returned: dict[int, str] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)


class Publisher:
    """One connection with one channel in confirm mode, used by one thread.

    Args:
        parameters: how to connect.
        timeout_s: longest wait for the connection, and for the confirms of a call.

    Raises:
        pika.exceptions.AMQPError: no connection.
        TimeoutError: none in time.
    """

    def __init__(self, parameters: pika.ConnectionParameters, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._failed: BaseException | None = None
        self._channel: Any = None
        self._waiting: set[int] = set()
        self._numbers: dict[str, int] = {}
        self._answers = Answers()
        self._tag = self._before = 0
        self._ready = False
        self._connection = SelectConnection(
            parameters, on_open_callback=self._on_open, on_open_error_callback=self._on_failed,
            on_close_callback=self._on_failed,
        )  # fmt: skip
        try:
            self._run(timeout_s)
        except BaseException:
            self.close()
            raise

    def publish(self, messages: Sequence[Outgoing]) -> Answers:
        """Publishes, in order, and waits for every answer.

        Raises:
            pika.exceptions.AMQPError: the connection or the channel ended; some messages may be there.
            TimeoutError: not all were answered in time; the same.
        """
        self._require()
        self._answers, self._before = Answers(), self._tag
        self._numbers = {str(one.properties.message_id): number for number, one in enumerate(messages)}
        self._waiting = set(range(len(messages)))
        self._ready = not messages
        for one in messages:
            self._tag += 1
            self._channel.basic_publish(one.exchange, one.routing_key, one.body, one.properties, mandatory=True)
        self._run(self._timeout_s)
        return self._answers

    def close(self) -> None:
        """Ends the connection."""
        loop = self._connection.ioloop
        self._ready = False
        with suppress(exceptions.AMQPError, OSError):
            if self._connection.is_open:
                self._connection.close()
                timer = loop.call_later(CLOSE_S, loop.stop)
                loop.start()
                loop.remove_timeout(timer)
        with suppress(Exception):
            loop.close()

    def _run(self, timeout_s: float) -> None:
        """Lets the loop run until what is waited for has come."""
        if self._ready:
            return
        loop = self._connection.ioloop
        timer = loop.call_later(timeout_s, loop.stop)
        loop.start()
        loop.remove_timeout(timer)
        self._require()
        if not self._ready:
            raise TimeoutError(f"RabbitMQ did not answer within {timeout_s:.0f} s")

    def _require(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_failed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=self._on_selected)

    def _on_selected(self, _frame: Any) -> None:
        self._ready = True
        self._connection.ioloop.stop()

    def _on_failed(self, _which: Any, error: BaseException) -> None:
        self._failed = self._failed or error
        self._connection.ioloop.stop()

    def _on_return(self, _channel: Any, method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        number = self._numbers.get(str(properties.message_id))
        if number is not None:
            self._answers.returned[number] = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        last = int(method.delivery_tag) - self._before - 1
        told = {number for number in self._waiting if number <= last} if method.multiple else {last} & self._waiting
        if isinstance(method, pika.spec.Basic.Nack):
            self._answers.refused |= told
        self._waiting -= told
        if not self._waiting:
            self._ready = True
            self._connection.ioloop.stop()
