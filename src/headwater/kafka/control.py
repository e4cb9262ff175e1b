"""Asks a cluster: which topics there are, where their partitions begin and end, and what a group has committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as Wanted
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic

from headwater.errors import HeadwaterError
from headwater.kafka.failures import failure, is_final
from headwater.kafka.librdkafka import ALL_BROKERS_DOWN, TIMED_OUT, TOPIC_FORBIDDEN

Place = tuple[str, int]
"""Topic and partition."""

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""What a broker that knows no topic ids (older than 2.8) says."""
UNKNOWN, ALREADY_THERE = 3, 36
TURN_S = 1.0
LATE_S = 5.0
"""How much later than its time an answer may come: librdkafka's threads may starve beside others."""


@dataclass(frozen=True)
class Topic:
    """A topic as it is now.

    Attributes:
        name: its name.
        id: identifies it among all topics that ever had its name; empty if the brokers are too old to say.
        partitions: how many it has.
    """

    name: str
    id: str
    partitions: int

    @property
    def places(self) -> list[Place]:
        """Its partitions."""
        return [(self.name, partition) for partition in range(self.partitions)]


class Control:
    """A client for questions.

    Args:
        configuration: librdkafka's.
        doing: what it is for, for messages, as in "asking the brokers about source 'orders'".
        timeout_s: for each question.
        failed: makes an error of Kafka's code and text and of `doing`.
    """

    def __init__(
        self,
        configuration: Mapping[str, str],
        doing: str,
        timeout_s: float = 15.0,
        failed: Callable[[int, str, str], HeadwaterError] = failure,
    ) -> None:
        errors: list[tuple[int, str]] = []

        def note(error: Any) -> None:  # knows nothing of us: a client in a circle of references is destroyed
            errors.append((error.code(), error.str()))  # by whichever thread collects garbage, its callbacks gone

        self._errors = errors
        self._told: dict[str, Any] = {**configuration, "error_cb": note}
        self._client = AdminClient(self._told)
        self._doing, self._timeout_s, self._error = doing, timeout_s, failed

    def names(self) -> list[str]:
        """All topics but Kafka's own.

        Raises:
            SourceUnavailable, SourceStopped: as of every question.
        """
        found = self._metadata()
        return sorted(name for name in found.topics if not name.startswith("__"))

    def _metadata(self) -> ClusterMetadata:
        """What the brokers say first. Asked in short turns: who is refused need not wait for the end of the time."""
        waited_s = 0.0
        while True:
            try:
                return self._client.list_topics(timeout=TURN_S)
            except KafkaException as error:
                waited_s += TURN_S
                self._client.poll(0)
                given_up = any(is_final(code) or code == ALL_BROKERS_DOWN for code, _ in self._errors)
                if given_up or waited_s >= self._timeout_s:
                    raise self._failed(error) from error

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of some topics that there are."""
        wanted = list(names)
        if not wanted:
            return {}
        asked = self._client.describe_topics(TopicCollection(wanted), request_timeout=self._timeout_s)
        found = {}
        for name, future in asked.items():
            described = self._answer(future, missing=UNKNOWN)
            if described is not None:
                identity = str(described.topic_id)
                found[name] = Topic(name, "" if identity == NO_ID else identity, len(described.partitions))
        return found

    def allowed(self, topic: str) -> frozenset[str]:
        """What we may do with a topic: READ, WRITE and so on; empty if the brokers do not say."""
        asked = self._client.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=self._timeout_s
        )[topic]
        return frozenset(str(one.name) for one in self._answer(asked).authorized_operations or ())

    def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The first offset of each partition."""
        return self._offsets(_each(places, OffsetSpec.earliest))

    def ends(self, places: Iterable[Place], *, committed: bool = True) -> dict[Place, int]:
        """The offset after the last message of each partition; with `committed` the one that the first open
        transaction begins at, if there is one."""
        return self._offsets(_each(places, OffsetSpec.latest), committed=committed)

    def at_time(self, places: Iterable[Place], time_ms: int) -> dict[Place, int]:
        """The offset of each partition's first message of a time or later; its end if there is none."""
        wanted = list(places)
        found = self._offsets(_each(wanted, lambda: OffsetSpec.for_timestamp(time_ms)))
        late = [place for place, offset in found.items() if offset < 0]
        return {**found, **(self.ends(late) if late else {})}

    def _offsets(self, wanted: Mapping[Place, OffsetSpec], *, committed: bool = True) -> dict[Place, int]:
        if not wanted:
            return {}
        isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = self._client.list_offsets(
            {Wanted(*place): spec for place, spec in wanted.items()},
            isolation_level=isolation,
            request_timeout=self._timeout_s,
        )
        return {(one.topic, one.partition): self._answer(future).offset for one, future in asked.items()}

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """The offsets that a group has committed, of the partitions that it has any of.

        Asked as one of its consumers that joins nothing. librdkafka's question for administrators
        (ListConsumerGroupOffsets) takes the whole process with it while the group's coordinator moves or is not ready
        yet, and when an answer is late (librdkafka's issues 5040 and 4605).
        """
        wanted = [Wanted(*place) for place in places]
        if not wanted:
            return {}
        consumer = Consumer({**self._told, "group.id": group, "enable.auto.commit": False})
        try:
            found = consumer.committed(wanted, timeout=self._timeout_s)
        except KafkaException as error:
            raise self._failed(error) from error
        finally:
            consumer.close()
        for one in found:
            if one.error is not None and one.error.code() != UNKNOWN:
                raise self._error(one.error.code(), f"{one.topic}[{one.partition}]: {one.error.str()}", self._doing)
        return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def retention_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """How long topics keep messages, -1 for ever; without those that only keep the newest of each key."""
        wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
        found = {}
        for resource, future in self._client.describe_configs(wanted, request_timeout=self._timeout_s).items():
            entries = self._answer(future)
            if entries["cleanup.policy"].value != "compact":
                found[str(resource.name)] = int(entries["retention.ms"].value)
        return found

    def largest_message(self, topic: str) -> int | None:
        """Most bytes of a batch of messages that a topic takes; None if we may not ask."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        asked = self._client.describe_configs([resource], request_timeout=self._timeout_s)[resource]
        entries = self._answer(asked, missing=TOPIC_FORBIDDEN)
        return None if entries is None else int(entries["max.message.bytes"].value)

    def make_topic(self, name: str, partitions: int, config: dict[str, str]) -> None:
        """Makes a topic; one that is there stays as it is."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=config)
        asked = self._client.create_topics([topic], request_timeout=self._timeout_s)[name]
        self._answer(asked, missing=ALREADY_THERE)

    def _answer(self, future: Future[Any], missing: int | None = None) -> Any:
        """What was answered; None for the error `missing`."""
        try:
            return future.result(self._timeout_s + LATE_S)
        except TimeoutError as error:
            raise self._error(TIMED_OUT, f"no answer within {self._timeout_s + LATE_S:g} s", self._doing) from error
        except KafkaException as error:
            if cast(Any, error.args[0]).code() == missing:
                return None
            raise self._failed(error) from error

    def _failed(self, error: KafkaException) -> Exception:
        """The error in our tree; a refusal that came beside a timeout says more than the timeout."""
        given = cast(Any, error.args[0])
        self._client.poll(0)
        for code, text in self._errors:
            refused = self._error(code, text, self._doing)
            if not refused.retryable:
                return refused
        return self._error(given.code(), given.str(), self._doing)


def _each(places: Iterable[Place], spec: Any) -> dict[Place, OffsetSpec]:
    return {place: spec() for place in places}
