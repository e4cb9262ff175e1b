"""The contract suite of sources on a Kafka topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from kafka_topics import Topics

from headwater.capture.kafka.source import KafkaSource
from headwater.testing.kafka import KafkaServer
from headwater.testing.source_contract import SourceContract

pytestmark = pytest.mark.xdist_group("kafka")


class TopicPeer:
    """A topic of one partition: order is kept within one."""

    exactly_once, stoppable = True, False

    def __init__(self, server: KafkaServer) -> None:
        self.topics = Topics(server)
        self._topic = self.topics.topic("numbers")

    def source(self, kind: str = "BIGINT") -> KafkaSource:
        given = {self._topic: {"stream": "numbers", "columns": {"n": kind}}}
        made: KafkaSource = self.topics.source(given, batch_messages=40)
        if kind != "BIGINT":
            made.schemas = None
        return made

    def mended(self) -> KafkaSource:
        return self.source("VARCHAR")

    def publish(self, values: Sequence[object]) -> None:
        self.topics.send(self._topic, *({"n": value} for value in values))

    def stop(self) -> None:
        """Other tests use the broker."""

    start = stop


class TestContract(SourceContract):
    @pytest.fixture
    def peer(self, kafka: KafkaServer) -> Iterator[TopicPeer]:
        peer = TopicPeer(kafka)
        yield peer
        peer.topics.close()
