"""The contract suite of sources on RabbitMQ: a quorum queue, a classic one, and a stream."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pika
import pytest

from headwater.capture.rabbitmq.settings import RabbitmqSettings
from headwater.capture.rabbitmq.source import RabbitmqSource
from headwater.registry.store import SchemaStore
from headwater.testing.proxy import Proxy
from headwater.testing.rabbitmq import RabbitmqServer
from headwater.testing.source_contract import SourceContract

pytestmark = pytest.mark.xdist_group("rabbitmq")
QUEUES = itertools.count(1)


@pytest.fixture(scope="module")
def server(rabbitmq: RabbitmqServer) -> RabbitmqServer:
    return rabbitmq


class QueuePeer:
    """A queue, behind a proxy that can be cut."""

    exactly_once, stoppable = True, True

    def __init__(self, kind: str, server: RabbitmqServer, proxy: Proxy, schemas: SchemaStore) -> None:
        self._kind, self._proxy, self._schemas = kind, proxy, schemas
        self._queue = f"contract.{next(QUEUES)}"
        self._connection = server.connect()
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._channel.queue_declare(self._queue, durable=True, arguments={"x-queue-type": kind})
        self._sent = 0

    def source(self, kind: str = "BIGINT") -> RabbitmqSource:
        queue: dict[str, Any] = {"kind": "stream" if self._kind == "stream" else "queue", "columns": {"n": kind}}
        url = f"amqp://guest:guest@127.0.0.1:{self._proxy.port}"
        given = {"url": url, "queues": {self._queue: queue}, "prefetch": 40, "connect_timeout_s": 5}
        made = RabbitmqSource("events", RabbitmqSettings.model_validate(given), project="shop")
        made.schemas = self._schemas if kind == "BIGINT" else None
        return made

    def mended(self) -> RabbitmqSource:
        return self.source("VARCHAR")

    def publish(self, values: Sequence[object]) -> None:
        for value in values:
            self._sent += 1
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(self._sent))
            self._channel.basic_publish("", self._queue, json.dumps({"n": value}).encode(), properties)

    def stop(self) -> None:
        self._proxy.down()

    def start(self) -> None:
        self._proxy.up()

    def close(self) -> None:
        self._connection.close()


class TestContract(SourceContract):
    @pytest.fixture(params=["quorum", "classic", "stream"])
    def peer(self, request: pytest.FixtureRequest, server: RabbitmqServer, tmp_path: Path) -> Iterator[QueuePeer]:
        schemas = SchemaStore(tmp_path)
        with Proxy(server.port) as proxy:
            peer = QueuePeer(request.param, server, proxy, schemas)
            yield peer
            peer.close()
        schemas.close()
