"""Connections to RabbitMQ, and what their errors mean to a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import pika
from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from headwater.amqp import connection_parameters, reason, refused, untrusted
from headwater.capture.rabbitmq.settings import RabbitmqSettings
from headwater.errors import SourceStopped, SourceUnavailable

NOT_FOUND = 404
ERRORS = (exceptions.AMQPError, AMQPConnectorException, OSError)
"""What pika raises when the connection, the channel or the network fails; the second when a server that takes the
connection says nothing."""


def connect(settings: RabbitmqSettings, name: str) -> pika.BlockingConnection:
    """A connection.

    Args:
        settings: how to reach the server.
        name: what the server's administrators see.

    Raises:
        SourceUnavailable: the server does not answer.
        SourceStopped: it does not let us in.
    """
    parameters = connection_parameters(
        settings.url, settings.tls, name=name, heartbeat_s=settings.heartbeat_s, timeout_s=settings.connect_timeout_s
    )
    try:
        return pika.BlockingConnection(parameters)
    except ERRORS as error:
        failed(error, f"connecting to RabbitMQ at {parameters.host}:{parameters.port}, {parameters.virtual_host!r}")


def failed(error: Exception, doing: str) -> NoReturn:
    """Raises what an error of pika's means.

    Args:
        doing: what we were at.
    """
    if refused(error):
        raise SourceStopped(
            f"RabbitMQ refused us while {doing}: {reason(error)}",
            hint="check user, password and virtual host in the source's url, and the user's permissions: "
            "rabbitmqctl list_permissions -p VHOST",
        ) from None
    if mend := untrusted(error):
        raise SourceStopped(f"{doing} failed: {reason(error)}", hint=mend) from None
    if isinstance(error, exceptions.ChannelClosedByBroker):
        _channel_failed(error, doing)
    raise SourceUnavailable(f"{doing} failed: {reason(error)}") from None


def _channel_failed(error: exceptions.ChannelClosedByBroker, doing: str) -> NoReturn:
    if error.reply_code == NOT_FOUND:
        raise SourceStopped(
            f"{doing} failed: {error.reply_text}",
            hint="make the queue, or take it out of the source's queues",
        ) from None
    if "x-stream-offset" in error.reply_text:
        raise SourceStopped(
            f"{doing} failed: a queue that is read as a RabbitMQ stream is no RabbitMQ stream: {error.reply_text}",
            hint="set its `kind: queue`",
        ) from None
    if error.reply_code == 403 and "exclusive" not in error.reply_text:
        raise SourceStopped(
            f"{doing} failed: {error.reply_text}", hint="let the user read the queue: rabbitmqctl set_permissions"
        ) from None
    if "exclusive" in error.reply_text:
        raise SourceUnavailable(
            f"{doing} failed: another consumer has the queue for itself",
            hint="end it; one that has just died holds the queue until the server misses its heartbeats",
        ) from None
    raise SourceUnavailable(f"{doing} failed: {reason(error)}") from None


@contextmanager
def connected(settings: RabbitmqSettings, name: str, doing: str) -> Iterator[pika.BlockingConnection]:
    """A connection for a few questions."""
    connection = connect(settings, name)
    try:
        yield connection
    except ERRORS as error:
        failed(error, doing)
    finally:
        close(connection)


def close(connection: pika.BlockingConnection) -> None:
    """Closes a connection, whatever state it is in, in one step, so that what was not acknowledged goes back into its
    queue in one piece and in order.

    pika's own `close` cancels the consumers first and rejects what it has not handed over: the server then counts no
    consumer while most messages are still out, and a quorum queue gives the next reading what was published later.
    pika has no public way around that; this is the one place that knows names of its inside (of 1.3 and 1.4), and where
    they are others the public close does: messages may then come again in another order.
    """
    with suppress(*ERRORS):
        if not connection.is_open:
            return
        inside, flush = getattr(connection, "_impl", None), getattr(connection, "_flush_output", None)
        send, closed = getattr(inside, "_send_connection_close", None), getattr(connection, "_closed_result", None)
        if send is None or flush is None or closed is None:
            connection.close()
            return
        send(200, "Normal shutdown")
        flush(closed.is_ready)
