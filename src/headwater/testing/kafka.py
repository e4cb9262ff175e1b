"""A real Kafka broker on free loopback ports, for tests: one KRaft node, broker and controller, no ZooKeeper.

Its jars come from Maven (`org.apache.kafka:kafka_2.13` and what that needs, about 100 MB, once); `java/kafka/
KafkaBroker.java` formats the folder and starts it in one process of a JDK, which ends with whoever started it.
`make test` runs this module, so that a fresh machine sets all up by itself.
"""

from __future__ import annotations

import base64
import sys
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from headwater.clock import SystemClock
from headwater.errors import SourceUnavailable
from headwater.testing import maven
from headwater.testing.java_server import JavaServer, ensure
from headwater.testing.leash import free_port

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

USER, PASSWORD = "headwater", "headwater-test"
CLUSTER = base64.urlsafe_b64encode(uuid.UUID(int=0x4865616477617465_7200000000000001).bytes).decode().rstrip("=")
ADMIN_DEADLINE_S = 120.0
LOOK_AGAIN_S = 0.02

SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL",
    "sasl.enabled.mechanisms": "PLAIN",
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "300",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.threads": "1",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "num.io.threads": "2",
    "num.network.threads": "2",
    "background.threads": "2",
}
"""Small, and quick with groups and retention; nothing waits for a disk: a killed broker has what the kernel has."""

_JVM = (
    *("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
)


class KafkaServer(JavaServer):
    """One broker in `folder` (made if it is not there).

    Args:
        folder: where its data lives; None makes a temporary folder that `stop` removes.
        settings: broker settings that override `SETTINGS`.
        certificate: a PEM file of a private key and its certificates, for a listener with TLS; None for none.
        jvm: options of the JVM that come after the usual ones.

    Attributes:
        port: of the plain listener on 127.0.0.1.
        sasl_port: of a listener on which `USER` must say `PASSWORD` (SASL PLAIN).
        tls_port: the same within TLS, if there is a certificate.
    """

    what, program, unavailable = "the Kafka broker", "KafkaBroker", SourceUnavailable

    def __init__(
        self,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        certificate: Path | None = None,
        jvm: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, "headwater-kafka-")
        self.port, self.sasl_port, self.tls_port, self._controller_port = (free_port() for _ in range(4))
        self._settings = {**SETTINGS, **self._listeners(certificate), **(settings or {})}
        self.options = (*_JVM, *jvm)
        self._admin: AdminClient | None = None

    @property
    def servers(self) -> str:
        """`bootstrap.servers` of the plain listener."""
        return f"127.0.0.1:{self.port}"

    def _listeners(self, certificate: Path | None) -> dict[str, str]:
        ports = {"PLAINTEXT": self.port, "SASL": self.sasl_port}
        found = {}
        if certificate is not None:
            ports["TLS"] = self.tls_port
            found = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(certificate)}
        outside = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        return {
            **found,
            **{f"listener.name.{name.lower()}.plain.sasl.jaas.config": jaas for name in ports if name != "PLAINTEXT"},
            "listeners": f"{outside},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": outside,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "log.dirs": str(self.folder / "data"),
        }

    def start(self) -> Self:
        """See `JavaServer.start`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        self._start(installed(), [str(properties), CLUSTER])
        return self

    def stop(self) -> None:
        """See `JavaServer.stop`."""
        self._admin = None
        super().stop()

    def admin(self) -> AdminClient:
        """A client for administration, which must be kept for as long as an answer is awaited."""
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        return self._admin

    def make_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Makes a topic and waits until every client can see it: the broker answers before it knows that itself."""
        from confluent_kafka.cimpl import NewTopic

        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin = self.admin()
        admin.create_topics([topic])[name].result(ADMIN_DEADLINE_S)
        clock, deadline_s = SystemClock(), SystemClock().monotonic_s() + ADMIN_DEADLINE_S
        while len(self._partitions(admin, name)) < partitions:
            if clock.monotonic_s() > deadline_s:
                raise SourceUnavailable(f"the broker does not show the topic {name} that it has made")
            clock.wait(threading.Event(), LOOK_AGAIN_S)

    @staticmethod
    def _partitions(admin: AdminClient, name: str) -> list[int]:
        """Those partitions of a topic that have a leader by now."""
        from confluent_kafka import KafkaException

        try:
            found = admin.list_topics(timeout=ADMIN_DEADLINE_S).topics.get(name)
        except KafkaException:  # not connected, on a busy machine
            return []
        return [at for at, known in found.partitions.items() if known.leader >= 0] if found else []

    def drop_topic(self, name: str) -> None:
        """Deletes a topic."""
        self.admin().delete_topics([name])[name].result(ADMIN_DEADLINE_S)

    def add_partitions(self, name: str, partitions: int) -> None:
        """Gives a topic so many partitions in all."""
        from confluent_kafka.cimpl import NewPartitions

        self.admin().create_partitions([NewPartitions(name, partitions)])[name].result(ADMIN_DEADLINE_S)

    def drop_records(self, name: str, partition: int, before: int) -> None:
        """Has the broker forget the records of a partition before an offset, as retention does."""
        from confluent_kafka import TopicPartition

        place = TopicPartition(name, partition, before)
        self.admin().delete_records([place])[place].result(ADMIN_DEADLINE_S)


def installed() -> Path:
    """The folder of the jars and the compiled class, made first if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    folder = maven.JAVA / "kafka"
    return maven.installed("kafka-broker", folder / "pom.xml", folder / "KafkaBroker.java")


if __name__ == "__main__":
    sys.exit(ensure(installed))
