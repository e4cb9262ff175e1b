"""Where a Kafka source stands: what it writes into its resume points, and reads back from them.

Kafka numbers messages by partition, the log wants one order: each group of messages that is taken has the next number,
which is its `Position.commit`; the offsets stand in the resume point. So the log says itself up to where each partition
is durable, whatever the consumer group says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position, Resume

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True)
class Standing:
    """A place to read on from.

    Attributes:
        number: of the last group.
        offsets: by partition, the offset of the message that comes next.
        topics: by topic, its id; empty if the brokers know none.
        away: partitions that another member of the group reads by now.
        decided: id of the user's last decision that was carried out.
    """

    number: int = 0
    offsets: Mapping[Place, int] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    away: frozenset[Place] = frozenset()
    decided: str = ""

    def resume(self) -> Resume:
        """The resume point."""
        return {
            "number": self.number,
            "offsets": _text(self.offsets),
            "topics": json.dumps(dict(self.topics), sort_keys=True),
            "away": _text(dict.fromkeys(self.away, 0)),
            "decided": self.decided,
        }

    def boundary(self, changes: int = 0, time_us: int = 0) -> Boundary:
        """The boundary after a group of so many changes."""
        return Boundary(Position(self.number, changes), self.resume(), time_us)

    def moved(self, offsets: Mapping[Place, int], topics: Mapping[str, str], away: frozenset[Place]) -> Standing:
        """After the next group."""
        return replace(self, number=self.number + 1, offsets=dict(offsets), topics=dict(topics), away=away)


def standing_of(resume: Resume) -> Standing:
    """Back from a resume point.

    Raises:
        InvariantBroken: it is not one of ours.
    """
    try:
        topics = json.loads(str(resume["topics"]))
        away = frozenset(_places(str(resume["away"])))
        number = int(resume["number"] or 0)
        return Standing(number, _places(str(resume["offsets"])), topics, away, str(resume["decided"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InvariantBroken(f"a resume point of a Kafka source lacks {error}") from error


def _text(offsets: Mapping[Place, int]) -> str:
    """`{"topic": {"partition": offset}}`."""
    found: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[str(partition)] = offset
    return json.dumps(found)


def _places(text: str) -> dict[Place, int]:
    return {(topic, int(one)): at for topic, offsets in json.loads(text).items() for one, at in offsets.items()}
