"""RabbitMQ as a destination, against a real broker: the contract suite, routing, refusals, confirms."""

from __future__ import annotations

import io
import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.message_factory import GetMessageClass
from pydantic import ValidationError

from headwater.deliver.destination import Batch, Op, State, Sync
from headwater.deliver.rabbitmq import RabbitmqDestination
from headwater.deliver.rabbitmq_settings import RabbitmqSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.decoder import make_decoder
from headwater.formats.protobuf.schema import files_of, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.registry.registration import OwnRegistry
from headwater.registry.store import SchemaStore
from headwater.testing.destination_contract import DestinationContract, Row
from headwater.testing.proxy import Proxy
from headwater.testing.rabbitmq import RabbitmqServer

pytestmark = pytest.mark.xdist_group("rabbitmq")
COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string())])
SYNC = Sync("shop", "orders", "one", "orders", COLUMNS, ("id",))
QUEUES = itertools.count(1)


@pytest.fixture(scope="module")
def server(rabbitmq: RabbitmqServer) -> RabbitmqServer:
    return rabbitmq


@pytest.fixture
def channel(server: RabbitmqServer) -> Iterator[Any]:
    connection = server.connect()
    yield connection.channel()
    connection.close()


def destination(url: str, **options: Any) -> RabbitmqDestination:
    return RabbitmqDestination(RabbitmqSettings.model_validate({"url": url, **options}))


def batch(call: int, *records: tuple[Op, int, str]) -> Batch:
    rows = pa.table([[number for _, number, _ in records], [name for _, _, name in records]], schema=COLUMNS)
    seq = np.arange(len(records), dtype=np.int64) + 100_000 * call
    return Batch(call, rows, np.array([op for op, _, _ in records], np.uint8), seq, np.ones(len(records), np.int64))


def taken(channel: Any, queue: str) -> list[tuple[Any, Any]]:
    """All messages of a queue, which is empty then."""
    found = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append((properties, json.loads(body)))


class RabbitmqPeer:
    """A queue, behind a proxy that can be cut."""

    appends, poisons, stoppable = True, False, True

    def __init__(self, channel: Any, proxy: Proxy) -> None:
        self.queue = f"delivered.{next(QUEUES)}"
        channel.queue_declare(self.queue, durable=True)
        self._channel, self._proxy, self._found = channel, proxy, []

    def destination(self) -> RabbitmqDestination:
        return destination(f"amqp://guest:guest@127.0.0.1:{self._proxy.port}", routing_key=self.queue, timeout_s=10)

    def _all(self) -> list[tuple[Any, Any]]:
        self._found += taken(self._channel, self.queue)
        return self._found

    def rows(self) -> dict[int, Row]:
        held: dict[int, Row] = {}
        for properties, row in self._all():
            held[row["id"]] = {**row, "at": row["at"] and datetime.fromisoformat(row["at"])}
            if properties.type == "delete":
                del held[row["id"]]
        return held

    def names(self, number: int) -> list[str | None]:
        return [None if kind.type == "delete" else row["name"] for kind, row in self._all() if row["id"] == number]

    def heal(self) -> None:
        """Nothing is refused."""

    def stop(self) -> None:
        self._proxy.down()

    def start(self) -> None:
        self._proxy.up()


class TestContract(DestinationContract):
    @pytest.fixture
    def peer(self, server: RabbitmqServer, channel: Any) -> Iterator[RabbitmqPeer]:
        with Proxy(server.port) as proxy:
            yield RabbitmqPeer(channel, proxy)


def test_messages_are_persistent_and_say_which_change_they_are(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("changes", durable=True)
    session = destination(server.url(), routing_key="changes").open(SYNC)
    session.deliver(batch(1, (Op.UPSERT, 1, "ann"), (Op.DELETE, 2, "bob")))
    session.close()
    (first, row), (second, _) = taken(channel, "changes")
    assert row == {"id": 1, "name": "ann"}
    assert (first.message_id, first.delivery_mode, first.content_type) == (
        "shop/orders:one:1:100000", 2, "application/json",
    )  # fmt: skip
    assert (first.type, second.type) == ("upsert", "delete")
    assert second.headers["headwater-seq"] == 100001


def test_thousands_are_confirmed_in_one_call_in_order(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("many", durable=True, arguments={"x-queue-type": "quorum"})
    session = destination(server.url(), routing_key="many").open(SYNC)
    for call in (1, 2):
        records = [(Op.UPSERT, 3000 * call + number, "x") for number in range(3000)]
        assert not session.deliver(batch(call, *records)).state.any()
    session.close()
    assert [row["id"] for _, row in taken(channel, "many")] == list(range(3000, 9000))


def test_what_no_queue_takes_is_refused_and_the_rest_is_not(server: RabbitmqServer, channel: Any) -> None:
    channel.exchange_declare("by.name", "direct", durable=True)
    channel.queue_declare("anns", durable=True)
    channel.queue_bind("anns", "by.name", "ann")
    session = destination(server.url(), exchange="by.name", routing_key_column="name").open(SYNC)
    records = [(Op.UPSERT, 1, "ann"), (Op.UPSERT, 2, "bob"), (Op.UPSERT, 3, "ann"), (Op.UPSERT, 4, "n" * 300)]
    outcomes = session.deliver(batch(1, *records))
    session.close()
    assert outcomes.state.tolist() == [State.DELIVERED, State.REFUSED, State.DELIVERED, State.REFUSED]
    assert "312 NO_ROUTE" in outcomes.reasons[1]
    assert "255" in outcomes.reasons[3]
    assert [row["id"] for _, row in taken(channel, "anns")] == [1, 3]


def test_a_full_queue_is_tried_again(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    session = destination(server.url(), routing_key="full").open(SYNC)
    outcomes = session.deliver(batch(1, *((Op.UPSERT, number, "x") for number in range(3))))
    assert outcomes.state.tolist() == [State.DELIVERED, State.RETRY, State.RETRY]
    taken(channel, "full")
    assert session.deliver(batch(2, (Op.UPSERT, 1, "x"))).state.tolist() == [State.DELIVERED]
    session.close()


def test_confirms_that_are_lost_mean_that_nobody_knows(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("lost", durable=True)
    sent = 0
    with Proxy(server.port) as proxy:
        for cut in (0, 5, 40, 200):
            url = f"amqp://guest:guest@127.0.0.1:{proxy.port}"
            session = destination(url, routing_key="lost", timeout_s=5).open(SYNC)
            proxy.reset_after(cut)
            with pytest.raises(DestinationUnavailable):
                for call in range(1, 200):
                    session.deliver(batch(call, (Op.UPSERT, sent, "x")))
                    sent += 1
            session.close()
    assert [row["id"] for _, row in taken(channel, "lost")][-1] >= sent - 1


def test_refusals_stop_and_are_told_without_the_password(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("check", durable=True)
    assert "'check', at least once" in destination(server.url(), routing_key="check").check(SYNC)[0]
    for url, options in (
        (server.url(), {"exchange": "nowhere"}),
        (server.url(), {"routing_key": "nowhere"}),
        (server.url().replace("guest@", "wrongsecret@"), {"routing_key": "check"}),
        (server.url(), {"exchange": "amq.topic", "routing_key_column": "missing"}),
    ):
        with pytest.raises(DestinationStopped) as stopped:
            destination(url, **options).check(SYNC)
        assert "wrongsecret" not in str(stopped.value) + stopped.value.hint
    with pytest.raises(DestinationStopped):
        destination(server.url().replace("guest@", "wrongsecret@"), routing_key="check").open(SYNC)
    with pytest.raises(DestinationStopped):
        session = destination(server.url(), exchange="nowhere", routing_key="x").open(SYNC)
        session.deliver(batch(1, (Op.UPSERT, 1, "x")))
    with pytest.raises(ValidationError):
        destination(server.url())


def test_a_dry_run_shows_what_would_be_published(server: RabbitmqServer) -> None:
    shown = destination(server.url(), exchange="e", routing_key="k").preview(SYNC, batch(1, (Op.DELETE, 1, "ann")))
    assert shown == ['delete e/k: {"id":1,"name":"ann"}']


@pytest.mark.parametrize("form", ["avro", "protobuf"])
def test_bodies_of_a_registrys_formats_are_read_by_others(
    server: RabbitmqServer, channel: Any, tmp_path: Path, form: str
) -> None:
    queue = f"in.{form}"
    channel.queue_declare(queue, durable=True)
    with closing(SchemaStore(tmp_path)) as store:
        told = replace(SYNC, schemas=OwnRegistry(lambda: store))
        session = destination(server.url(), routing_key=queue, format=form).open(told)
        assert session.deliver(batch(1, (Op.UPSERT, 1, "ann"), (Op.UPSERT, 2, "ben"))).state.tolist() == [0, 0]
        session.close()
        bodies = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(2)]
        held = store.version(f"{queue}-value", -1)
        assert held is not None and held.type == form.upper()
        settings = AvroFormat() if form == "avro" else ProtobufFormat()
        ours = make_decoder(settings, store).decode(pa.array(bodies, pa.binary())).rows.to_pylist()
    if form == "avro":
        theirs = [fastavro.schemaless_reader(io.BytesIO(body[5:]), json.loads(held.text), None) for body in bodies]
    else:
        kind = GetMessageClass(message_named(files_of(held, None), ""))
        read = ProtobufDeserializer(kind, {"use.deprecated.format": False})
        context = SerializationContext(queue, MessageField.VALUE)
        theirs = [{"id": one.id, "name": one.name} for one in (read(body, context) for body in bodies)]
    assert ours == theirs == [{"id": 1, "name": "ann"}, {"id": 2, "name": "ben"}]


def test_what_doctor_finds(server: RabbitmqServer, channel: Any) -> None:
    channel.queue_declare("looked at by doctor", durable=True)
    found = destination(server.url(), routing_key="looked at by doctor").diagnose(SYNC)
    assert [(one.check, one.level) for one in found] == [("tls", "ok"), ("exchange", "ok")]
    wrong = destination(server.url(), exchange="nowhere", routing_key="x").diagnose(SYNC)[-1]
    assert (wrong.check, wrong.level) == ("exchange", "fail") and "nowhere" in wrong.message


def test_a_server_that_takes_the_connection_and_says_nothing_is_away() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"amqp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DestinationUnavailable, match="connecting to RabbitMQ"):
            destination(url, routing_key="q", timeout_s=1).open(SYNC)
