"""T-CK-01: only the contiguous durable prefix is ever confirmed, whatever the order in which groups become durable.

2,000 steps here; `HEADWATER_LEDGER_STEPS=200000 pytest tests/capture/test_progress_ledger.py` for more."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from headwater.capture.progress_ledger import Confirmed, ProgressLedger
from headwater.change import Group
from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position

STEPS = int(os.environ.get("HEADWATER_LEDGER_STEPS", "2000"))
STEPS_EACH = 50
SETTINGS = settings(
    max_examples=max(STEPS // STEPS_EACH, 1),
    stateful_step_count=STEPS_EACH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Progress(RuleBasedStateMachine):
    """A ledger, and a source that forgets what it is told is durable, beside the simplest model of both."""

    ledger_class: type[ProgressLedger] = ProgressLedger

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.ledger_class()
        self.begin()

    def begin(self) -> None:
        """A reading begins: what is not durable is offered again."""
        self.offered: list[Position] = []
        self.numbers: list[int] = []
        self.durable: set[int] = set()
        self.told: list[Position] = []

    @rule(parts=st.integers(0, 2))
    def offer(self, parts: int) -> None:
        position = Position(len(self.offered) + 1)
        for _ in range(parts):
            assert self.ledger.offer(Group(Boundary(Position(0)), more=True)) is None
        number = self.ledger.offer(Group(Boundary(position)))
        assert number is not None
        self.numbers.append(number)
        self.offered.append(position)

    @precondition(lambda self: len(self.durable) < len(self.offered))
    @rule(place=st.integers(0, 3), then=st.booleans())
    def store(self, place: int, then: bool) -> None:
        waiting = [i for i in range(len(self.offered)) if i not in self.durable]
        which = waiting[min(place, len(waiting) - 1)]
        self.ledger.stored(self.numbers[which])
        self.durable.add(which)
        if then:
            self.confirm()

    @precondition(lambda self: self.durable)
    @rule(place=st.integers(0, 3))
    def store_again(self, place: int) -> None:
        durable = sorted(self.durable)
        self.ledger.stored(self.numbers[durable[min(place, len(durable) - 1)]])

    @rule()
    def confirm(self) -> None:
        prefix = next((i for i in range(len(self.offered)) if i not in self.durable), len(self.offered))
        boundary = self.ledger.take_confirmable()
        expected = (
            self.offered[prefix - 1] if prefix and (not self.told or self.told[-1] < self.offered[prefix - 1]) else None
        )
        assert (boundary.position if boundary else None) == expected
        if boundary is not None:
            self.told.append(boundary.position)

    @precondition(lambda self: len(self.told) >= 4)
    @rule()
    def crash(self) -> None:
        """A new reading has a ledger of its own."""
        self.ledger = self.ledger_class()
        self.begin()

    @invariant()
    def nothing_that_is_not_durable_was_confirmed(self) -> None:
        told = self.told[-1].commit if self.told else 0
        assert all(i in self.durable for i in range(told))
        assert self.told == sorted(set(self.told))
        assert self.ledger.unconfirmed == len(self.offered) - told


def test_only_the_contiguous_durable_prefix_is_confirmed() -> None:
    run_state_machine_as_test(Progress, settings=SETTINGS)


class Highest(ProgressLedger):
    """Bug: the highest durable boundary, whatever is missing before it."""

    def take_confirmable(self) -> Boundary | None:
        last = None
        while self._durable and self.confirmed <= max(self._durable):
            self._durable.discard(self.confirmed)
            last = self._waiting.popleft()
            self.confirmed += 1
        return last


class BeforeFsync(ProgressLedger):
    """Bug: what was offered counts as durable."""

    def offer(self, group: Group) -> int | None:
        number = super().offer(group)
        if number is not None:
            self.stored(number)
        return number


class Backwards(ProgressLedger):
    """Bug: a boundary that is said to be durable once more is confirmed once more."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Boundary] = []
        self.again: Boundary | None = None

    def offer(self, group: Group) -> int | None:
        if not group.more:
            self.all.append(group.boundary)
        return super().offer(group)

    def stored(self, number: int) -> None:
        super().stored(number)
        if number < self.confirmed:
            self.again = self.all[number]

    def take_confirmable(self) -> Boundary | None:
        again, self.again = self.again, None
        return super().take_confirmable() or again


class PartsCount(ProgressLedger):
    """Bug: a part of a transaction has a boundary."""

    def offer(self, group: Group) -> int | None:
        return super().offer(Group(group.boundary))


@pytest.mark.parametrize("bug", [Highest, BeforeFsync, Backwards, PartsCount])
def test_the_model_finds(bug: type[ProgressLedger]) -> None:
    planted = type("Planted", (Progress,), {"ledger_class": bug})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(planted, settings=settings(SETTINGS, print_blob=False, database=None))


def test_what_was_never_offered_is_not_durable() -> None:
    ledger = ProgressLedger()
    ledger.offer(Group(Boundary(Position(1))))
    for number in (-1, 1):
        with pytest.raises(InvariantBroken):
            ledger.stored(number)


def test_what_a_source_was_told_never_goes_back() -> None:
    told = Confirmed(7)
    told.move(7)
    told.move(9)
    with pytest.raises(InvariantBroken, match="8 was confirmed after 9"):
        told.move(8)
    assert told.place == 9
