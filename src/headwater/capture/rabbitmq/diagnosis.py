"""Looks at a RabbitMQ server for `headwater doctor`: the way there, and each queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pika

from headwater.capture.rabbitmq.connection import ERRORS, connected, failed
from headwater.errors import HeadwaterError
from headwater.finding import Finding, failing, way
from headwater.position import Resume

if TYPE_CHECKING:
    from headwater.capture.rabbitmq.source import RabbitmqSource

MANY = 1_000_000


def diagnose(source: RabbitmqSource, label: str, resume: Resume | None) -> Sequence[Finding]:
    """All findings; see `headwater.capture.diagnosable.Diagnosable`."""
    settings, doing = source.settings, f"looking at the queues of source {source.name!r}"
    address = urlsplit(settings.url.get_secret_value())
    found = [way(address.hostname or "", encrypted=address.scheme == "amqps", mend="amqps:// in the source's url")]
    with connected(settings, label, doing) as connection:
        found += [_queue(connection, queue, doing) for queue in settings.queues]
    if resume is not None and all(one.level != "fail" for one in found):
        found.append(_position(source, resume))
    return found


def _queue(connection: pika.BlockingConnection, queue: str, doing: str) -> Finding:
    """How a queue is; a question that the server does not answer closes the channel, so each has one of its own."""
    check = f"queue {queue}"
    try:
        try:
            told = connection.channel().queue_declare(queue, passive=True).method
        except ERRORS as error:
            failed(error, doing)
    except HeadwaterError as error:
        return failing(check, error)
    said = f"{told.message_count:,} messages wait, {told.consumer_count} consumers read it now"
    if told.message_count > MANY and not told.consumer_count:
        return Finding(check, "warn", f"{said}: they pile up", "headwater run")
    return Finding(check, "ok", said)


def _position(source: RabbitmqSource, resume: Resume) -> Finding:
    try:
        lost = source.examine(resume)
    except HeadwaterError as error:
        return failing("position", error)
    if lost is not None:
        return failing("position", lost)
    return Finding("position", "ok", "nothing that was not read yet is lost")
