"""Settings of a Kafka source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, NonNegativeInt, model_validator

from headwater.capture.messages.settings import MessageStreamSettings
from headwater.kafka.connection import KafkaConnection

START = (
    "Where the first reading begins. earliest: at the oldest message. latest: with what comes from now on. committed: "
    "where the group stands, at the oldest message where it stands nowhere. A time: at the first message of that time "
    "or later. Or offsets by topic and partition; partitions that are not named begin at the oldest message. Topics "
    "and partitions that appear later are read from their beginning."
)


class TopicSettings(MessageStreamSettings):
    """One topic, or all that a pattern matches, and the streams that they become."""

    stream: str = Field(
        "",
        pattern=r"^[a-z][a-z0-9_]{0,62}$|^$",
        description="Name of the stream; the default is the topic's, in small letters, with _ for what is no letter or "
        "digit. Not for a pattern.",
        examples=["orders"],
    )


def _by_name(given: object) -> object:
    """`topics: [orders, payments]` is short for topics without settings."""
    return {name: {} for name in given} if isinstance(given, (list, tuple)) else given


class KafkaSettings(KafkaConnection):
    """How to reach a Kafka cluster (2.3 or newer) and which of its topics to read."""

    type: Literal["kafka"] = Field("kafka", description="Kind of source.")
    topics: Annotated[dict[str, TopicSettings], BeforeValidator(_by_name)] = Field(
        min_length=1,
        description="Topics to read: names, or patterns with * and ?; a leading ! excludes. Each becomes a stream. A "
        "list, or settings by name.",
        examples=[["orders", "shop.*", "!shop.internal.*"], {"orders": {"format": "avro", "key": ["id"]}}],
    )
    group: str | None = Field(
        None,
        min_length=1,
        description="The consumer group. The default is one of this source's own. Where several Headwaters share one, "
        "each reads some of the partitions.",
        examples=["headwater-shop"],
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="How partitions are shared out. consumer: the protocol of KIP-848, with Kafka 4 or newer.",
    )
    start: (
        Literal["earliest", "latest", "committed"] | AwareDatetime | dict[str, dict[NonNegativeInt, NonNegativeInt]]
    ) = Field(
        "earliest", description=START, examples=["latest", "2026-03-01T00:00:00Z", {"orders": {0: 1200, 1: 1170}}]
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed",
        description="Whether messages of transactions wait for their commit, and aborted ones are left out.",
    )
    batch_messages: int = Field(20_000, ge=1, le=1_000_000, description="Most messages that are taken at once.")
    session_timeout_s: float = Field(
        45.0, ge=1, description="The group takes the partitions of a member that has been silent for so many seconds."
    )
    metadata_refresh_s: float = Field(
        30.0, ge=1, description="Seconds between two looks for new topics and partitions, and for lost ones."
    )
    lag_budget: int = Field(
        1_000_000, ge=1, description="How many messages this source may be behind before that is an alarm."
    )

    @model_validator(mode="after")
    def _topics_sound(self) -> Self:
        if all(name.startswith("!") for name in self.topics):
            raise ValueError("topics: all are excluded and none is named")
        for name, topic in self.topics.items():
            if is_pattern(name) and topic.stream:
                raise ValueError(f"topics: {name} is a pattern, whose topics would all feed {topic.stream!r}")
        return self

    def of(self, topic: str) -> TopicSettings | None:
        """The settings of a topic: those of its name, else of the first pattern that matches; None if it is not to be
        read."""
        if any(_matches(name[1:], topic) for name in self.topics if name.startswith("!")):
            return None
        if topic in self.topics:
            return self.topics[topic]
        return next((one for name, one in self.topics.items() if is_pattern(name) and _matches(name, topic)), None)

    def subscription(self) -> list[str]:
        """The names and regular expressions to subscribe to."""
        wanted = [name for name in self.topics if not name.startswith("!")]
        return [expression(name) if is_pattern(name) else name for name in wanted]

    def excluded(self) -> list[str]:
        """Regular expressions of the topics that a pattern must not match."""
        return [expression(name[1:]) for name in self.topics if name.startswith("!")]

    def stream_of(self, topic: str) -> str:
        """Name of a topic's stream."""
        settings = self.of(topic)
        return (settings.stream if settings is not None else "") or stream_name(topic)


def is_pattern(name: str) -> bool:
    """Whether a name of `topics` stands for several."""
    return not name.startswith("!") and ("*" in name or "?" in name)


def expression(pattern: str) -> str:
    """A pattern as a regular expression; Kafka's names have letters, digits, `.`, `_` and `-`."""
    parts = {"*": ".*", "?": ".", ".": "[.]"}
    return "^" + "".join(parts.get(letter, letter) for letter in pattern) + "$"


def _matches(pattern: str, topic: str) -> bool:
    return re.fullmatch(expression(pattern), topic) is not None


def stream_name(topic: str) -> str:
    """What a topic's stream is called."""
    name = re.sub(r"[^a-z0-9]+", "_", topic.lower()).strip("_")[:63]
    return name if name[:1].isalpha() else f"t_{name}"[:63]
