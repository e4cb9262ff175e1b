"""Going back lives with exactly-once: a table that was rolled back is left alone, and is whole again once released."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_project import ORDERS, Shop, ids, inserts, lose_newest_checkpoint, order, run_with

from headwater.change import Op
from headwater.cli.app import main
from headwater.clock import SystemClock
from headwater.errors import UserError
from headwater.lake.moment import Moment
from headwater.runtime.rewind import differences, resume, rewind, roll_back
from headwater.serve.query import ask, open_lake, query
from headwater.testing.scripted_source import scripted_group

CLOCK = SystemClock()
TOTAL = "SELECT count(*) AS n FROM orders"


def total(shop):
    return [row["n"] for row in shop.rows("total")]


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("table", ["orders", "total"])
def test_a_table_that_was_rolled_back_is_left_alone_until_it_is_released(shop, table, crashed):
    shop.model("total", TOTAL)
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    old = shop.rows(table)
    run_with(shop, inserts(3, 3))
    if crashed:
        lose_newest_checkpoint(shop)
    done = roll_back(shop.project, table, Moment(epoch=2), CLOCK)
    assert done.held
    assert shop.rows(table) == old
    run_with(shop, inserts(4, 4))
    run_with(shop, scripted_group(5, [(ORDERS, Op.DELETE, order(1))]))
    assert shop.rows(table) == old
    assert [entry["table"] for entry in shop.events("table.held")] == [table, table]
    resume(shop.project, table, CLOCK)
    run_with(shop, inserts(6, 6))
    assert (ids(shop), total(shop)) == ([2, 3, 4, 6], [4])
    run_with(shop, inserts(7, 7))
    assert (ids(shop), total(shop)) == ([2, 3, 4, 6, 7], [5])


def test_the_others_go_on_meanwhile(shop):
    shop.model("total", TOTAL)
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    roll_back(shop.project, "total", Moment(epoch=1), CLOCK)
    run_with(shop, inserts(3, 3))
    assert (ids(shop), total(shop)) == ([1, 2, 3], [1])


@pytest.mark.parametrize("table", ["orders", "total"])
@pytest.mark.parametrize("missed", [False, True])
def test_what_was_held_at_the_last_epoch_lacks_only_what_came_since(shop, table, missed):
    shop.model("total", TOTAL)
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    roll_back(shop.project, table, Moment(epoch=2), CLOCK)
    if missed:
        run_with(shop, inserts(3, 3))
    resume(shop.project, table, CLOCK)
    run_with(shop, inserts(4, 4))
    assert (ids(shop), total(shop)) == (([1, 2, 3, 4], [4]) if missed else ([1, 2, 4], [3]))


def test_a_query_says_that_a_table_is_held(shop):
    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    roll_back(shop.project, "orders", Moment(epoch=1), CLOCK)
    answer = ask(shop.project, "SELECT id FROM orders")
    assert answer.rows.to_pylist() == [{"id": 1}]
    assert "rolled back to epoch 1" in answer.note


def test_what_cannot_be_right_is_refused(shop):
    run_with(shop, inserts(1, 1))
    with shop.running(), pytest.raises(UserError, match="running already"):
        roll_back(shop.project, "orders", Moment(epoch=1), CLOCK)
    with pytest.raises(UserError, match="had no rows"):
        roll_back(shop.project, "orders", Moment(time_us=0), CLOCK)
    with pytest.raises(UserError, match="keeps no snapshot"):
        roll_back(shop.project, "orders", Moment(snapshot=3), CLOCK)
    with pytest.raises(UserError, match="there is a table"):
        rewind(shop.project, "orders", 1, "orders", CLOCK)
    with pytest.raises(UserError, match="not in the log yet"):
        rewind(shop.project, "orders", 99, "then", CLOCK)
    with pytest.raises(UserError, match="not held"):
        resume(shop.project, "orders", CLOCK)


CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=3, max_size=6)


@settings(deadline=None, max_examples=2)
@given(CHANGES, st.data())
def test_a_mirror_is_rewound_to_any_commit(tmp_path_factory, changes, data):
    shop = Shop(tmp_path_factory.mktemp("rewind") / "project")
    state, states, groups = {}, {}, []
    for commit, (gone, number) in enumerate(changes, 1):
        op = Op.DELETE if gone and number in state else Op.UPDATE if number in state else Op.INSERT
        row = order(number, status=f"s{commit}")
        state.pop(number, None) if op == Op.DELETE else state.update({number: f"s{commit}"})
        groups.append(scripted_group(commit, [(ORDERS, op, row)]))
        states[commit] = dict(state)
    cut = data.draw(st.integers(1, len(groups)))
    run_with(shop, *groups[:1])
    run_with(shop, *groups[1:cut])
    run_with(shop, *groups[cut:])
    for position, expected in states.items():
        rewind(shop.project, "orders", position, f"at_{position}", CLOCK)
        found = query(shop.project, f"SELECT id, status FROM at_{position}").to_pylist()
        assert {row["id"]: row["status"] for row in found} == expected
    run_with(shop, inserts(50, 50))
    assert ids(shop) == sorted([*state, 50])


def test_what_changed_between_two_moments(shop):
    run_with(shop, inserts(1, 1, 2, 3))
    change = scripted_group(2, [(ORDERS, Op.UPDATE, order(1, "paid")), (ORDERS, Op.DELETE, order(2))])
    run_with(shop, change)
    run_with(shop, inserts(3, 9))
    lake = open_lake(shop.project)
    found = differences(lake.open_table("orders"), Moment(epoch=1), None)
    lake.close()
    assert (found.added, found.removed, found.updated) == (1, 1, 1)
    rows = sorted((row["id"], row["status"], row["_weight"]) for row in found.delta.to_pylist())
    assert rows == [(1, "new", -1), (1, "paid", 1), (2, "new", -1), (9, "new", 1)]


def test_the_commands(shop, capsys, tmp_path: Path):
    def run(*arguments):
        code = main([*map(str, arguments)])
        return code, capsys.readouterr().out

    run_with(shop, inserts(1, 1))
    run_with(shop, inserts(2, 2))
    folder = shop.folder
    code, out = run("tables", "history", "orders", folder, "--json")
    newest, oldest = json.loads(out)["snapshots"]
    assert (code, newest["epoch"], newest["rows_added"], newest["current"]) == (0, 2, 1, True)
    assert newest["properties"]["source.shop.position"] == "2"
    assert "shop:2" in run("tables", "history", "orders", folder)[1]
    assert run("tables", "tag", "make", "orders", "first", folder, "--at", "epoch 1")[0] == 0
    assert str(oldest["snapshot"]) in run("tables", "tag", "ls", "orders", folder)[1]
    code, out = run("query", "SELECT id FROM orders", folder, "--at", "tag first", "--format", "csv")
    assert (code, out) == (0, '"id"\n1\n')
    out = run("tables", "diff", "orders", "epoch 1", "now", folder)[1]
    assert out.startswith("1 added, 0 removed, 0 updated\n")
    assert json.loads(run("tables", "diff", "orders", "tag first", "epoch 2", folder, "--json")[1])["added"] == 1
    assert run("tables", "branch", "make", "orders", "audit", folder)[0] == 0
    assert run("tables", "branch", "remove", "orders", "audit", folder)[0] == 0
    assert run("tables", "rollback", "orders", folder)[0] == 1
    assert run("tables", "rollback", "orders", folder, "--to", "tag first")[0] == 0
    assert "rolled back to ref first" in run("tables", folder)[1]
    assert ids(shop) == [1]
    assert run("tables", "resume", "orders", folder)[0] == 0
    assert run("tables", "rollback", "orders", folder, "--to-position", 1, "--into", "then")[0] == 0
    names = [table["name"] for table in json.loads(run("tables", "ls", folder, "--json")[1])["tables"]]
    assert names == ["events", "orders", "then"]
    assert run("query", "SELECT id FROM orders", folder, "--at", "epoch 1", "--fresh")[0] == 1
