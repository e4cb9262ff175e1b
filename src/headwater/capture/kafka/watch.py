"""Looks at the topics from the side: how far we are behind their ends, and whether what we need is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.capture.health import Alarm, Health
from headwater.capture.kafka.lost import EXPIRED, lost_position
from headwater.capture.kafka.standing import Place, Standing, standing_of
from headwater.kafka.control import Control
from headwater.position import JsonScalar, Resume

if TYPE_CHECKING:
    from headwater.capture.kafka.source import KafkaSource

LAG_BUDGET, NEARLY_EXPIRED = "lag_budget", "messages_nearly_expired"
NEAR = 0.1
"""Share of a partition's messages from its beginning within which an offset is close to what retention removes next."""


class KafkaWatcher:
    """See `headwater.capture.health.Watcher`.

    Args:
        source: what is watched.
    """

    def __init__(self, source: KafkaSource) -> None:
        self.interval_s = source.settings.metadata_refresh_s
        self._source = source
        self._control: Control | None = None
        self._beginnings: dict[Place, int] = {}

    def look(self, resume: Resume | None) -> Health:
        """See `Watcher.look`."""
        if resume is None:
            return Health()
        control = self._control = self._control or self._source.control()
        standing = standing_of(resume)
        found = self._source.losses_of(control, standing)
        if found:
            return Health(stop=lost_position(self._source.name, found))
        return self._look(control, standing)

    def _look(self, control: Control, standing: Standing) -> Health:
        settings = self._source.settings
        places = [
            place for place in standing.offsets if settings.of(place[0]) is not None and place not in standing.away
        ]
        beginnings = control.beginnings(places)
        ends = control.ends(places, committed=settings.isolation == "read_committed")
        behind = {place: max(0, ends[place] - standing.offsets[place]) for place in places}
        lag = sum(behind.values())
        figures: dict[str, JsonScalar] = {
            "group": self._source.group,
            "lag_messages": lag,
            "lag_budget_messages": settings.lag_budget,
            "topics": len({topic for topic, _ in places}),
            "partitions": len(places),
        }
        alarms = []
        if lag > settings.lag_budget:
            told = f"source {self._source.name!r} is {lag:,} messages behind; lag_budget is {settings.lag_budget:,}"
            alarms.append(Alarm(LAG_BUDGET, told, "see whether this source runs and keeps up: headwater status"))
        alarms += self._nearly_expired(standing, beginnings, ends)
        self._beginnings = beginnings
        return Health(figures, tuple(alarms))

    def _nearly_expired(self, standing: Standing, beginnings: dict[Place, int], ends: dict[Place, int]) -> list[Alarm]:
        """Partitions whose beginning has moved since the last look and is about to reach us."""
        near = [
            place
            for place, low in beginnings.items()
            if low > self._beginnings.get(place, low)
            and ends[place] > standing.offsets[place]
            and standing.offsets[place] - low <= NEAR * (ends[place] - low)
        ]
        if not near:
            return []
        topic, partition = near[0]
        more = f" and {len(near) - 1} more" if len(near) > 1 else ""
        return [
            Alarm(
                NEARLY_EXPIRED,
                f"{topic}[{partition}]{more}: messages are removed, soon those not read yet ({EXPIRED})",
                f"keep them longer: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config "
                "retention.ms=604800000",
            )
        ]

    def close(self) -> None:
        """See `Watcher.close`."""
        self._control = None
