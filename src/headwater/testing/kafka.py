"""A real Kafka broker on free loopback ports, for tests: one KRaft node, broker and controller, no ZooKeeper.

Its jars come from Maven (`org.apache.kafka:kafka_2.13` and what that needs, about 100 MB, once); `java/kafka/
KafkaBroker.java` formats the folder and starts it in one process of a JDK, which ends with whoever started it.
`make test` runs this module, so that a fresh machine sets all up by itself.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from headwater.clock import SystemClock
from headwater.errors import SourceUnavailable, UserError
from headwater.testing import maven

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

USER, PASSWORD = "headwater", "headwater-test"
CLUSTER = base64.urlsafe_b64encode(uuid.UUID(int=0x4865616477617465_7200000000000001).bytes).decode().rstrip("=")
STOP_DEADLINE_S = 30.0
ADMIN_DEADLINE_S = 30.0
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


class KafkaServer:
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

    def __init__(
        self,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        certificate: Path | None = None,
        jvm: tuple[str, ...] = (),
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-kafka-"))
        self.port, self.sasl_port, self.tls_port, self._controller_port = _free_ports(4)
        self._settings = {**SETTINGS, **self._listeners(certificate), **(settings or {})}
        self._jvm = jvm
        self._process: subprocess.Popen[bytes] | None = None
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

    def start(self) -> KafkaServer:
        """Starts the broker and waits until it answers; a folder that was used before goes on as it was left.

        Raises:
            UserError: a JDK or Maven is missing and cannot be installed.
            SourceUnavailable: it did not start; the message ends with what it wrote.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        classes = installed()
        program = ["java", *_JVM, *self._jvm, "-cp", f"{classes}{os.pathsep}{classes}/*", "KafkaBroker"]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [*program, str(properties), CLUSTER],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == b"ready\n":
                return self
        tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise SourceUnavailable(f"the Kafka broker did not start: {tail}")

    def pause(self, *, immediate: bool = False) -> None:
        """Stops the broker (`immediate`: as a crash would); folder and ports stay, so that `start` brings it back."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        if not immediate and process.poll() is None:
            process.stdin.write(b"\n")
            process.stdin.flush()
        else:
            process.kill()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()

    def stop(self) -> None:
        """Kills the broker and removes a temporary folder."""
        self._admin = None
        self.pause(immediate=True)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> KafkaServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

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
        found = admin.list_topics(timeout=ADMIN_DEADLINE_S).topics.get(name)
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


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def main() -> int:
    """Ensures what the test suite needs; what is missing is said, and the tests that need it fail by name."""
    try:
        installed()
    except UserError as error:
        sys.stderr.write(f"{error}\n  {error.hint}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
