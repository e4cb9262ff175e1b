"""What comes back after a crash when the project, the tables or the sources have changed in between."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from scripted_project import EVENTS, ORDERS, PROJECT, Shop, ids, inserts, lose_newest_checkpoint, order, run_with

from headwater.change import Op
from headwater.engine import graph
from headwater.errors import ProjectError, SourceStopped, UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.runtime.journal import Journal
from headwater.runtime.state_store import StateStore
from headwater.runtime.supervisor import Supervisor
from headwater.testing.scripted_source import ScriptedSource, scripted_group

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"
LIST = "SELECT id, status FROM orders"
PLAIN = PROJECT.partition("    streams:")[0] + PROJECT[PROJECT.index("run:") :]
OTHER = "  other: {type: postgres, url: postgresql://nowhere/other}\n"
NO_MIRROR = PROJECT.replace("streams:\n", "streams:\n      orders: {mirror: false}\n")


@pytest.mark.parametrize("sql", [COUNT, LIST])
def test_a_model_put_back_after_a_crash_has_the_epochs_it_was_away(shop, sql):
    shop.model("kept", sql)
    shop.model("on_top", "SELECT * FROM kept")
    run_with(shop, inserts(1, 1))
    text = (shop.folder / "models" / "kept.sql").read_text()
    (shop.folder / "models" / "kept.sql").unlink()
    (shop.folder / "models" / "on_top.sql").unlink()
    run_with(shop, inserts(2, 2))
    lose_newest_checkpoint(shop)
    (shop.folder / "models" / "kept.sql").write_text(text)
    shop.model("on_top", "SELECT * FROM kept")
    run_with(shop, inserts(3, 3))
    whole = [{"status": "new", "orders": 3}] if sql is COUNT else [{"id": n, "status": "new"} for n in (1, 2, 3)]
    assert shop.rows("kept") == whole
    assert shop.rows("on_top") == whole


def test_a_model_changed_and_changed_back_around_a_crash_is_built_anew(shop):
    shop.model("by_status", COUNT)
    run_with(shop, inserts(1, 1))
    shop.model("by_status", COUNT.replace("count(*)", "100 * count(*)"))
    run_with(shop, inserts(2, 2))
    lose_newest_checkpoint(shop)
    shop.model("by_status", COUNT)
    run_with(shop, inserts(3, 3))
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]


@pytest.mark.parametrize("crash", [False, True])
def test_the_number_of_threads_may_change_between_runs(shop, crash, monkeypatch):
    """T-CK-04."""
    monkeypatch.setattr(graph, "_FEW_ROWS", 2)  # so that small deltas are cut and threads are used
    shop.model("by_status", COUNT)
    shop.model("pairs", "SELECT a.id AS id, b.id AS other FROM orders a JOIN orders b ON a.status = b.status")
    for commit, threads in enumerate((1, 3, 2, 1), 1):
        (shop.folder / "headwater.yml").write_text(PROJECT.replace("run: {", f"run: {{threads: {threads}, "))
        run_with(shop, inserts(commit, *range(10 * commit, 10 * commit + 5)))
        if crash and commit > 1:
            lose_newest_checkpoint(shop)
    shop.run_once()
    assert shop.rows("by_status") == [{"status": "new", "orders": 20}]
    assert len(shop.rows("pairs")) == 400


def test_a_mirror_switched_off_and_on_again_holds_what_came_meanwhile(shop):
    run_with(shop, inserts(1, 1, 2))
    (shop.folder / "headwater.yml").write_text(NO_MIRROR)
    run_with(shop, inserts(2, 3), scripted_group(3, [(ORDERS, Op.DELETE, {"id": 1})]))
    (shop.folder / "headwater.yml").write_text(PROJECT)
    run_with(shop, inserts(4, 4))
    assert ids(shop) == [2, 3, 4]
    assert shop.account("orders")["holds"]


@pytest.mark.parametrize("crash", [False, True])
def test_a_table_that_was_dropped_is_built_anew(shop, crash):
    shop.model("copy", LIST)
    shop.model("on_top", "SELECT id FROM copy WHERE id > 1")
    run_with(shop, inserts(1, 1, 2))
    run_with(shop, inserts(2, 3))
    if crash:
        lose_newest_checkpoint(shop)
    lake = IcebergLake(shop.folder / "lake", namespace="shop")
    for name in ("orders", "copy"):
        lake.drop(name)
    lake.close()
    run_with(shop, inserts(3, 4))
    assert (ids(shop), ids(shop, "copy"), ids(shop, "on_top")) == ([1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4])


@pytest.mark.parametrize("crash", [False, True])
def test_an_older_lake_put_back_under_a_newer_state_is_brought_up_to_date(shop, tmp_path, crash):
    shop.model("copy", LIST)
    run_with(shop, inserts(1, 1))
    shutil.copytree(shop.folder / "lake", tmp_path / "backup")
    run_with(shop, inserts(2, 2))
    run_with(shop, inserts(3, 3))
    if crash:
        lose_newest_checkpoint(shop)
    shutil.rmtree(shop.folder / "lake")
    (tmp_path / "backup").rename(shop.folder / "lake")
    run_with(shop, inserts(4, 4))
    assert (ids(shop), ids(shop, "copy")) == ([1, 2, 3, 4], [1, 2, 3, 4])


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(("lost", "refused"), [("nothing", True), ("checkpoints", True), ("store", False)])
def test_an_older_state_put_back_under_a_newer_lake_loses_and_doubles_nothing(shop, tmp_path, lost, refused, more):
    """T-IC-05: it is refused, and the tables stay as they are; or all is built anew, if it knows of no epoch."""
    shop.model("copy", LIST)
    shop.model("by_status", COUNT)
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    shutil.copytree(shop.state, tmp_path / "yesterday")
    run_with(shop, inserts(3, 3), scripted_group(4, [(ORDERS, Op.DELETE, {"id": 1})]))
    run_with(shop, inserts(5, 5))
    shop.state.rename(tmp_path / "today")
    (tmp_path / "yesterday").rename(shop.state)
    if lost == "checkpoints":
        for folder in (shop.state / "checkpoints").iterdir():
            shutil.rmtree(folder)
    elif lost == "store":
        (shop.state / "state.db").unlink()
    if more:
        shop.source.add(inserts(6, 6), inserts(7, 7))
    if refused:
        before = [shop.epochs(name) for name in ("orders", "copy", "by_status")]
        with pytest.raises(UserError, match="this state is older"):
            shop.run_once()
        assert [shop.epochs(name) for name in ("orders", "copy", "by_status")] == before
        shutil.rmtree(shop.state)
        (tmp_path / "today").rename(shop.state)
    shop.run_once()
    whole = [2, 3, 5, 6, 7] if more else [2, 3, 5]
    assert (ids(shop), ids(shop, "copy")) == (whole, whole)
    assert shop.rows("by_status") == [{"status": "new", "orders": len(whole)}]


def test_a_source_renamed_begins_its_streams_anew(shop):
    run_with(shop, inserts(1, 1, 2))
    shop.model("copy", LIST)
    run_with(shop, inserts(2, 4))
    (shop.folder / "headwater.yml").write_text(PLAIN.replace("  shop:", "  store:"))
    shop.source = ScriptedSource("store", [ORDERS], [inserts(7, 2, 3)])
    shop.run_once()
    assert shop.rows("orders") == [order(2), order(3)]
    assert ids(shop, "copy") == [2, 3]
    assert shop.account("orders")["holds"]


def event(commit, n):
    return scripted_group(commit, [(EVENTS, Op.INSERT, {"happened": None, "n": n})])


def test_tables_of_a_lost_state_are_replaced_even_if_a_run_without_data_comes_first(shop):
    run_with(shop, inserts(1, 1), event(2, 1))
    shutil.rmtree(shop.state)
    script, shop.source = shop.source, ScriptedSource("shop", [ORDERS, EVENTS], [SourceStopped("not yet")])
    with pytest.raises(SourceStopped):
        shop.run_once()
    shop.source = script
    shop.run_once()
    assert (ids(shop), [row["n"] for row in shop.rows("events")]) == ([1], [1])


class TwoSources(Shop):
    """`orders` from one source, `events` from another."""

    def __init__(self, folder):
        super().__init__(folder)
        (folder / "headwater.yml").write_text(PLAIN.replace("run:", OTHER + "run:"))
        self.source = ScriptedSource("shop", [ORDERS])
        self.other = ScriptedSource("other", [EVENTS])

    def supervisor(self, *, once=False):
        """A supervisor over both."""
        sources = {source.name: source for source in (self.source, self.other) if source is not None}
        return Supervisor(self.project, Journal(self.log, as_json=True), once=once, sources=sources)


@pytest.fixture
def two(tmp_path):
    return TwoSources(tmp_path / "two")


def test_a_source_that_speaks_for_the_first_time_after_a_crash_is_taken_in(two):
    two.source.add(inserts(1, 1))
    two.other.add(SourceStopped("nothing to say yet"))
    with pytest.raises(SourceStopped):
        two.run_once()
    store = StateStore(two.state)
    with store.transaction():
        store._connection.execute("DELETE FROM checkpoints")
    store.close()
    two.other.add(event(1, 1))
    two.run_once()
    two.run_once()
    assert (ids(two), [row["n"] for row in two.rows("events")]) == ([1], [1])


def test_a_source_added_before_a_crash_is_cleared_up_is_taken_in(two):
    both = (two.folder / "headwater.yml").read_text()
    (two.folder / "headwater.yml").write_text(both.replace(OTHER, ""))
    other, two.other = two.other, None
    run_with(two, inserts(1, 1))
    run_with(two, inserts(2, 2))
    lose_newest_checkpoint(two)
    (two.folder / "headwater.yml").write_text(both)
    two.other = other
    two.other.add(event(1, 1))
    run_with(two, inserts(3, 3))
    assert (ids(two), [row["n"] for row in two.rows("events")]) == ([1, 2, 3], [1])


def test_a_source_taken_away_before_a_crash_is_cleared_up_does_not_stop_the_rest(two):
    two.other.add(event(1, 1))
    run_with(two, inserts(1, 1))
    run_with(two, inserts(2, 2))
    lose_newest_checkpoint(two)
    text = (two.folder / "headwater.yml").read_text()
    (two.folder / "headwater.yml").write_text(text.replace(OTHER, ""))
    two.other = None
    run_with(two, inserts(3, 3))
    assert ids(two) == [1, 2, 3]


def test_two_sources_with_a_stream_of_one_name_are_refused(two):
    two.other = ScriptedSource("other", [ORDERS], [inserts(1, 2)])
    two.source.add(inserts(1, 1))
    with pytest.raises(ProjectError) as caught:
        two.run_once()
    assert "two streams are called 'orders'" in str(caught.value.mistakes[0])


START = datetime(2026, 1, 1, tzinfo=UTC)
PER_MINUTE = (
    "/*\nemit: final\n*/\nSELECT window_start, sum(n) AS n"
    " FROM TUMBLE(events, happened, INTERVAL 1 MINUTE) GROUP BY window_start, window_end"
)


def at_minute(commit, minute, n=1):
    return scripted_group(commit, [(EVENTS, Op.INSERT, {"happened": START + timedelta(minutes=minute), "n": n})])


def test_a_watermark_changed_around_a_crash_closes_no_window_twice(shop):
    shop.model("per_minute", PER_MINUTE)
    run_with(shop, at_minute(1, 0))
    run_with(shop, at_minute(2, 0), at_minute(3, 5))
    assert [row["n"] for row in shop.rows("per_minute")] == [2]
    lose_newest_checkpoint(shop)
    (shop.folder / "headwater.yml").write_text(PROJECT.replace("delay: 1 seconds", "delay: 1 hours"))
    run_with(shop, at_minute(4, 0, 5))
    assert shop.rows("per_minute") == []
    run_with(shop, at_minute(5, 100))
    run_with(shop, at_minute(6, 101))
    assert sorted(row["n"] for row in shop.rows("per_minute")) == [1, 7]


def damage_newest_checkpoint(shop):
    newest = max((shop.state / "checkpoints").iterdir(), key=lambda path: int(path.name))
    (newest / "streams" / "orders" / "manifest.json").unlink()
    return int(newest.name)


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_whole_one(shop):
    for number in (1, 2):
        run_with(shop, inserts(number, number))
    damaged = damage_newest_checkpoint(shop)
    run_with(shop, inserts(3, 3))
    store = StateStore(shop.state)
    assert damaged not in [record.epoch for record in store.checkpoints()]
    store.close()
    damage_newest_checkpoint(shop)
    run_with(shop, inserts(4, 4))
    assert ids(shop) == [1, 2, 3, 4]
