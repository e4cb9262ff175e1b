"""The contract suite on a destination in memory, with and without an own word on what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from headwater.deliver.destination import Op
from headwater.testing.collecting import CollectingDestination
from headwater.testing.destination_contract import POISON, DestinationContract, Row


class CollectingPeer:
    appends, poisons, stoppable = True, True, True

    def __init__(self, **options: object) -> None:
        self._sick = True
        self.there = CollectingDestination(**options)  # type: ignore[arg-type]
        self.there.refuses = lambda row: self._sick and row["name"] == POISON

    def destination(self) -> CollectingDestination:
        return self.there

    def rows(self) -> Mapping[int, Row]:
        return {row["id"]: row for row in self.there.rows.values()}  # type: ignore[misc]

    def names(self, number: int) -> Sequence[str | None]:
        of = [(op, row) for op, row, _ in self.there.received if row["id"] == number]
        return [None if op == Op.DELETE else str(row["name"]) for op, row in of]

    def heal(self) -> None:
        self._sick = False

    def stop(self) -> None:
        self.there.down = "refused"

    def start(self) -> None:
        self.there.down = ""


class TestCollecting(DestinationContract):
    @pytest.fixture(
        params=[{}, {"exactly_once": False}, {"repeats_keys": True}, {"send": "newest"}], ids=lambda one: str(one)
    )
    def peer(self, request: pytest.FixtureRequest) -> CollectingPeer:
        return CollectingPeer(**request.param)
