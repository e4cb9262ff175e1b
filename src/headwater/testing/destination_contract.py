"""What every destination must do. A test module subclasses `DestinationContract` and gives it a fixture `peer`.

    class TestPostgres(DestinationContract):
        @pytest.fixture
        def peer(self, database): return PostgresPeer(database)

The model has the columns of `COLUMNS`, with the key `id`. The peer is the real system; a row whose `name` is `POISON`
is one that it refuses until it is healed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from headwater.deliver.destination import Destination
from headwater.errors import DestinationStopped
from headwater.testing.delivering import SyncUnderTest

COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("amount", pa.float64()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
POISON = "poison"
Row = dict[str, object]
ROWS = 30


class Peer(Protocol):
    """A destination and the system behind it.

    Attributes:
        appends: the system keeps every record that comes (a topic, a file), and `names` tells of all; else it keeps the
            newest row of each key.
        poisons: it can be made to refuse rows.
        stoppable: it can be made unreachable.
    """

    appends: bool
    poisons: bool
    stoppable: bool

    def destination(self) -> Destination:
        """A destination for the sync, each time a new one."""

    def rows(self) -> Mapping[int, Row]:
        """By id, the rows that the system has now, or that the records which it has lead to, in the types of
        `COLUMNS`."""

    def names(self, number: int) -> Sequence[str | None]:
        """The names that the records of an id have brought, in order, None for a delete; of a system that does not
        append, what `rows` says."""

    def heal(self) -> None:
        """From now on nothing is refused."""

    def stop(self) -> None:
        """Makes the system unreachable."""

    def start(self) -> None:
        """Makes it reachable again."""


def row(number: int, name: str | None = "a") -> Row:
    """A row of the model."""
    at = datetime(2026, 1, 1, 12, 30, number % 60, 123456, UTC)
    return {"id": number, "name": name, "amount": number / 4, "at": at}


class DestinationContract:
    """The suite; see the module."""

    def test_changes_arrive(self, peer: Peer, tmp_path: Path) -> None:
        """Rows that appear, change and go; text with everything in it; nulls."""
        sync = _sync(tmp_path, peer)
        odd = "a\"b'c\\d\te;f,g\nä€😀 {{x}} %s $1"
        sync.hand([row(number) for number in range(ROWS)])
        sync.hand([row(1, odd), {**row(2), "name": None, "amount": None, "at": None}], [row(1), row(2)])
        sync.hand([], [row(3)])
        picture = sync.run()
        assert picture.holds and (picture.pending, picture.parked) == (0, 0), picture
        expected = {number: row(number) for number in range(ROWS) if number != 3}
        expected[1] = row(1, odd)
        expected[2] = {"id": 2, "name": None, "amount": None, "at": None}
        assert dict(peer.rows()) == expected
        sync.close()

    def test_it_goes_on_at_every_cut(self, peer: Peer, tmp_path: Path) -> None:
        """Closed and opened again after every call."""
        sync = _sync(tmp_path, peer, batch=7)
        _hand_all(sync)
        for _ in range(12):
            sync.run(steps=1)
            sync.restart()
        sync.run()
        assert dict(peer.rows()) == _all()
        if peer.appends:
            _once(peer, sync)
        sync.close()

    def test_killed_between_any_two_calls(self, peer: Peer, tmp_path: Path) -> None:
        """Nothing is lost, and a destination that says so has nothing twice."""
        sync = _sync(tmp_path, peer, batch=4)
        _hand_all(sync)
        for when in ("before", "after", "after", "before", "after"):
            sync.run_on((2, when))
        picture = sync.run()
        assert picture.holds and picture.pending == 0
        assert dict(peer.rows()) == _all()
        if peer.appends and peer.destination().exactly_once:
            _once(peer, sync)
        sync.close()

    def test_changes_of_a_key_come_in_order(self, peer: Peer, tmp_path: Path) -> None:
        """Many changes of few keys."""
        sync = _sync(tmp_path, peer, batch=5)
        names = {number: ["a"] for number in range(3)}
        sync.hand([row(number) for number in names])
        for turn in range(8):
            for number, known in names.items():
                sync.hand([row(number, f"n{turn}")], [row(number, known[-1])])
                known.append(f"n{turn}")
        sync.run()
        assert {number: one["name"] for number, one in peer.rows().items()} == dict.fromkeys(names, "n7")
        for number, known in names.items():
            came = list(peer.names(number))
            assert came == [name for name in known if name in came], came
        sync.close()

    def test_one_in_a_hundred_is_refused_and_the_rest_flows(self, peer: Peer, tmp_path: Path) -> None:
        """And after a fix everything is as if nothing had been refused."""
        if not peer.poisons:
            return
        sync = _sync(tmp_path, peer, batch=50)
        bad = (17, 117)
        sync.hand([row(number, POISON if number in bad else "a") for number in range(200)])
        sync.hand([row(number, "b") for number in (20, 21)], [row(number) for number in (20, 21)])
        picture = sync.run()
        assert picture.holds and (picture.parked, picture.pending) == (len(bad), 0), picture
        assert set(peer.rows()) == set(range(200)) - set(bad)
        assert set(sync.ledger.open) == set(bad)
        peer.heal()
        sync.restart()
        sync.ask("retry")
        picture = sync.run()
        assert picture.holds and (picture.parked, picture.pending) == (0, 0), picture
        names = {**dict.fromkeys(bad, POISON), 20: "b", 21: "b"}
        assert dict(peer.rows()) == {number: row(number, names.get(number, "a")) for number in range(200)}
        sync.close()

    def test_all_are_refused_and_killed_in_between(self, peer: Peer, tmp_path: Path) -> None:
        """Every record is parked, whole, and none twice."""
        if not peer.poisons:
            return
        sync = _sync(tmp_path, peer, batch=8)
        sync.hand([row(number, POISON) for number in range(ROWS)])
        for when in ("after", "before"):
            sync.run_on((2, when))
        picture = sync.run()
        assert picture.holds and (picture.parked, picture.delivered) == (ROWS, 0), picture
        assert not peer.rows()
        peer.heal()
        sync.restart()
        sync.ask("retry")
        assert sync.run().delivered == ROWS
        assert dict(peer.rows()) == {number: row(number, POISON) for number in range(ROWS)}
        sync.close()

    def test_while_it_is_away_nothing_is_parked(self, peer: Peer, tmp_path: Path) -> None:
        """It is probed, and everything goes out once it is back."""
        if not peer.stoppable:
            return
        sync = _sync(tmp_path, peer, batch=10, attempts=2)
        sync.hand([row(number) for number in range(10)])
        sync.run()
        peer.stop()
        sync.hand([row(number) for number in range(10, ROWS)])
        picture = sync.run(steps=6)
        assert picture.trouble and (picture.parked, picture.pending) == (0, ROWS - 10), picture
        peer.start()
        picture = sync.run()
        assert (picture.pending, picture.trouble) == (0, ""), picture
        assert dict(peer.rows()) == {number: row(number) for number in range(ROWS)}
        sync.close()

    def test_a_process_thought_dead_writes_no_more(self, peer: Peer, tmp_path: Path) -> None:
        """Whoever opens a sync last has it, where the destination can say what it holds."""
        if not peer.destination().exactly_once:
            return
        sync = _sync(tmp_path, peer, batch=2)
        sync.hand([row(number) for number in range(6)])
        sync.run(steps=1)
        other = peer.destination().open(sync.sync)
        try:
            sync.run()
            raise AssertionError("it wrote on")
        except DestinationStopped:
            pass
        other.close()
        sync.restart()
        sync.run()
        assert dict(peer.rows()) == {number: row(number) for number in range(6)}
        sync.close()

    def test_a_dry_run_shows_each_record(self, peer: Peer, tmp_path: Path) -> None:
        """A text for each, with what is in it."""
        from headwater.deliver.dry_run import preview

        sync = _sync(tmp_path, peer)
        sync.hand([row(41, "forty-one"), row(42)])
        sync.hand([], [row(42)])
        shown = preview(peer.destination(), sync.sync, sync.outbox, cursor=0, most=10)
        assert len(shown) == 3 and "forty-one" in shown[0] and "42" in shown[2], shown
        assert not peer.rows()
        sync.close()


def _sync(folder: Path, peer: Peer, *, batch: int = 100, attempts: int = 4) -> SyncUnderTest:
    return SyncUnderTest(folder, peer.destination(), COLUMNS, ("id",), batch=batch, attempts=attempts)


def _hand_all(sync: SyncUnderTest) -> None:
    sync.hand([row(number) for number in range(ROWS)])
    sync.hand([row(5, "b"), row(ROWS - 1, "b")], [row(5), row(ROWS - 1)])
    sync.hand([], [row(6)])


def _all() -> dict[int, Row]:
    return {number: row(number, "b" if number in (5, ROWS - 1) else "a") for number in range(ROWS) if number != 6}


def _once(peer: Peer, sync: SyncUnderTest) -> None:
    """Each record came once, but for those that a newer one had made moot before."""
    expected: dict[int, list[str | None]] = {5: ["a", "b"], 6: ["a", None], ROWS - 1: ["a", "b"]}
    every = (sync.send or peer.destination().send) == "every"
    for number in range(ROWS):
        wanted, came = expected.get(number, ["a"]), list(peer.names(number))
        assert came == (wanted if every or len(came) == len(wanted) else wanted[-1:]), (number, came)
