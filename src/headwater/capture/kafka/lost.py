"""Whether reading can go on where the log ends, and why not: retention, truncation, topics deleted or made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headwater.capture.kafka.standing import Place, Standing
from headwater.errors import PositionLost
from headwater.kafka.control import Control, Topic

EXPIRED, TRUNCATED, RECREATED, DELETED = "offsets_expired", "offsets_truncated", "topic_recreated", "topic_deleted"
SHOWN = 3
_ADVICE = {
    EXPIRED: "against a next time keep messages longer: kafka-configs.sh --alter --entity-type topics --entity-name "
    "TOPIC --add-config retention.ms=604800000",
    RECREATED: "the clean way is to read all of it again, for messages of the new topic may have been read as the old "
    "one's",
    DELETED: "if it comes back by the same name it is another topic; leave it out with '!TOPIC' if it does not",
}


@dataclass(frozen=True)
class Loss:
    """A partition that cannot be read on.

    Attributes:
        cause: of the four above.
        place: the partition.
        since: offset up to which the log has all.
        until: offset from which reading can go on; None if the topic is gone.
    """

    cause: str
    place: Place
    since: int
    until: int | None

    @property
    def sentence(self) -> str:
        """What happened."""
        topic, partition = self.place
        named = f"{topic}[{partition}]"
        if self.cause == DELETED:
            return f"topic {topic} is gone, of which {named} was read up to offset {self.since}"
        if self.cause == RECREATED:
            return f"topic {topic} was deleted and made anew; {named} was read up to offset {self.since} of the old one"
        if self.cause == TRUNCATED:
            return f"{named} ends at offset {self.until}, and was read up to {self.since}: the brokers lost messages"
        lost = (self.until or 0) - self.since
        return f"{named} begins at offset {self.until} by now: {lost:,} messages after {self.since} were removed unread"


def losses(
    control: Control, standing: Standing, wanted: Callable[[str], bool], *, committed: bool
) -> tuple[list[Loss], dict[str, Topic]]:
    """What is lost of the partitions that we read, and the topics that there are.

    Args:
        control: asks the brokers.
        standing: where we are.
        wanted: whether a topic is still to be read.
        committed: only committed transactions are read.
    """
    places = [place for place in standing.offsets if wanted(place[0]) and place not in standing.away]
    topics = control.topics({topic for topic, _ in places})
    found: list[Loss] = []
    asked: list[Place] = []
    begun_anew: dict[Place, str] = {}
    for place in places:
        topic = topics.get(place[0])
        before = standing.topics.get(place[0], "")
        if topic is None:
            found.append(Loss(DELETED, place, standing.offsets[place], None))
        elif place[1] >= topic.partitions:
            found.append(Loss(RECREATED, place, standing.offsets[place], None))
        else:
            asked.append(place)
            if before and topic.id and before != topic.id:
                begun_anew[place] = RECREATED
    beginnings, ends = control.beginnings(asked), control.ends(asked, committed=committed)
    for place in asked:
        low, high, at = beginnings[place], ends[place], standing.offsets[place]
        if place in begun_anew:
            found.append(Loss(RECREATED, place, at, low))
        elif at < low:
            found.append(Loss(EXPIRED, place, at, low))
        elif at > high:
            found.append(Loss(TRUNCATED, place, at, high))
    return found, topics


def lost_position(source: str, found: Sequence[Loss]) -> PositionLost:
    """The error that says so, for the cause of the first; there is at least one."""
    cause = found[0].cause
    told = "; ".join(loss.sentence for loss in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} partitions more" if len(found) > SHOWN else ""
    return PositionLost(
        told + more,
        source=source,
        cause=cause,
        since=_written({loss.place: loss.since for loss in found}),
        until=_written({loss.place: loss.until for loss in found if loss.until is not None}),
        advice=_ADVICE.get(cause, ""),
    )


def _written(offsets: Mapping[Place, int]) -> str:
    """Offsets of partitions, as people read them."""
    shown = [f"{topic}[{partition}]@{offset}" for (topic, partition), offset in sorted(offsets.items())]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
