"""The contract suite on a real Kafka broker, and what is Kafka's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.message_factory import GetMessageClass

from headwater.deliver.destination import Batch, Op, Receipt, State, Sync
from headwater.deliver.kafka import KafkaDestination, encoders
from headwater.deliver.kafka_messages import messages
from headwater.deliver.kafka_settings import KafkaSettings
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.decoder import make_decoder
from headwater.formats.protobuf.schema import files_of, message_named
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.registry.registration import OwnRegistry
from headwater.registry.store import SchemaStore
from headwater.testing.destination_contract import COLUMNS, DestinationContract, Row, row
from headwater.testing.kafka import KafkaServer
from headwater.testing.proxy import Proxy

pytestmark = pytest.mark.xdist_group("kafka")
NUMBERS = itertools.count(1)
WAIT_S = 30.0


@pytest.fixture(scope="module")
def server(kafka: KafkaServer) -> KafkaServer:
    return kafka


class KafkaPeer:
    """A topic of its own, read as a consumer of committed messages reads it."""

    appends, poisons, stoppable = True, False, False

    def __init__(self, server: KafkaServer, **options: object) -> None:
        self.topic = f"peer{next(NUMBERS)}"
        self.server = server
        self.options = options
        server.make_topic(self.topic, 3)

    def settings(self, **more: object) -> KafkaSettings:
        given = {"servers": self.server.servers, "topic": self.topic, "progress_topic": f"{self.topic}-progress"}
        return KafkaSettings.model_validate({**given, **self.options, **more})

    def destination(self) -> KafkaDestination:
        return KafkaDestination(self.settings())

    def messages(self) -> list[tuple[Any, Any]]:
        """Keys and values, parsed, by partition in order."""
        return [(json.loads(key), value and json.loads(value)) for key, value in read(self.server, self.topic, 3)]

    def rows(self) -> Mapping[int, Row]:
        found: dict[int, Row] = {}
        for key, value in self.messages():
            if value is None:
                found.pop(key["id"], None)
            else:
                found[key["id"]] = {**value, "at": value["at"] and datetime.fromisoformat(value["at"])}
        return found

    def names(self, number: int) -> Sequence[str | None]:
        return [value and value["name"] for key, value in self.messages() if key["id"] == number]

    def heal(self) -> None:
        """Nothing is refused."""

    stop = start = heal


def read(server: KafkaServer, topic: str, partitions: int, isolation: str = "read_committed") -> list[tuple[Any, Any]]:
    settings = {"bootstrap.servers": server.servers, "group.id": "reader", "isolation.level": isolation}
    consumer = Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found, ended = [], 0
    while ended < partitions:
        message = consumer.poll(WAIT_S)
        assert message is not None
        error = message.error()
        if error is None:
            found.append((message.partition(), message.offset(), message.key(), message.value()))
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ended += 1
    consumer.close()
    return [(key, value) for _, _, key, value in sorted(found, key=lambda one: one[:2])]


class TestKafka(DestinationContract):
    @pytest.fixture
    def peer(self, server: KafkaServer) -> KafkaPeer:
        return KafkaPeer(server)


@pytest.fixture
def peer(server: KafkaServer) -> KafkaPeer:
    return KafkaPeer(server)


def sync(peer: KafkaPeer, outbox: str = "one") -> Sync:
    return Sync("shop", peer.topic, outbox, "customers", COLUMNS, ("id",))


def batch(call: int, *records: tuple[Op, Row], before: Sequence[Row | None] | None = None) -> Batch:
    rows = pa.Table.from_pylist([one for _, one in records], schema=COLUMNS)
    seq = np.arange(len(records), dtype=np.int64) + 100 * call
    old = None if before is None else pa.array(before, pa.struct(list(COLUMNS)))
    return Batch(call, rows, np.array([op for op, _ in records], np.uint8), seq, np.ones(len(records), np.int64), old)


def test_the_last_call_is_read_from_the_topic_itself(peer: KafkaPeer) -> None:
    session = peer.destination().open(sync(peer))
    assert session.held() == ""
    for call in range(1, 5):
        session.deliver(batch(call, (Op.UPSERT, row(call))))
    again = peer.destination().open(sync(peer))
    held = Receipt.from_text(again.held() or "")
    assert (held.call, held.delivered.tolist()) == (4, [400])
    assert peer.destination().open(sync(peer, "another")).held() == "", "a receipt of another outbox is none"
    with pytest.raises(DestinationStopped, match="taken this sync over"):
        session.deliver(batch(5, (Op.UPSERT, row(5))))


@pytest.mark.parametrize("records", [1, 3, 300])
def test_who_is_fenced_is_told_so_whatever_is_reported_meanwhile(peer: KafkaPeer, records: int) -> None:
    """The library raises the fencing in the midst of reports on messages."""
    first = peer.destination().open(sync(peer))
    for call in range(1, 9):
        then = peer.destination().open(sync(peer))
        with pytest.raises(DestinationStopped, match="taken this sync over"):
            first.deliver(batch(call, *((Op.UPSERT, row(number)) for number in range(records))))
        first = then
    assert not peer.rows()


def test_a_call_that_was_not_committed_is_not_there(peer: KafkaPeer) -> None:
    session = peer.destination().open(sync(peer))
    session.deliver(batch(1, (Op.UPSERT, row(1))))
    session._producer.begin_transaction()
    session._producer.produce(peer.topic, b'{"id": 9}', b'{"id": 9}')
    session._producer.flush()
    again = peer.destination().open(sync(peer))
    assert Receipt.from_text(again.held() or "").call == 1
    assert set(peer.rows()) == {1}
    assert len(read(peer.server, peer.topic, 3, "read_uncommitted")) == 2


def test_debezium_says_what_was_before(peer: KafkaPeer) -> None:
    peer.options = {"envelope": "debezium"}
    session = peer.destination().open(sync(peer))
    old, new = row(1, "old"), row(1, "new")
    session.deliver(batch(1, (Op.UPSERT, old), (Op.UPSERT, new), (Op.DELETE, new), before=[None, old, new]))
    told = [value for _, value in peer.messages()]
    assert [value and value["op"] for value in told] == ["c", "u", "d", None]
    assert [value["before"] and value["before"]["name"] for value in told[:3]] == [None, "old", "new"]
    assert [value["after"] and value["after"]["name"] for value in told[:3]] == ["old", "new", None]
    assert told[0]["source"]["table"] == "customers"


def test_a_changelog_says_what_happened(peer: KafkaPeer) -> None:
    peer.options = {"envelope": "changelog"}
    session = peer.destination().open(sync(peer))
    session.deliver(batch(1, (Op.UPSERT, row(1)), (Op.DELETE, row(1))))
    assert [(value["_op"], value["_seq"], value["id"]) for _, value in peer.messages()] == [
        ("upsert", 100, 1), ("delete", 101, 1),
    ]  # fmt: skip


def test_what_is_too_large_is_refused_and_its_key_waits(peer: KafkaPeer) -> None:
    peer.options = {"options": {"message.max.bytes": "5000"}}
    session = peer.destination().open(sync(peer))
    large = row(1, "x" * 6000)
    outcomes = session.deliver(batch(1, (Op.UPSERT, large), (Op.UPSERT, row(2)), (Op.UPSERT, row(1))))
    assert outcomes.state.tolist() == [State.REFUSED, State.DELIVERED, State.RETRY]
    assert set(peer.rows()) == {2}


def test_what_the_topic_refuses_is_refused_and_the_rest_goes(server: KafkaServer) -> None:
    peer = KafkaPeer(server, topic="small", progress_topic="small-progress")
    server.make_topic("small", 1, {"max.message.bytes": "3000"})
    session = peer.destination().open(sync(peer))
    noise = np.random.default_rng(1).bytes(6000).hex()
    outcomes = session.deliver(batch(1, (Op.UPSERT, row(1, noise)), (Op.UPSERT, row(2))))
    assert outcomes.state.tolist() == [State.REFUSED, State.DELIVERED], outcomes.reasons
    assert [json.loads(key)["id"] for key, _ in read(server, "small", 1)] == [2]


def test_it_is_checked_before_it_is_opened(peer: KafkaPeer, tmp_path: Path) -> None:
    with pytest.raises(DestinationStopped, match="no topic") as stopped:
        KafkaDestination(peer.settings(topic="nowhere")).check(sync(peer))
    assert "create: true" in stopped.value.hint
    KafkaDestination(peer.settings(topic=f"made-{peer.topic}", create=True)).open(sync(peer)).close()
    assert f"made-{peer.topic}" in peer.server.admin().list_topics(timeout=WAIT_S).topics
    with Proxy(1) as nothing, pytest.raises(DestinationUnavailable):
        KafkaDestination(peer.settings(servers=f"127.0.0.1:{nothing.port}")).check(sync(peer))


def test_protobuf_is_read_by_confluents_own_deserializer(peer: KafkaPeer, tmp_path: Path) -> None:
    """The schemas are registered in the project's own registry; our decoder reads the same."""
    store = SchemaStore(tmp_path)
    told = replace(sync(peer), schemas=OwnRegistry(lambda: store))
    session = KafkaDestination(peer.settings(format="protobuf", envelope="changelog")).open(told)
    session.deliver(batch(1, (Op.UPSERT, row(7)), (Op.DELETE, row(8))))
    session.close()
    assert store.subjects() == [f"{peer.topic}-key", f"{peer.topic}-value"]
    held = store.version(f"{peer.topic}-value", -1)
    assert held is not None
    kind = GetMessageClass(message_named(files_of(held, None), ""))
    values = sorted((value for _, value in read(peer.server, peer.topic, 3)), key=lambda value: b"delete" in value)
    theirs = ProtobufDeserializer(kind, {"use.deprecated.format": False})
    context = SerializationContext(peer.topic, MessageField.VALUE)
    assert [(one.id, one.name, one._op, one._seq) for one in (theirs(value, context) for value in values)] == [
        (7, "a", "upsert", 100),
        (8, "a", "delete", 101),
    ]
    ours = make_decoder(ProtobufFormat(), store).decode(pa.array(values, pa.binary())).rows.to_pylist()
    assert [(one["id"], one["name"], one["_op"], one["_seq"]) for one in ours] == [
        (7, "a", "upsert", 100),
        (8, "a", "delete", 101),
    ]


def test_a_record_that_the_schema_cannot_say_is_refused_and_no_other(peer: KafkaPeer) -> None:
    text = 'syntax = "proto3"; message m { optional int64 id = 1; string name = 2; }'
    columns = pa.schema([("id", pa.int64()), ("name", pa.string())])
    wanted = peer.settings(format={"type": "protobuf", "framing": "none", "schema": text})
    rows = pa.Table.from_pylist([{"id": id, "name": "" if id % 2 else None} for id in (1, 2, 3, 2)], schema=columns)
    given = Batch(1, rows, np.zeros(4, np.uint8), np.arange(4, dtype=np.int64), np.ones(4, np.int64))
    session = KafkaDestination(wanted).open(replace(sync(peer), columns=columns))
    outcomes = session.deliver(given)
    session.close()
    assert outcomes.state.tolist() == [State.DELIVERED, State.REFUSED, State.DELIVERED, State.REFUSED]
    assert "name is null" in outcomes.reasons[1]
    assert len(read(peer.server, peer.topic, 3)) == 2


def test_keys_and_values_in_avro_have_subjects_of_their_own(peer: KafkaPeer, tmp_path: Path) -> None:
    store = SchemaStore(tmp_path)
    wanted = peer.settings(format="avro")
    told = messages(wanted, sync(peer), batch(1, (Op.UPSERT, row(7)), (Op.DELETE, row(7))), encoders(wanted, store))
    assert [message.value is None for message in told] == [False, True]
    assert store.subjects() == [f"{peer.topic}-key", f"{peer.topic}-value"]
    decoded = make_decoder(AvroFormat(), store).decode(pa.array([told[0].value, told[0].key], pa.binary()))
    assert decoded.rows.to_pylist()[0]["name"] == "a" and decoded.rows.to_pylist()[1]["id"] == 7


def test_what_doctor_finds(peer: KafkaPeer) -> None:
    found = {one.check: one for one in peer.destination().diagnose(sync(peer))}
    assert {one.level for one in found.values()} == {"ok"} and found.keys() == {"tls", "topic", "rights"}
    peer.server.make_topic(f"{peer.topic}-progress", 1, {"cleanup.policy": "delete", "retention.ms": "3600000"})
    notes = {one.check: one for one in peer.destination().diagnose(sync(peer))}["notes"]
    assert notes.level == "warn" and "cleanup.policy=compact" in notes.mend
    gone = KafkaDestination(peer.settings(topic="nowhere")).diagnose(sync(peer))
    assert [one.check for one in gone if one.level == "fail"] == ["topic"]
