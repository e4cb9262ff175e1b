"""Looks at a Kafka cluster from all sides for `headwater doctor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headwater.capture.finding import Finding
from headwater.capture.kafka.lost import lost_position
from headwater.capture.kafka.standing import standing_of
from headwater.errors import HeadwaterError
from headwater.kafka.control import Control
from headwater.position import Resume

if TYPE_CHECKING:
    from headwater.capture.kafka.source import KafkaSource

LOOPBACK = ("localhost", "127.", "[::1]")


def diagnose(source: KafkaSource, resume: Resume | None) -> Sequence[Finding]:
    """All findings; see `headwater.capture.finding.Diagnosable`."""
    control = source.control()
    control.names()  # who cannot be asked at all is the caller's to tell
    looks: Sequence[Callable[[], list[Finding]]] = (
        lambda: _way(source),
        lambda: _topics(source),
        lambda: _position(source, control, resume),
        lambda: _group(source, control, resume),
        lambda: _retention(source, control),
    )
    return [finding for look in looks for finding in look()]


def _way(source: KafkaSource) -> list[Finding]:
    settings = source.settings
    local = all(server.strip().startswith(LOOPBACK) for server in settings.servers.split(","))
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


def _retention(source: KafkaSource, control: Control) -> list[Finding]:
    kept = control.retention_ms(name for name in control.names() if source.settings.of(name) is not None)
    short = {name: kept_ms for name, kept_ms in kept.items() if 0 <= kept_ms < 86_400_000}
    if not short:
        return [Finding("retention", "ok", "messages are kept for a day or longer")]
    name, kept_ms = next(iter(short.items()))
    return [
        Finding(
            "retention",
            "warn",
            f"topic {name} keeps messages for {kept_ms / 3_600_000:.1f} hours: if we stand still longer, they are lost",
            f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config retention.ms=604800000",
        )
    ]
