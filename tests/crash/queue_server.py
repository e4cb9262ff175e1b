"""A RabbitMQ with two queues for each case: events that are rows of their own, and accounts of which the last counts.

Every message has an id and is confirmed to the publisher. Some are sent twice, as a publisher does that missed an
answer; some are no JSON. What the publisher knows is what the tables, the model and the ledger must say.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pika
from tests.crash.evidence import (
    BROKEN,
    DOUBLED,
    LOST,
    SOURCE,
    Fault,
    faults_in_itself,
    read_log,
    snapshot_faults,
    whole_log,
)

from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.outside import IcebergFolder
from headwater.demo.verify import accounting_mismatches
from headwater.project import load
from headwater.testing.rabbitmq import RabbitmqServer

PROJECT = f"""
name: broker
sources:
  {SOURCE}:
    type: rabbitmq
    url: ${{{URL_VARIABLE}}}
    prefetch: 100
    queues:
      EVENTS:
        stream: events
        metadata: [partition]
        columns: {{n: BIGINT, bucket: INTEGER, amount: "DECIMAL(12,2)"}}
      ACCOUNTS:
        stream: accounts
        metadata: []
        key: [id]
        columns: {{id: BIGINT, version: BIGINT}}
"""
TOTALS = "/*\nkey: [bucket]\n*/\nSELECT bucket, count(*) AS events, sum(amount) AS total FROM events GROUP BY bucket"
JOIN_S = 90.0
TWICE_EVERY, POISON_EVERY = 11, 37


class QueueServer:
    """One broker. See `case.Scene`."""

    everything = "*"

    def __init__(self) -> None:
        self._server = RabbitmqServer().start()
        self._name = ""
        self._publisher: Publisher | None = None

    def open(self, name: str) -> str:
        """See `Scene.open`."""
        self._name = name
        connection = self._server.connect()
        channel = connection.channel()
        for queue, kind in ((f"{name}.events", "quorum"), (f"{name}.accounts", "classic")):
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        connection.close()
        return self._server.url()

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`."""
        (folder / "models").mkdir(parents=True)
        text = PROJECT.replace("EVENTS:", f"{self._name}.events:").replace("ACCOUNTS:", f"{self._name}.accounts:")
        (folder / "headwater.yml").write_text(text + settings, encoding="utf-8")
        (folder / "models" / "totals.sql").write_text(TOTALS, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Publisher:
        """See `Scene.traffic`."""
        self._publisher = Publisher(self._server, self._name, rate, seed)
        return self._publisher

    def written(self, name: str) -> dict[int, int]:
        """Messages that the broker has confirmed, by number."""
        assert self._publisher is not None
        return dict.fromkeys(range(self._publisher.sent.count), 1)

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`."""
        assert self._publisher is not None
        sent = self._publisher.sent
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        rejects: Any = status.get("rejects")
        if rejects.get("open") != sent.poison:
            kind = LOST if rejects.get("open", 0) < sent.poison else DOUBLED
            faults.append(Fault(kind, f"{sent.poison} messages are no JSON, and the ledger says {rejects}"))
        lake = IcebergFolder(folder / "lake", "broker")
        for table, names, rows in sent.expected():
            faults += difference(lake, table, names, rows)
        lake.close()
        faults += whole_log(project.state)
        faults += faults_in_itself(replace(read_log(project.state), rejects=0))
        faults += list(snapshot_faults(project))
        return faults

    def drop(self, name: str) -> None:
        """See `Scene.drop`."""
        connection = self._server.connect()
        for queue in ("events", "accounts"):
            connection.channel().queue_delete(f"{name}.{queue}")
        connection.close()

    def stop(self) -> None:
        """See `Scene.stop`."""
        self._server.stop()


@dataclass
class Sent:
    """What the broker has confirmed.

    Attributes:
        count: messages, each counted once.
        poison: how many of them are no JSON.
        events: number, bucket and amount of the events.
        accounts: the last version of each account.
    """

    count: int = 0
    poison: int = 0
    events: list[tuple[int, int, Decimal]] = field(default_factory=list)
    accounts: dict[int, int] = field(default_factory=dict)

    def expected(self) -> list[tuple[str, tuple[str, ...], Counter[tuple[object, ...]]]]:
        """Tables, their columns and rows."""
        totals: dict[int, list[Decimal]] = {}
        for _, bucket, amount in self.events:
            totals.setdefault(bucket, []).append(amount)
        sums = Counter((bucket, len(amounts), sum(amounts)) for bucket, amounts in totals.items())
        return [
            ("events", ("n", "bucket", "amount"), Counter(self.events)),
            ("accounts", ("id", "version"), Counter(self.accounts.items())),
            ("totals", ("bucket", "events", "total"), sums),
        ]


class Publisher(threading.Thread):
    """Messages until stopped."""

    def __init__(self, server: RabbitmqServer, name: str, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.sent = Sent()
        self._server, self._name, self._pause_s = server, name, 1 / rate
        self._chance, self._stopping, self._complaint = random.Random(seed), threading.Event(), ""
        self.start()

    def run(self) -> None:
        clock = SystemClock()
        try:
            connection = self._server.connect()
            channel = connection.channel()
            channel.confirm_delivery()
            while not clock.wait(self._stopping, self._pause_s):
                self._publish(channel)
            connection.close()
        except (pika.exceptions.AMQPError, OSError) as error:
            self._complaint = f"{type(error).__name__}: {error}"

    def _publish(self, channel: Any) -> None:
        sent, chance = self.sent, self._chance
        number = sent.count
        if number % POISON_EVERY == POISON_EVERY - 1:
            self._send(channel, "events", b'{"n": %d, ' % number, number)
            sent.poison += 1
        elif chance.random() < 0.3:
            account = chance.randint(1, 50)
            self._send(channel, "accounts", json.dumps({"id": account, "version": number}).encode(), number)
            sent.accounts[account] = number
        else:
            bucket, amount = chance.randint(1, 7), Decimal(chance.randint(1, 100_000)) / 100
            body = json.dumps({"n": number, "bucket": bucket, "amount": str(amount)}).encode()
            self._send(channel, "events", body, number)
            sent.events.append((number, bucket, amount))
        sent.count += 1

    def _send(self, channel: Any, queue: str, body: bytes, number: int) -> None:
        properties = pika.BasicProperties(delivery_mode=2, message_id=str(number))
        for _ in range(2 if number % TWICE_EVERY == 0 else 1):
            channel.basic_publish("", f"{self._name}.{queue}", body, properties)

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        self.join(JOIN_S)
        return "it does not end" if self.is_alive() else self._complaint

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()


def difference(
    lake: IcebergFolder, table: str, names: tuple[str, ...], rows: Counter[tuple[object, ...]]
) -> list[Fault]:
    """What a table of the lake has too few or too many of."""
    if table not in lake.names():
        return [Fault(LOST, f"{table}: the lake has no such table")]
    here = Counter(tuple(row[name] for name in names) for row in lake.rows(table).to_pylist())
    faults = []
    for kind, more, what in ((LOST, rows - here, "missing from"), (DOUBLED, here - rows, "too much in")):
        if more:
            faults.append(Fault(kind, f"{table}: {sum(more.values())} rows {what} the lake: {list(more)[:3]}"))
    return faults
