"""The partitions that are ours, and the offset from which each is read: our log's, whatever the group says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headwater.capture.kafka.lost import RECREATED, Loss, lost_position
from headwater.capture.kafka.standing import Place, Standing
from headwater.kafka.control import Control
from headwater.kafka.librdkafka import BEGINNING


class Assignment:
    """Partitions by the offset that comes next. Used by the reader's thread.

    Args:
        source: the source's name.
        standing: where our log ends.
        group: the consumer group.
        shared: others may be in it, who read partitions that we do not have.
        control: asks the brokers.

    Attributes:
        places: the partitions that are ours now.
    """

    def __init__(self, source: str, standing: Standing, group: str, *, shared: bool, control: Control) -> None:
        self._source, self._group, self._shared, self._control = source, group, shared, control
        self._next = dict(standing.offsets)
        self._topics = dict(standing.topics)
        self._away = set(standing.away)
        self._ended: set[Place] = set()
        self._verified: set[str] = set()
        self.places: set[Place] = set()

    def assigned(self, places: list[Place]) -> Sequence[int]:
        """Offsets from which partitions that we are given are to be read.

        A partition that our log has not is new, and read from its beginning; in a group that is shared, where the group
        stands. One that another member had meanwhile is read on where the group stands if that is further.

        Raises:
            PositionLost: a topic is another one than the log has by its name.
        """
        self._verify(places)
        asked = [place for place in places if self._shared and (place in self._away or place not in self._next)]
        committed = self._control.committed(self._group, asked)
        for place in asked:
            if place in committed:
                self._next[place] = max(committed[place], self._next.get(place, 0))
        self._away.difference_update(places)
        self._ended.difference_update(places)
        self.places.update(places)
        return [self._next.get(place, BEGINNING) for place in places]

    def _verify(self, places: list[Place]) -> None:
        """Looks once a reading, and again when it comes anew, whether each topic is the one that we know."""
        now = self._control.topics({topic for topic, _ in places})
        for name, topic in now.items():
            before = self._topics.get(name, "")
            if before and topic.id and before != topic.id:
                known = [place for place in self._next if place[0] == name]
                raise lost_position(self._source, [Loss(RECREATED, one, self._next[one], 0) for one in known])
            self._topics[name] = topic.id

    def revoked(self, places: list[Place]) -> None:
        """Takes note that partitions are no longer ours."""
        self.places.difference_update(places)
        self._ended.difference_update(places)
        if self._shared:
            self._away.update(places)

    def expected(self, topic: str, partition: int) -> int:
        """The offset that comes next, or a later one."""
        return self._next.get((topic, partition), 0)

    def read(self, place: Place, after: int) -> None:
        """Takes note that messages before `after` were read."""
        self._next[place] = after
        self._ended.discard(place)

    def ended(self, place: Place, at: int) -> None:
        """Takes note that a partition was read to its end: what is between the last message and it are marks of
        transactions."""
        if at >= self._next.get(place, 0):
            self._next[place] = at
            self._ended.add(place)

    def standing(self, before: Standing) -> Standing:
        """Where we are, as the group after `before`."""
        return before.moved(self._next, self._topics, frozenset(self._away))

    def lag(self, watermarks: Callable[[Place], tuple[int, int]]) -> int | None:
        """Messages up to the ends of our partitions; None if none is ours yet.

        Args:
            watermarks: first offset and end of a partition, negative if not known.
        """
        if not self.places:
            return None
        open_places = self.places - self._ended
        return sum(max(1, watermarks(place)[1] - self._next.get(place, 0)) for place in open_places)
