"""Looks at a Kafka cluster from all sides for `headwater doctor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from headwater.capture.kafka.lost import lost_position
from headwater.capture.kafka.standing import standing_of
from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.finding import Finding, is_loopback
from headwater.kafka.control import Control, Place
from headwater.position import Resume

if TYPE_CHECKING:
    from headwater.capture.kafka.source import KafkaSource

_LONGER = "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config retention.ms=604800000"


def diagnose(source: KafkaSource, resume: Resume | None, clock: Clock) -> Sequence[Finding]:
    """All findings; see `headwater.capture.diagnosable.Diagnosable`."""
    control = source.control()
    control.names()  # who cannot be asked at all is the caller's to tell
    looks: Sequence[Callable[[], list[Finding]]] = (
        lambda: _way(source),
        lambda: _topics(source),
        lambda: _position(source, control, resume),
        lambda: _group(source, control, resume),
        lambda: _retention(source, control, resume, clock),
    )
    return [finding for look in looks for finding in look()]


def _way(source: KafkaSource) -> list[Finding]:
    settings = source.settings
    local = all(is_loopback(server.strip()) for server in settings.servers.split(","))
    if settings.tls or local:
        return [Finding("way", "ok", "TLS" if settings.tls else "loopback, without TLS")]
    return [
        Finding("way", "warn", "messages and passwords pass the network in the clear", "tls: true, with a TLS listener")
    ]


def _topics(source: KafkaSource) -> list[Finding]:
    try:
        return [Finding("topics", "ok", sentence) for sentence in source.check()[:1]]
    except HeadwaterError as error:
        return [Finding("topics", "fail", str(error), error.hint)]


def _position(source: KafkaSource, control: Control, resume: Resume | None) -> list[Finding]:
    if resume is None:
        return [Finding("position", "ok", f"nothing is read yet; reading begins at `start: {source.settings.start}`")]
    found = source.losses_of(control, standing_of(resume))
    if found:
        lost = lost_position(source.name, found)
        return [Finding("position", "fail", str(lost), lost.hint)]
    return [Finding("position", "ok", "all that was not read yet is still there")]


def _group(source: KafkaSource, control: Control, resume: Resume | None) -> list[Finding]:
    """Whether the group stands where our log does; it may be behind, and ahead only if others read in it."""
    offsets = standing_of(resume).offsets if resume is not None else {}
    committed = control.committed(source.group, offsets)
    ahead = [place for place, offset in committed.items() if offset > offsets[place]]
    if ahead and source.settings.group is None:
        topic, partition = ahead[0]
        return [
            Finding(
                "group",
                "warn",
                f"group {source.group} stands beyond our log at {topic}[{partition}]: it was moved; our log counts",
                "kafka-consumer-groups.sh --describe --group shows its members",
            )
        ]
    return [Finding("group", "ok", f"{source.group}; what it has committed follows our log")]


def _retention(source: KafkaSource, control: Control, resume: Resume | None, clock: Clock) -> list[Finding]:
    """Whether messages are kept for longer than we may stand still; and whether those that we have not read yet are
    older than half of the time that they are kept for."""
    kept = control.retention_ms(name for name in control.names() if source.settings.of(name) is not None)
    old = _old(control, resume, {name: kept_ms for name, kept_ms in kept.items() if kept_ms > 0}, clock)
    if old:
        (topic, partition), kept_ms = next(iter(old.items()))
        return [
            Finding(
                "retention", "warn",
                f"messages of {topic}[{partition}] that were not read yet are older than half of the "
                f"{kept_ms / 3_600_000:.1f} hours that they are kept for: they are lost when we do not catch up",
                f"headwater run; or {_LONGER.format(topic=topic)}",
            )
        ]  # fmt: skip
    short = {name: kept_ms for name, kept_ms in kept.items() if 0 <= kept_ms < 86_400_000}
    if not short:
        return [Finding("retention", "ok", "messages are kept for a day or longer, and what is unread is young")]
    name, kept_ms = next(iter(short.items()))
    return [
        Finding(
            "retention",
            "warn",
            f"topic {name} keeps messages for {kept_ms / 3_600_000:.1f} hours: if we stand still longer, they are lost",
            _LONGER.format(topic=name),
        )
    ]


def _old(control: Control, resume: Resume | None, kept: Mapping[str, int], clock: Clock) -> dict[Place, int]:
    """The partitions whose next message for us is older than half of the time that it is kept for, and that time."""
    offsets = standing_of(resume).offsets if resume is not None else {}
    found: dict[Place, int] = {}
    for topic, kept_ms in kept.items():
        mine = {place: offset for place, offset in offsets.items() if place[0] == topic}
        young = control.at_time(mine, clock.now_us() // 1000 - kept_ms // 2)
        found |= {place: kept_ms for place, offset in mine.items() if offset < young[place]}
    return found
