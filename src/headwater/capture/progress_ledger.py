"""How far a reading is: what was offered, what is durable, what the source was told. Nothing else decides what it is
told.

A position confirmed too early is data lost: the source forgets what nobody has. So a boundary is confirmed only if it
and every one offered before it are durable, each once, and never after a later one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from headwater.change import Group
from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position

Place = TypeVar("Place", int, Position)


class Confirmed(Generic[Place]):
    """What one source was told last, in its own measure (an LSN, a position); it never goes back.

    Attributes:
        place: see above.
    """

    def __init__(self, place: Place) -> None:
        self.place: Place = place

    def move(self, place: Place) -> None:
        """Notes that the source is told `place`.

        Raises:
            InvariantBroken: it was told of a later one.
        """
        if place < self.place:
            raise InvariantBroken(f"{place} was confirmed after {self.place}, which is later")
        self.place = place


class ProgressLedger:
    """The boundaries of one open reading, in the order in which they were offered.

    Attributes:
        offered: how many boundaries were offered.
        confirmed: how many of them the source was told of, or was told of a later one.
    """

    def __init__(self) -> None:
        self.offered = 0
        self.confirmed = 0
        self._waiting: deque[Boundary] = deque()
        self._durable: set[int] = set()

    def offer(self, group: Group) -> int | None:
        """Takes note of a group that the source has handed over.

        Returns:
            The number of its boundary; None for a part of a transaction, whose boundary says nothing.
        """
        if group.more:
            return None
        self._waiting.append(group.boundary)
        self.offered += 1
        return self.offered - 1

    def stored(self, number: int) -> None:
        """Takes note that the group of this boundary is durable: its fsync has returned.

        Raises:
            InvariantBroken: no such boundary was offered.
        """
        if not 0 <= number < self.offered:
            raise InvariantBroken(
                f"boundary {number} of a reading is said to be durable, and {self.offered} were offered"
            )
        if number >= self.confirmed:
            self._durable.add(number)

    def take_confirmable(self) -> Boundary | None:
        """The last boundary before which nothing is missing, to be told to the source now; None if that is no news."""
        last: Boundary | None = None
        while self.confirmed in self._durable:
            self._durable.remove(self.confirmed)
            last = self._waiting.popleft()
            self.confirmed += 1
        return last

    @property
    def unconfirmed(self) -> int:
        """Boundaries that were offered and that the source was not told of."""
        return self.offered - self.confirmed
