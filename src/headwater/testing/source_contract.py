"""What every source of messages must do. A test module subclasses `SourceContract` and gives it a fixture `peer`.

    class TestQueues(SourceContract):
        @pytest.fixture
        def peer(self, channel, tmp_path): return QueuePeer(channel, tmp_path)

The peer's messages are JSON objects {"n": number} of a stream whose column `n` is declared BIGINT; a value that is no
number is poison. The suite plays the capture job: what it has polled it makes durable (keeps the groups and the last
resume point) and confirms, and dies between any two of these steps.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import pytest

from headwater.capture.source import Reader, Source
from headwater.change import Group
from headwater.errors import SourceUnavailable, UserError
from headwater.position import Boundary, Position

DEADLINE_S = 30.0
MESSAGES = 120


class Peer(Protocol):
    """A source and the system behind it.

    Attributes:
        exactly_once: a message that is durable with us is never offered as new again, whenever we die.
        stoppable: the system can be made unreachable.
    """

    exactly_once: bool
    stoppable: bool

    def source(self) -> Source:
        """A source over the system, each time a new one with the same settings and the same store of schemas."""

    def mended(self) -> Source:
        """A source whose settings take poison for text."""

    def publish(self, values: Sequence[object]) -> None:
        """Has the system hold messages with these values of `n`, in order."""

    def stop(self) -> None:
        """Makes the system unreachable."""

    def start(self) -> None:
        """Makes it reachable again."""


class Durable:
    """What has become durable of a source: the log, as far as this suite needs one."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.boundary: Boundary | None = None

    def append(self, group: Group) -> None:
        """As an fsync. A boundary lies behind none of its group's changes, and never before an earlier one."""
        self.groups.append(group)
        reached = max((Position(*pair) for pair in self.places), default=group.boundary.position)
        assert group.boundary.position >= reached, "the boundary lies before the changes that it ends"
        assert self.boundary is None or group.boundary.position >= self.boundary.position, "the position went back"
        self.boundary = group.boundary

    @property
    def numbers(self) -> list[object]:
        """Values of `n`, in order."""
        batches = [batch for group in self.groups for batch in group.batches]
        return [value for batch in batches for value in batch.rows.column("n").to_pylist()]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Positions of all changes, in order."""
        rows = [batch.rows for group in self.groups for batch in group.batches]
        pairs = [
            zip(one.column("_commit").to_pylist(), one.column("_ordinal").to_pylist(), strict=True) for one in rows
        ]
        return [pair for some in pairs for pair in some]

    @property
    def rejects(self) -> list[bytes]:
        """Records that could not be decoded."""
        found = [group.rejects for group in self.groups if group.rejects is not None]
        return [record for one in found for record in one.column("record").to_pylist()]


class SourceContract:
    """The suite; see the module."""

    def test_messages_come_in_order_at_ascending_positions(self, peer: Peer) -> None:
        """All of them, once."""
        peer.publish(range(MESSAGES))
        log = _captured(peer.source(), Durable(), MESSAGES)
        assert log.numbers == list(range(MESSAGES))
        assert log.places == sorted(set(log.places))

    def test_it_goes_on_at_every_cut(self, peer: Peer) -> None:
        """Closed and opened again after every group, while more is published."""
        log = Durable()
        for turn in range(6):
            peer.publish(range(turn * 10, turn * 10 + 10))
            _captured(peer.source(), log, 10 * turn + 10)
        assert log.numbers == list(range(60))
        assert log.places == sorted(set(log.places))

    @pytest.mark.parametrize("seed", range(3))
    def test_killed_between_any_two_calls(self, peer: Peer, seed: int) -> None:
        """Before the fsync, after it, after the confirmation: nothing is lost, and nothing doubled where it says so."""
        chance, log, published = random.Random(seed), Durable(), 0
        for _ in range(12):
            more = chance.randint(0, 15)
            peer.publish(range(published, published + more))
            published += more
            _die(peer.source(), log, chance)
        _captured(peer.source(), log, published)
        assert sorted(set(map(int, map(str, log.numbers)))) == list(range(published))
        if peer.exactly_once:
            assert log.numbers == list(range(published))
            assert log.places == sorted(set(log.places))

    @pytest.mark.parametrize("every", [100, 1])
    def test_poison_is_rejected_whole_and_the_rest_flows(self, peer: Peer, every: int) -> None:
        """1 % and 100 %; and what is mended is decoded."""
        values = [f"poison {number}" if number % every == 0 else number for number in range(100)]
        peer.publish(values)
        log = _captured(peer.source(), Durable(), 100)
        assert log.numbers == [value for value in values if isinstance(value, int)]
        assert len(log.rejects) == 100 // every
        with pytest.raises(UserError):
            peer.source().decode(log.rejects[0])
        source = peer.mended()
        mended = [source.decode(record).rows.column("n")[0].as_py() for record in log.rejects]
        assert mended == [value for value in values if isinstance(value, str)]

    def test_while_it_is_away_the_source_waits(self, peer: Peer) -> None:
        """It is unavailable, not stopped, and goes on where it was."""
        if not peer.stoppable:
            return
        peer.publish(range(20))
        log = _captured(peer.source(), Durable(), 20)
        reader = _opened(peer.source(), log)
        peer.stop()
        with pytest.raises(SourceUnavailable):
            _await(reader, lambda: False)
        reader.close()
        with pytest.raises(SourceUnavailable):
            peer.source().open(log.boundary.resume if log.boundary else None).poll(0.1)
        peer.start()
        peer.publish(range(20, 30))
        _captured(peer.source(), log, 30)
        assert log.numbers == list(range(30))

    def test_when_nothing_is_left_it_says_so(self, peer: Peer) -> None:
        """Its lag becomes 0, which is what `--once` waits for."""
        peer.publish(range(10))
        log = _captured(peer.source(), Durable(), 10)
        reader = _opened(peer.source(), log)
        _await(reader, lambda: reader.lag_bytes() == 0, log)
        reader.close()
        assert log.numbers == list(range(10))


def _opened(source: Source, log: Durable) -> Reader:
    """Opens where the log ends, once the system has noticed the end of the reading before."""
    deadline, pause = time.monotonic() + DEADLINE_S, threading.Event()
    while True:
        try:
            reader = source.open(log.boundary.resume if log.boundary else None)
        except SourceUnavailable:
            if time.monotonic() > deadline:
                raise
            pause.wait(0.05)
            continue
        if log.boundary is not None:
            reader.confirm(log.boundary)
        return reader


def _captured(source: Source, log: Durable, records: int) -> Durable:
    """Captures until the log holds so many records, and closes."""
    reader = _opened(source, log)
    _await(reader, lambda: len(log.numbers) + len(log.rejects) >= records, log)
    reader.close()
    return log


def _await(reader: Reader, done: object, log: Durable | None = None) -> None:
    assert callable(done)
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, log and log.numbers
        group = reader.poll(0.05)
        if group is not None and log is not None:
            log.append(group)
            reader.confirm(group.boundary)


def _die(source: Source, log: Durable, chance: random.Random) -> None:
    """Captures a little and dies somewhere."""
    reader = _opened(source, log)
    for _ in range(chance.randint(1, 4)):
        group = reader.poll(0.1)
        if group is None:
            continue
        step = chance.choice(["before fsync", "after fsync", "after confirmation", ""])
        if step == "before fsync":
            break
        log.append(group)
        if step == "after fsync":
            break
        reader.confirm(group.boundary)
        if step:
            break
    reader.close()
