"""Kafka as a source: topics, each a stream, read as a member of a consumer group.

Where reading goes on is what our log says (`standing`), never what the group says; the group is told afterwards, for
others to see. Offsets are always given explicitly and `auto.offset.reset` is `error`: what is not there any more is a
`PositionLost` with its ways out, never a silent jump.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from headwater.capture.gap import Gap, gap_reject
from headwater.capture.kafka.assignment import Assignment
from headwater.capture.kafka.diagnosis import diagnose
from headwater.capture.kafka.lost import Loss, losses, lost_position
from headwater.capture.kafka.reader import KafkaReader
from headwater.capture.kafka.settings import KafkaSettings, is_pattern
from headwater.capture.kafka.standing import Place, Standing, standing_of
from headwater.capture.kafka.streams import Streams
from headwater.capture.kafka.watch import KafkaWatcher
from headwater.capture.messages.message import stream_of
from headwater.capture.request import Request
from headwater.change import ChangeBatch, Group
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, PositionLost, SourceStopped, UserError
from headwater.finding import Finding
from headwater.kafka.connection import configuration
from headwater.kafka.control import Control, Topic
from headwater.position import Position, Resume
from headwater.registry.store import SchemaStore
from headwater.schema import StreamSchema

SHOWN = 10


class KafkaSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project.
        settings: from `headwater.yml`.
        project: name of the project; part of the default name of the consumer group.
        identity: stable id of the state folder, part of it too; empty before its first run.
        clock: time.

    Attributes:
        lag_unit: what the readings' `lag_bytes` count: a broker does not say how many bytes are left.
        schemas: where schemas learnt from messages are kept, and those that messages name are found; None: nowhere.
    """

    lag_unit = "messages"

    def __init__(
        self,
        name: str,
        settings: KafkaSettings,
        *,
        project: str,
        identity: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.schemas: SchemaStore | None = None
        self.group = settings.group or f"headwater-{project}-{name}-{identity}".rstrip("-")
        self._member = f"headwater-{project}-{name}-{identity}".rstrip("-")
        self._clock = clock or SystemClock()
        self._streams: Streams | None = None

    @property
    def streams(self) -> Streams:
        """Shapers of the topics."""
        if self._streams is None:
            self._streams = Streams(self.settings, self.schemas, self.schemas)
        return self._streams

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`. Kafka tells its readers of no transaction."""
        return False

    def check(self) -> list[str]:
        """See `Source.check`."""
        topics = self._topics(self.control())
        self.streams.require(topics)
        named = ", ".join(f"{one.name} ({one.partitions})" for one in list(topics.values())[:SHOWN])
        more = f" and {len(topics) - SHOWN} more" if len(topics) > SHOWN else ""
        return [
            f"reads {len(topics)} topic{'s' if len(topics) != 1 else ''} (partitions): {named}{more}",
            f"begins at {_said(self.settings)}, as group {self.group}; where it stands is kept in our log",
            *(
                f"the columns of stream {self.settings.stream_of(name)!r} are learnt from its first messages"
                for name in topics
                if self.streams[name].stream() is None
            ),
        ]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`. A stream whose columns nobody knows yet comes with its first messages."""
        if resume is not None:
            known = [name for name in standing_of(resume).topics if self.settings.of(name) is not None]
            return self.streams.schemas(known)
        return self.streams.schemas(self._topics(self.control()))

    def open(self, resume: Resume | None, decision: Request | None = None) -> KafkaReader:
        """See `Source.open`."""
        control = self.control()
        if resume is None:
            topics = self._topics(control)
            self.streams.require(topics)
            offsets = self._start(control, topics)
            others = frozenset(offsets if self.settings.group is not None else ())
            standing = Standing(1, offsets, _ids(topics), away=others)
            return self._reader(standing, control, Group(standing.boundary()))
        standing = standing_of(resume)
        if decision is not None and decision.id == standing.decided:
            decision = None
        if decision is not None and decision.action == "resnapshot":
            return self._again(standing, control, decision)
        if decision is not None and decision.action == "accept_change":
            raise UserError("accept-change is not for a Kafka source: its policy for schemas is `schema:` of the topic")
        found, topics = self._losses(control, standing)
        if not found:
            return self._reader(standing, control)
        lost = lost_position(self.name, found)
        if decision is None or (decision.cause and decision.cause != lost.cause):
            raise lost
        return self._accept(standing, control, (found, topics, lost), decision)

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`."""
        found, _ = self._losses(self.control(), standing_of(resume))
        return lost_position(self.name, found) if found else None

    def watcher(self) -> KafkaWatcher:
        """See `Source.watcher`."""
        return KafkaWatcher(self)

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        stream = stream_of(record)
        named = [name for name in self.settings.topics if not is_pattern(name) and not name.startswith("!")]
        topic = next((name for name in named if self.settings.stream_of(name) == stream), None)
        if topic is None:
            fed = (name for name in self.control().names() if self.settings.of(name) is not None)
            topic = next((name for name in fed if self.settings.stream_of(name) == stream), None)
        if topic is None:
            raise UserError(f"no topic feeds the stream {stream!r} any more")
        return self.streams[topic].decode(record)

    def diagnose(self, resume: Resume | None) -> Sequence[Finding]:
        """See `headwater.capture.diagnosable.Diagnosable`."""
        return diagnose(self, resume, self._clock)

    def control(self) -> Control:
        """A client for questions."""
        return Control(configuration(self.settings, self._member), f"asking the brokers about source {self.name!r}")

    def losses_of(self, control: Control, standing: Standing) -> list[Loss]:
        """What is lost of a standing."""
        return self._losses(control, standing)[0]

    def _losses(self, control: Control, standing: Standing) -> tuple[list[Loss], dict[str, Topic]]:
        committed = self.settings.isolation == "read_committed"
        return losses(control, standing, lambda name: self.settings.of(name) is not None, committed=committed)

    def _topics(self, control: Control) -> dict[str, Topic]:
        """The topics to be read, as they are now.

        Raises:
            SourceStopped: one that is named is not there, or there is none.
        """
        there = control.names()
        for name in self.settings.topics:
            if not is_pattern(name) and not name.startswith("!") and name not in there:
                near = difflib.get_close_matches(name, there, 1)
                raise SourceStopped(
                    f"source {self.name!r}: there is no topic {name}, or we may not see it",
                    hint=f"did you mean {near[0]}?" if near else f"make it: kafka-topics.sh --create --topic {name}",
                )
        wanted = [name for name in there if self.settings.of(name) is not None]
        if not wanted:
            raise SourceStopped(
                f"source {self.name!r}: no topic matches", hint=f"there are: {', '.join(there[:SHOWN]) or 'none'}"
            )
        return control.topics(wanted)

    def _start(self, control: Control, topics: Mapping[str, Topic]) -> dict[Place, int]:
        """Where the first reading begins, of every partition that there is."""
        places = [place for topic in topics.values() for place in topic.places]
        start = self.settings.start
        if start == "latest":
            return control.ends(places)
        if isinstance(start, datetime):
            return control.at_time(places, int(start.timestamp() * 1000))
        beginnings = control.beginnings(places)
        if start == "earliest":
            return beginnings
        if start == "committed":
            return {**beginnings, **control.committed(self.group, places)}
        assert isinstance(start, dict)
        named = {(topic, one): offset for topic, offsets in start.items() for one, offset in offsets.items()}
        unknown = [f"{topic}[{partition}]" for topic, partition in named if (topic, partition) not in beginnings]
        if unknown:
            raise SourceStopped(f"source {self.name!r}: start names {', '.join(unknown)}, which is not read")
        return {**beginnings, **named}

    def _again(self, before: Standing, control: Control, decision: Request) -> KafkaReader:
        """Empties the streams and reads every topic from its oldest message."""
        topics = self._topics(control)
        beginnings = control.beginnings([place for topic in topics.values() for place in topic.places])
        standing = Standing(before.number + 1, beginnings, _ids(topics), decided=decision.id)
        known = {name for name in {*before.topics, *topics} if self.settings.of(name) is not None}
        emptied = self.streams.emptied(known, Position(standing.number))
        return self._reader(standing, control, Group(standing.boundary(len(emptied)), emptied))

    def _accept(
        self,
        before: Standing,
        control: Control,
        lost: tuple[list[Loss], dict[str, Topic], PositionLost],
        decision: Request,
    ) -> KafkaReader:
        """Goes on without what is lost, from where the brokers can, and enters the gap into the ledger."""
        found, topics, error = lost
        ids = {name: topic.id for name, topic in topics.items()}
        gone = {loss.place[0] for loss in found if loss.until is None and loss.place[0] not in topics}
        offsets = {place: at for place, at in before.offsets.items() if place[0] not in gone}
        for loss in found:
            offsets.pop(loss.place, None)
            if loss.until is not None:
                offsets[loss.place] = loss.until
        known = {name: ids.get(name, before.topics[name]) for name in before.topics if name not in gone}
        standing = replace(before, number=before.number + 1, offsets=offsets, topics=known, decided=decision.id)
        gap = Gap(
            source=self.name,
            cause=error.cause,
            message=error.message,
            since=error.since,
            until=error.until,
            lost_bytes=None,
            accepted_us=self._clock.now_us(),
            decision=decision.id,
            reason=decision.reason,
        )
        return self._reader(standing, control, Group(standing.boundary(), rejects=gap_reject(gap)))

    def _reader(self, standing: Standing, control: Control, first: Group | None = None) -> KafkaReader:
        shared = self.settings.group is not None

        def lost(now: Standing) -> HeadwaterError | None:
            found = self.losses_of(control, now)
            return lost_position(self.name, found) if found else None

        assignment = Assignment(self.name, standing, self.group, shared=shared, control=control)
        return KafkaReader(
            self.name, self.settings, self._consumer_configuration(), standing, self.streams, assignment, lost, first
        )

    def _consumer_configuration(self) -> dict[str, str]:
        """A static member, so that one that was killed and comes back takes its own place at once, and one that was
        thought dead is told so."""
        settings = self.settings
        refresh = str(int(settings.metadata_refresh_s * 1000))
        found = {
            **configuration(settings, self._member),
            "group.id": self.group,
            "group.instance.id": self._member,
            "group.protocol": settings.group_protocol,
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            "auto.offset.reset": "error",
            "isolation.level": settings.isolation,
            "enable.partition.eof": "true",
            "check.crcs": "true",
            "topic.metadata.refresh.interval.ms": refresh,
        }
        if settings.group_protocol == "classic":
            found["partition.assignment.strategy"] = "cooperative-sticky"
            found["session.timeout.ms"] = str(int(settings.session_timeout_s * 1000))
        if settings.excluded():
            found["topic.blacklist"] = ",".join(settings.excluded())
        return {**found, **settings.options}


def _ids(topics: Mapping[str, Topic]) -> dict[str, str]:
    return {name: topic.id for name, topic in topics.items()}


def _said(settings: KafkaSettings) -> str:
    """The setting `start` in words."""
    start = settings.start
    if isinstance(start, dict):
        return "the offsets given"
    if isinstance(start, datetime):
        return f"the first message of {start.isoformat()} or later"
    return {"earliest": "the oldest message", "latest": "what comes from now on"}.get(start, "where its group stands")
