"""RabbitMQ over TLS, as a source and as a destination: the right authority, and a clear word on what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headwater.capture.rabbitmq import settings as reading
from headwater.capture.rabbitmq.source import RabbitmqSource
from headwater.deliver import rabbitmq_settings as writing
from headwater.deliver.destination import Sync
from headwater.deliver.rabbitmq import RabbitmqDestination
from headwater.errors import DestinationStopped, SourceStopped
from headwater.testing import certificates as certificates_of
from headwater.testing.certificates import Certificates
from headwater.testing.rabbitmq import RabbitmqServer

pytestmark = pytest.mark.xdist_group("rabbitmq")
QUEUE = "over.tls"
SYNC = Sync("shop", "orders", "one", "orders", pa.schema([("id", pa.int64())]), ("id",))


def source(**settings: Any) -> RabbitmqSource:
    found = reading.RabbitmqSettings.model_validate({"queues": {QUEUE: {}}, **settings})
    return RabbitmqSource("events", found, project="shop")


def destination(**settings: Any) -> RabbitmqDestination:
    found = writing.RabbitmqSettings.model_validate({"routing_key": QUEUE, **settings})
    return RabbitmqDestination(found)


def test_a_broker_is_reached_over_tls_and_what_is_wrong_is_named(
    rabbitmq: RabbitmqServer, certificates: Certificates, tmp_path: Path
) -> None:
    connection = rabbitmq.connect()
    connection.channel().queue_declare(QUEUE, durable=True)
    url = f"amqps://guest:guest@127.0.0.1:{rabbitmq.tls_port}"
    trusted = {"ca": str(certificates.ca)}
    assert source(url=url, tls=trusted).check()
    assert destination(url=url, tls=trusted).check(SYNC)
    destination(url=url, tls=trusted).open(SYNC).close()
    other = {"ca": str(certificates_of.make(tmp_path / "other").ca)}
    for settings, named in (
        ({"url": url, "tls": other}, "tls: {ca: FILE}"),
        ({"url": url}, "tls: {ca: FILE}"),
        ({"url": f"amqps://guest:guest@127.0.0.1:{rabbitmq.port}", "tls": trusted}, "no TLS"),
        ({"url": url.replace(":guest@", ":wr0ng-secret@"), "tls": trusted}, "url"),
    ):
        with pytest.raises(SourceStopped) as reads:
            source(**settings).check()
        with pytest.raises(DestinationStopped) as checks:
            destination(**settings).check(SYNC)
        with pytest.raises(DestinationStopped) as opens:
            destination(**settings).open(SYNC)
        for error in (reads.value, checks.value, opens.value):
            assert named in error.hint, str(error)
            assert "wr0ng-secret" not in str(error) + error.hint
    connection.channel().queue_delete(QUEUE)
    connection.close()
