"""Syncs of a running project: what is handed over when, exactly once, whatever becomes of project and model."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel
from scripted_project import EVENTS, ORDERS, Shop, inserts, order, wait_until

from headwater.change import Op
from headwater.deliver.destination import Op as Sent
from headwater.errors import DestinationStopped, ProjectError, UserError
from headwater.project import destinations, folder
from headwater.project.destinations import DestinationKind
from headwater.quality.rejects import Choice
from headwater.runtime.outboxes import RESYNC
from headwater.runtime.state_store import StateStore
from headwater.testing.collecting import CollectingDestination
from headwater.testing.scripted_source import scripted_group

MODEL = "/* key: id */ SELECT id, status FROM orders WHERE status != 'hidden'"
THERE: dict[str, CollectingDestination] = {}


class SettingsInMemory(BaseModel):
    """What a destination in memory is told."""

    type: Literal["testing"] = "testing"
    place: str = "here"


def destination_in_memory(settings: SettingsInMemory) -> CollectingDestination:
    """The destination of that name."""
    return THERE.setdefault(settings.place, CollectingDestination())


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setitem(sys.modules, "syncs_under_test", sys.modules[__name__])
    kind = DestinationKind("testing", "syncs_under_test:SettingsInMemory", "syncs_under_test:destination_in_memory")
    for place in (destinations, folder):
        monkeypatch.setattr(place, "DESTINATIONS", (kind,))
    THERE.clear()
    made = Shop(tmp_path)
    made.model("scores", MODEL)
    return made


def sync(shop: Shop, settings: str = "{type: testing, model: scores}") -> CollectingDestination:
    """The project with one sync, or with none."""
    text = (shop.folder / "headwater.yml").read_text().partition("\nsyncs:")[0]
    (shop.folder / "headwater.yml").write_text(text + (f"\nsyncs:\n  crm: {settings}\n" if settings else ""))
    return THERE.setdefault("here", CollectingDestination())


def update(commit: int, number: int, **row: str) -> object:
    return scripted_group(commit, [(ORDERS, Op.UPDATE, order(number, **row))], time_us=commit)


def delete(commit: int, number: int) -> object:
    return scripted_group(commit, [(ORDERS, Op.DELETE, {"id": number})], time_us=commit)


def state(there: CollectingDestination) -> dict[object, object]:
    return {row["id"]: row["status"] for row in there.rows.values()}


def told(shop: Shop) -> dict[str, object]:
    (found,) = shop.status()["syncs"]
    assert found["holds"], found
    return found


def test_all_rows_then_every_change_and_nothing_twice(shop: Shop) -> None:
    there = sync(shop)
    shop.source.add(inserts(1, 1, 2, 3))
    shop.run_once()
    assert state(there) == {1: "new", 2: "new", 3: "new"}
    shop.source.add(update(2, 2, status="paid"), delete(3, 3), inserts(4, 4))
    shop.run_once()
    assert state(there) == {1: "new", 2: "paid", 4: "new"}
    shop.run_once()
    names = [name for _, _, name in there.received]
    assert len(names) == len(set(names)) == 6
    assert (told(shop)["handed"], told(shop)["delivered"], told(shop)["pending"]) == (6, 6, 0)


def test_changes_only_leaves_the_first_rows_out(shop: Shop) -> None:
    there = sync(shop, "{type: testing, model: scores, start: changes}")
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    assert there.received == []
    shop.source.add(update(2, 2, status="paid"), inserts(3, 5))
    shop.run_once()
    assert state(there) == {2: "paid", 5: "new"}


def test_a_sync_that_comes_later_gets_what_is_there_once(shop: Shop) -> None:
    sync(shop, "")
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    there = sync(shop)
    shop.source.add(inserts(2, 3))
    shop.run_once()
    shop.run_once()
    assert state(there) == {1: "new", 2: "new", 3: "new"} and len(there.received) == 3
    sync(shop, "")
    shop.source.add(delete(3, 1), inserts(4, 4))
    shop.run_once()
    there = sync(shop)
    shop.run_once()
    assert state(there) == {2: "new", 3: "new", 4: "new"} and len(there.received) == 5


def test_of_a_model_that_changes_the_difference_is_sent(shop: Shop) -> None:
    there = sync(shop)
    shop.source.add(inserts(1, 1, 2, 3), update(2, 2, status="paid"))
    shop.run_once()
    there.received.clear()
    shop.model("scores", "/* key: id */ SELECT id, status FROM orders WHERE status != 'paid'")
    shop.run_once()
    assert [(op, row["id"]) for op, row, _ in there.received] == [(Sent.DELETE, 2)]
    shop.model("scores", "/* key: id */ SELECT id, status, amount FROM orders")
    shop.run_once()
    assert state(there) == {1: "new", 2: "paid", 3: "new"}
    assert all(row["amount"] == "10" for row in there.rows.values())


def test_an_outbox_that_is_lost_is_made_again_with_all_rows(shop: Shop) -> None:
    there = sync(shop, "{type: testing, model: scores, start: changes}")
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    shop.source.add(inserts(2, 3))
    shop.run_once()
    shutil.rmtree(shop.state / "syncs")
    shop.source.add(inserts(3, 4))
    shop.run_once()
    assert set(state(there)) == {1, 2, 3, 4}
    assert told(shop)["pending"] == 0


def test_everything_is_sent_again_when_asked(shop: Shop) -> None:
    there = sync(shop)
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    there.rows.clear()
    (shop.state / "syncs" / "crm" / RESYNC).write_text("now")
    shop.run_once()
    assert set(state(there)) == {1, 2} and len(there.received) == 4
    (shop.state / "syncs" / "crm" / RESYNC).write_text("now2 anew")
    shop.run_once()
    shop.run_once()
    assert set(state(there)) == {1, 2} and len(there.received) == 6


def test_a_refused_record_stands_in_the_ledger_and_can_be_replayed_from_there(shop: Shop) -> None:
    there = sync(shop)
    there.refuses = lambda row: row["status"] == "bad"
    shop.source.add(inserts(1, 1), inserts(2, 2, status="bad"), inserts(3, 3))
    shop.run_once()
    assert set(state(there)) == {1, 3} and told(shop)["parked"] == 1
    with closing(StateStore(shop.state)) as store:
        (entry,) = store.ledger.entries(("open",))
        assert (entry.stage, entry.stream, entry.reason, entry.key) == ("delivery", "sync:crm", "refused", '["2"]')
        with store.transaction():
            store.ledger.ask_replay([entry.id])
    there.refuses = lambda row: False
    shop.run_once()
    assert set(state(there)) == {1, 2, 3} and told(shop)["parked"] == 0
    with closing(StateStore(shop.state)) as store:
        assert [one.state for one in store.ledger.entries(("replayed", "open"))] == ["replayed"]


def test_a_full_ledger_holds_a_sync_up_and_nothing_is_dropped(shop: Shop) -> None:
    text = (shop.folder / "headwater.yml").read_text()
    (shop.folder / "headwater.yml").write_text(text + "rejects: {max_bytes: 1 KiB}\n")
    there = sync(shop, "{type: testing, model: scores, batch_records: 1}")
    there.refuses = lambda row: True
    shop.source.add(inserts(1, *range(20)))
    with pytest.raises(UserError, match=r"ledger of rejects is full.* the rest waits in the sync's outbox") as full:
        shop.run_once()
    assert "headwater rejects" in full.value.hint
    parked = told(shop)["parked"]
    assert 0 < parked < 20 and told(shop)["pending"] == 20 - parked
    there.refuses = lambda row: False
    with closing(StateStore(shop.state)) as store, store.transaction():
        assert store.ledger.discard_all(Choice()) == parked
    shop.run_once()
    assert (told(shop)["discarded"], told(shop)["delivered"]) == (parked, 20 - parked)


def test_a_destination_that_is_down_does_not_hold_the_pipeline_up(shop: Shop) -> None:
    there = sync(shop)
    there.down = "refused"
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    assert len(shop.rows("scores")) == 2
    assert told(shop)["pending"] == 2 and "nobody is at home" in str(told(shop)["error"])
    there.down = ""
    shop.run_once()
    assert told(shop)["delivered"] == 2


def test_without_a_key_rows_are_inserted_once(shop: Shop) -> None:
    shop.model("scores", "SELECT n FROM events")
    there = sync(shop)
    shop.source.add(scripted_group(1, [(EVENTS, Op.INSERT, {"happened": 1, "n": n}) for n in (1, 1, 2)]))
    shop.run_once()
    shop.run_once()
    assert sorted(str(row["n"]) for _, row, _ in there.received) == ["1", "1", "2"]
    assert {op for op, _, _ in there.received} == {Sent.INSERT}


@pytest.mark.parametrize(
    ("sql", "settings", "says"),
    [
        ("SELECT id, status FROM orders", "", "rows may go from 'scores', which has no key"),
        ("SELECT id, status FROM orders", ", key: id, retractions: ignore", "the model 'scores' has no key"),
        (MODEL, ", key: status", "the key of 'scores' is ['id']"),
        (MODEL, ", key: idd", "the model 'scores' has no column 'idd'"),
        ("/*\nkey: id\ntable: {kind: changelog}\n*/\nSELECT id, status FROM orders", "", "is a mirror"),
    ],
)
def test_a_sync_that_does_not_go_with_its_model_is_a_mistake(shop: Shop, sql: str, settings: str, says: str) -> None:
    sync(shop, "{type: testing, model: scores" + settings + "}")
    shop.model("scores", sql)
    with pytest.raises(ProjectError) as raised:
        shop.run_once()
    found = [str(one) for one in raised.value.mistakes]
    assert [one for one in found if says in one and "headwater.yml" in one], found


def test_a_sync_that_stopped_begins_again_when_it_is_told_to(shop: Shop) -> None:
    there = sync(shop)
    shop.source.add(inserts(1, 1))
    opened = there.open

    def refuse(_: object) -> object:
        raise DestinationStopped("the password is wrong", hint="mend it")

    there.open = refuse  # type: ignore[assignment,method-assign]
    with shop.running():
        wait_until(lambda: told(shop)["state"] == "stopped")
        there.open = opened  # type: ignore[method-assign]
        (shop.state / "syncs" / "crm" / "resume").touch()
        wait_until(lambda: told(shop)["delivered"] == 1)
    assert "the password is wrong" in json.dumps(shop.log.getvalue())
