"""Queries over a project: to the end of the log, as of the last epoch or any kept moment; never of two moments."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_with_log import to_log
from scripted_project import ORDERS, Shop, inserts, order, run_with, wait_until

from headwater.change import Op
from headwater.errors import FilesExpired, SqlError, UserError
from headwater.lake.moment import Moment
from headwater.serve.query import ask, query
from headwater.testing.scripted_source import scripted_group


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "project")


def ids(shop: Shop, **how: object) -> list[int]:
    return sorted(query(shop.project, "SELECT id FROM orders", **how).column("id").to_pylist())


def test_a_mirror_is_read_to_the_end_of_the_log(shop: Shop) -> None:
    run_with(shop, inserts(1, 1, 2, 3))
    gone = scripted_group(3, [(ORDERS, Op.DELETE, order(1))], time_us=3)
    to_log(shop, inserts(2, 4), gone)
    assert ids(shop) == [2, 3, 4]
    assert ids(shop, fresh=False) == [1, 2, 3]
    assert ids(shop, at=Moment(epoch=1)) == [1, 2, 3]
    note = ask(shop.project, "SELECT 1 FROM orders").note
    assert "position 3" in note
    assert "2 changes not yet in the tables" in note
    run_with(shop)
    assert ids(shop, fresh=False) == [2, 3, 4]
    assert "not yet" not in ask(shop.project, "SELECT 1 FROM orders").note


def test_it_goes_on_while_the_project_runs(shop: Shop) -> None:
    run_with(shop, inserts(1, 1))
    with shop.running():
        for commit in range(2, 20):
            shop.source.add(inserts(commit, commit))
            wait_until(lambda: commit in ids(shop), f"order {commit}")  # noqa: B023
            found = ids(shop)
            assert found == list(range(1, len(found) + 1))


def test_models_and_mirrors_are_of_one_moment(shop: Shop) -> None:
    shop.model("total", "SELECT count(*) AS n FROM orders")
    both = "SELECT (SELECT n FROM total) AS n, (SELECT count(*) FROM orders) AS m"
    run_with(shop, inserts(1, 1, 2))
    to_log(shop, inserts(2, 3, 4, 5))
    answer = ask(shop.project, both)
    assert answer.rows.to_pylist() == [{"n": 2, "m": 2}]
    assert "epoch 1" in answer.note
    assert ask(shop.project, both, fresh=True).rows.to_pylist() == [{"n": 5, "m": 5}]


def test_a_model_whose_rows_depend_on_time_is_not_computed_afresh(shop: Shop) -> None:
    shop.model(
        "per_second",
        "/*\nkey: window_start\nemit: final\n*/\nSELECT window_start, count(*) AS n "
        "FROM TUMBLE(events, happened, INTERVAL '1 second') GROUP BY window_start",
    )
    run_with(shop, inserts(1, 1))
    with pytest.raises(UserError, match="emit: final"):
        query(shop.project, "SELECT * FROM per_second", fresh=True)


def test_past_moments_by_time_snapshot_and_epoch(shop: Shop) -> None:
    shop.model("total", "SELECT count(*) AS n FROM orders")
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    from headwater.serve.query import open_lake

    lake = open_lake(shop.project)
    newest, first = lake.open_table("orders").snapshots()
    lake.close()
    for at in (
        Moment(epoch=1),
        Moment(snapshot=first.snapshot),
        Moment(time_us=newest.committed_at_us - 1000),
    ):
        assert ids(shop, at=at) == [1]
        both = query(shop.project, "SELECT n, id FROM total, orders", at=at)
        assert both.to_pylist() == [{"n": 1, "id": 1}]
    assert ids(shop, at=Moment(time_us=newest.committed_at_us)) == [1, 2]
    assert ids(shop, at=Moment(time_us=0)) == []
    with pytest.raises(UserError, match="rejects"):
        query(shop.project, "SELECT * FROM _rejects", at=Moment(epoch=1))


def test_a_log_of_another_state_is_not_joined(shop: Shop) -> None:
    run_with(shop, inserts(1, 1))
    to_log(shop, inserts(2, 2))
    (shop.state / "identity").write_text("ffffffff")
    answer = ask(shop.project, "SELECT id FROM orders")
    assert answer.rows.num_rows == 1
    assert "another state folder" in answer.note
    with pytest.raises(UserError, match="another state folder"):
        ids(shop, fresh=True)


def test_expiry_under_a_reader_is_tried_again_and_then_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(shop, inserts(1, 1))
    from headwater.lake.iceberg import dataset

    whole, tries = dataset.SnapshotDataset._kept, []

    def lost_once(self, filter):
        tries.append(self)
        files = whole(self, filter)
        if len(tries) <= lost:
            for file in files:
                Path(file.file_path).rename(file.file_path + ".away")
        elif (shop.folder / "lake").rglob("*.away"):
            for path in (shop.folder / "lake").rglob("*.away"):
                path.rename(str(path).removesuffix(".away"))
        return files

    monkeypatch.setattr(dataset.SnapshotDataset, "_kept", lost_once)
    lost = 1
    assert ids(shop) == [1]
    assert len(tries) == 2
    tries.clear()
    lost = 1
    with pytest.raises(FilesExpired, match="has expired"):
        ids(shop, at=Moment(epoch=1))


def test_a_name_that_is_not_there(shop: Shop) -> None:
    run_with(shop, inserts(1, 1))
    with pytest.raises(SqlError, match="did you mean 'orders'"):
        query(shop.project, "SELECT * FROM ordrs")
