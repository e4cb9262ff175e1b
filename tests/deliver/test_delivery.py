"""Delivery against a destination in memory: order per key, parking, waits, crashes at every call, the account."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from headwater.deliver.deliveries import Deliveries
from headwater.deliver.destination import Op
from headwater.errors import DestinationStopped
from headwater.testing.collecting import CollectingDestination
from headwater.testing.delivering import SyncUnderTest

COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string())])


def row(number: int, name: str = "a") -> dict[str, object]:
    return {"id": number, "name": name}


def by_id(there: CollectingDestination) -> dict[object, object]:
    return {one["id"]: one["name"] for one in there.rows.values()}


def bench(folder: Path, there: CollectingDestination, **options: object) -> SyncUnderTest:
    return SyncUnderTest(folder, there, COLUMNS, ("id",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("send", ["every", "newest"])
@pytest.mark.parametrize("repeats", [False, True])
def test_the_destination_ends_up_as_the_model(tmp_path: Path, send: str, repeats: bool) -> None:
    there = CollectingDestination(send=send, repeats_keys=repeats)  # type: ignore[arg-type]
    sync = bench(tmp_path, there, batch=7)
    sync.hand([row(number) for number in range(20)])
    for turn in range(5):
        sync.hand([row(3, f"n{turn}")], [row(3, f"n{turn - 1}" if turn else "a")])
    sync.hand([], [row(7)])
    picture = sync.run()
    assert by_id(there) == {number: "n4" if number == 3 else "a" for number in range(20) if number != 7}
    assert picture.holds and picture.pending == 0 and picture.handed == 26
    names = [one["name"] for op, one, _ in there.received if one["id"] == 3 and op == Op.UPSERT]
    assert names == ["a", "n0", "n1", "n2", "n3", "n4"] if send == "every" else names[-1] == "n4"
    assert (picture.superseded > 0) == (send == "newest")


@pytest.mark.parametrize("exactly_once", [True, False])
@pytest.mark.parametrize("send", ["every", "newest"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_call_nothing_is_lost_and_what_comes_twice_has_the_same_name(
    tmp_path: Path, exactly_once: bool, send: str, when: str
) -> None:
    call, came = 0, True
    while came:
        call += 1
        there = CollectingDestination(send=send, exactly_once=exactly_once)  # type: ignore[arg-type]
        poison = {4, 11}
        there.refuses = lambda one, poison=poison: one["id"] in poison  # type: ignore[misc]
        sync = bench(tmp_path / f"{when}{call}", there, batch=5)
        sync.hand([row(number) for number in range(12)])
        sync.hand([row(2, "b"), row(4, "b")], [row(2), row(4)])
        sync.hand([], [row(1)])
        came = sync.run_on((call, when))
        picture = sync.run()
        assert picture.holds and picture.pending == picture.queued, picture
        poison.clear()
        sync.ask("retry")
        picture = sync.run()
        assert picture.holds and picture.parked == picture.pending == 0, picture
        assert by_id(there) == {n: "b" if n in (2, 4) else "a" for n in range(12) if n != 1}
        names = [name for _, _, name in there.received]
        assert len(names) == len(set(names)) or not exactly_once
        assert not sync.ledger.open
        sync.close()
    assert call > 3


def test_a_refused_record_waits_with_its_key_and_the_rest_flows(tmp_path: Path) -> None:
    there = CollectingDestination(refuses=lambda one: one["name"] == "bad")
    sync = bench(tmp_path, there)
    sync.hand([row(1), row(2, "bad"), row(3)])
    sync.hand([row(2, "good"), row(4)], [row(2, "bad")])
    picture = sync.run()
    assert by_id(there) == {1: "a", 3: "a", 4: "a"}
    assert (picture.parked, picture.queued, picture.pending, picture.delivered) == (1, 1, 1, 3)
    sync.ask("discard", [1])
    picture = sync.run()
    assert by_id(there) == {1: "a", 2: "good", 3: "a", 4: "a"}
    assert (picture.discarded, picture.parked, picture.pending) == (1, 0, 0) and picture.holds


def test_a_full_ledger_lets_nothing_be_tried_that_it_might_have_to_take(tmp_path: Path) -> None:
    there = CollectingDestination(refuses=lambda one: one["name"] == "bad")
    sync = bench(tmp_path, there, batch=1)
    sync.ledger.most = 2
    sync.hand([row(number, "bad" if number < 4 else "a") for number in range(1, 7)])
    picture = sync.run(steps=100)
    assert (picture.parked, picture.delivered, picture.pending) == (2, 0, 4) and "full" in picture.trouble
    there.refuses = lambda one: False
    sync.ask("retry", [0])
    picture = sync.run(until_trouble=False)
    assert (picture.parked, picture.delivered, picture.pending, picture.trouble) == (1, 5, 0, "") and picture.holds


def test_the_newest_state_takes_the_place_of_a_refused_one(tmp_path: Path) -> None:
    there = CollectingDestination(send="newest", refuses=lambda one: one["name"] == "bad")
    sync = bench(tmp_path, there)
    sync.hand([row(2, "bad")])
    assert sync.run().parked == 1
    sync.hand([row(2, "good")], [row(2, "bad")])
    picture = sync.run()
    assert by_id(there) == {2: "good"} and (picture.parked, picture.superseded) == (0, 1)
    assert sync.ledger.ended == {0: "superseded"}


def test_while_the_destination_is_down_nothing_is_parked(tmp_path: Path) -> None:
    for down in ("refused", "busy"):
        there = CollectingDestination(down=down)
        sync = bench(tmp_path / down, there, attempts=2)
        sync.hand([row(number) for number in range(50)])
        picture = sync.run(steps=300)
        assert (picture.parked, picture.delivered, picture.pending) == (0, 0, 50) and picture.trouble
        there.down = ""
        picture = sync.run()
        assert (picture.delivered, picture.pending, picture.trouble) == (50, 0, "")
        assert len({name for _, _, name in there.received}) == len(there.received) == 50


def test_a_record_that_always_fails_is_parked_only_when_others_get_through(tmp_path: Path) -> None:
    there = CollectingDestination(retries=lambda one: one["name"] == "bad")
    sync = bench(tmp_path, there, attempts=3)
    sync.hand([row(1, "bad")])
    assert sync.run(steps=200).parked == 0
    for number in range(2, 9):
        sync.hand([row(number)])
        picture = sync.run(steps=100)
    assert (picture.parked, picture.delivered) == (1, 7)


def test_a_destination_that_asks_to_be_left_alone_is(tmp_path: Path) -> None:
    there = CollectingDestination(down="busy", retry_after_s=40.0)
    sync = bench(tmp_path, there)
    sync.hand([row(1)])
    sync.run(steps=1)
    there.down = ""
    began = sync.clock.monotonic_s()
    assert sync.run().delivered == 1
    assert 39.5 <= sync.clock.monotonic_s() - began < 60.0


def test_the_account_holds_after_a_restart_with_records_in_every_state(tmp_path: Path) -> None:
    there = CollectingDestination(refuses=lambda one: one["id"] == 1, retries=lambda one: one["id"] == 2)
    sync = bench(tmp_path, there, batch=3)
    sync.hand([row(number) for number in range(9)])
    sync.hand([row(1, "b"), row(2, "b")], [row(1), row(2)])
    sync.run(steps=4)
    sync.restart()
    picture = sync.run(steps=3)
    assert picture.holds and picture.parked == 1 and picture.queued == 2
    store = Deliveries(tmp_path)
    assert [(one.key, one.state) for one in store.waiting()] == [
        ("[\"1\"]", "parked"), ("[\"2\"]", "failed"), ("[\"1\"]", "queued"), ("[\"2\"]", "queued"),
    ]  # fmt: skip
    store.close()


def test_the_row_as_it_was_comes_along(tmp_path: Path) -> None:
    there = CollectingDestination(wants_before=True, repeats_keys=True)
    sync = bench(tmp_path, there)
    sync.hand([row(1)])
    sync.hand([row(1, "b")], [row(1)])
    sync.hand([], [row(1, "b")])
    sync.run()
    assert there.befores == [None, row(1), row(1, "b")]


def test_a_state_that_is_older_than_the_destination_is_refused(tmp_path: Path) -> None:
    there = CollectingDestination()
    sync = bench(tmp_path, there, batch=1)
    sync.hand([row(number) for number in range(4)])
    sync.run()
    sync.restart()
    store = Deliveries(tmp_path)
    with store.transaction():
        store.move(cursor=1, call=1, delivered=-3, superseded=0)
    store.close()
    with pytest.raises(DestinationStopped, match="older copy"):
        sync.run()


def test_without_a_key_every_row_is_inserted_once(tmp_path: Path) -> None:
    there = CollectingDestination()
    sync = SyncUnderTest(tmp_path, there, COLUMNS, batch=2)
    sync.hand([row(1), row(1), row(2)])
    sync.run_on((2, "after"))
    sync.run()
    assert sorted(str(one["id"]) for op, one, _ in there.received if op == Op.INSERT) == ["1", "1", "2"]


def test_the_rate_is_kept(tmp_path: Path) -> None:
    there = CollectingDestination()
    sync = bench(tmp_path, there)
    sync._how = type(sync._how)(records_per_second=10.0)
    sync.hand([row(number) for number in range(100)])
    began = sync.clock.monotonic_s()
    sync.run()
    assert 8.5 <= sync.clock.monotonic_s() - began < 12.0


def test_what_is_delivered_leaves_the_outbox(tmp_path: Path) -> None:
    sync = bench(tmp_path, CollectingDestination(), batch=1000)
    for turn in range(20):
        sync.hand([row(turn * 1000 + number, "x" * 40) for number in range(1000)])
    sync.run()
    sync.clock.wait(__import__("threading").Event(), 5.0)
    sync.run()
    assert sync.outbox.base > 10_000
    sync.restart()
    sync.hand([row(-1)])
    assert sync.run().delivered == 20_001
