"""Looks at a source's queues from the side: how many messages wait, and how many we have and did not acknowledge."""

from __future__ import annotations

import pika

from headwater.capture.health import Alarm, Health
from headwater.capture.rabbitmq.connection import ERRORS, close, connect, failed
from headwater.capture.rabbitmq.reader import Figures
from headwater.capture.rabbitmq.settings import RabbitmqSettings
from headwater.position import JsonScalar, Resume

BACKLOG = "backlog"


class RabbitmqWatcher:
    """See `headwater.capture.health.Watcher`.

    Args:
        settings: how to reach the server, and the budget.
        name: what the server's administrators see of the connection.
        figures: what the source's reading knows.
    """

    interval_s = 5.0

    def __init__(self, settings: RabbitmqSettings, name: str, figures: Figures) -> None:
        self._settings = settings
        self._name = name
        self._figures = figures
        self._connection: pika.BlockingConnection | None = None

    def look(self, resume: Resume | None) -> Health:
        """See `Watcher.look`."""
        try:
            if self._connection is None or not self._connection.is_open:
                self._connection = connect(self._settings, self._name)
            return self._look(self._connection)
        except ERRORS as error:
            self.close()
            failed(error, "looking at the queues")

    def close(self) -> None:
        """See `Watcher.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    def _look(self, connection: pika.BlockingConnection) -> Health:
        channel = connection.channel()
        figures: dict[str, JsonScalar] = {}
        alarms = []
        for number, queue in enumerate(self._settings.queues):
            found = channel.queue_declare(queue, passive=True).method
            figures[f"ready_messages_{queue}"] = found.message_count
            figures[f"consumers_{queue}"] = found.consumer_count
            if self._settings.queues[queue].kind == "queue" and found.message_count > self._settings.backlog_budget:
                told = f"{found.message_count:,} messages wait in queue {queue!r}, more than backlog_budget"
                hint = "see whether this source runs and keeps up: headwater status"
                alarms.append(Alarm(f"{BACKLOG}_{number}", told, hint))
        channel.close()
        figures["unacknowledged_messages"] = self._figures.unacknowledged
        figures["repeated_messages"] = self._figures.repeated
        return Health(figures, tuple(alarms))
