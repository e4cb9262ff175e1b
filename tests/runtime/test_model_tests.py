"""Tests of models, run offline: what they find, how they say it, and tests made from live data."""

import json

import pytest
from scripted_project import EVENTS, inserts

from headwater.change import Op
from headwater.cli.test import test as run_tests
from headwater.testing.scripted_source import scripted_group

TOTALS = """/* key: [status] */
SELECT status, count(*) AS n, sum(CAST(amount AS INTEGER)) AS total FROM orders GROUP BY status"""
STREAMS = """
streams:
  orders: {columns: {id: BIGINT, status: VARCHAR, amount: VARCHAR}, key: [id]}
"""


@pytest.fixture
def project(shop, monkeypatch):
    """A project that has never run, with a model; `write` gives it a test."""
    shop.model("totals", TOTALS)
    (shop.folder / "tests").mkdir()
    shop.write = lambda text: (shop.folder / "tests" / "totals.yml").write_text(STREAMS + text)
    return shop


def told(shop, capsys, *names):
    """The exit code and what is printed as JSON."""
    code = run_tests(*names, project=shop.folder, json=True)
    return code, json.loads(capsys.readouterr().out)


def test_updates_deletes_and_steps(project, capsys):
    project.write("""
name: totals follow
steps:
  - given: {orders: [{id: 1, status: new, amount: "10"}, {id: 2, status: new, amount: "5"}]}
    expect: {totals: [{status: new, n: 2, total: 15}]}
  - given: {orders: [{_op: update, id: 1, status: paid}, {_op: delete, id: 2}]}
    expect: {totals: [{status: paid, total: 10}], orders: [{id: 1, status: paid, amount: "10"}]}
    expect_changes: {totals: [{_weight: -1, status: new, total: 15}, {status: paid, total: 10}]}
""")
    code, found = told(project, capsys)
    assert (code, found["passed"], found["failed"], found["v"]) == (0, 1, 0, 1)
    assert not (project.state / "state.db").exists() and not (project.folder / "lake").exists()


def test_what_differs_stands_side_by_side(project, capsys):
    project.write("""
model: totals
given: {orders: [{id: 1, status: new, amount: "10"}, {id: 2, status: paid, amount: "5"}]}
expect: [{status: new, n: 1, total: 11}, {status: odd, n: 7, total: 7}]
""")
    code, found = told(project, capsys)
    (one,) = found["tests"]
    kinds = [(d["kind"], d["expected"], d["found"]) for d in one["differences"]]
    assert code == 5 and not one["passed"]
    assert kinds == [
        ("differs", "status=new, n=1, total=11", "status=new, n=1, total=10"),
        ("missing", "status=odd, n=7, total=7", ""),
        ("unexpected", "", "status=paid, n=1, total=5"),
    ]
    assert one["differences"][0]["columns"] == {"total": {"expected": "11", "found": "10"}}
    run_tests(project=project.folder)
    out = capsys.readouterr().out
    assert "differs    status=new, n=1\n      total  expected 11  found 10" in out and "\x1b" not in out


def test_rejects_and_checks(project, capsys):
    (project.folder / "checks").mkdir()
    checks = "orders:\n  - not_null: amount\n    severity: reject\n  - accepted: {column: status, values: [new]}\n"
    (project.folder / "checks" / "orders.yml").write_text(checks)
    project.write("""
given: {orders: [{id: 1, status: new}, {id: 2, status: old, amount: "5"}, {id: 3, status: new, amount: x}]}
expect: {orders: [{id: 2}, {id: 3}], totals: [{status: old, n: 1, total: 5}]}
expect_rejects:
  - {stage: quality, reason: not_null_amount, key: '["1"]'}
  - {stage: evaluate, stream: totals/orders}
expect_checks: {orders.accepted_status: warn}
""")
    code, found = told(project, capsys, "totals")
    assert code == 0, found


def test_late_rows(project, capsys):
    project.model(
        "minutes",
        """/*
key: [window_start]
emit: final
*/
SELECT window_start, window_end, sum(n) AS n FROM TUMBLE(events, happened, INTERVAL 1 MINUTE)
GROUP BY window_start, window_end""",
    )
    project.write("""
  events: {columns: {happened: TIMESTAMPTZ, n: BIGINT}}
steps:
  - given: {events: [{happened: 2026-01-01 00:00:30+00, n: 3}]}
    watermarks: {events: 2026-01-01 00:01:00+00}
    expect: {minutes: [{window_start: 2026-01-01 00:00:00+00, n: 3}]}
  - given: {events: [{happened: 2026-01-01 00:00:40+00, n: 4}]}
    expect: {minutes: [{n: 3}]}
    expect_late: {minutes: 1}
    expect_rejects: [{stage: late}]
""")
    code, found = told(project, capsys)
    assert code == 0, found


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("given: {orders: [{id: x}]}\nexpect: {totals: []}", "'x' is no BIGINT, as 'id' is", 5),
        ("given: {orders: [{idd: 1}]}\nexpect: {totals: []}", "has no value of its key", 5),
        ("given: {orders: [{id: 1, stat: a}]}\nexpect: {totals: []}", "there is no column 'stat'", 5),
        ("given: {ordrs: [{id: 1}]}\nexpect: {totals: []}", "the columns of 'ordrs' are not known", 3),
        ("given: {totals: [{n: 1}]}\nexpect: {totals: []}", "'totals' is a model", 5),
        ("expect: {totals: [{m: 1}]}", "there is no column 'm'", 5),
    ],
)
def test_mistakes_have_their_place(project, capsys, text, message, line):
    project.write("\n" + text)
    code, found = told(project, capsys)
    mistake = found["tests"][0]["mistake"]
    assert code == 5 and message in mistake["message"], found
    assert mistake["file"].endswith("totals.yml") and mistake["line"] in (line, 1, 2, 3), mistake


def test_a_test_is_recorded_from_live_data_and_passes_at_once(shop, capsys):
    shop.model("totals", TOTALS)
    shop.model(
        "kinds", "/* key: [id] */ SELECT o.id, o.status, t.n FROM orders AS o JOIN totals AS t ON o.status = t.status"
    )
    minutes = "SELECT window_start, window_end, sum(n) AS n FROM TUMBLE(events, happened, INTERVAL 1 MINUTE)"
    shop.model("minutes", f"/*\nkey: [window_start]\nemit: final\n*/\n{minutes} GROUP BY window_start, window_end")
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, status="paid", amount=None))
    events = [(EVENTS, Op.INSERT, {"happened": second * 1_000_000, "n": second}) for second in (5, 50, 70, 200)]
    shop.source.add(scripted_group(3, events, time_us=3))
    shop.run_once()
    for model in ("totals", "kinds", "minutes"):
        assert run_tests(project=shop.folder, record=model, rows=2, json=True) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["passed"] == 1, found
    text = (shop.folder / "tests" / "minutes_recorded.yml").read_text()
    assert "2 of 2 expected rows" in text and "n: 70" in text and "n: 200" not in text
    (shop.folder / ".headwater").rename(shop.folder / "away")
    assert run_tests(project=shop.folder) == 0, "a recorded test needs no state"


def test_a_planted_bug_in_a_model_is_found(project, capsys):
    project.write("""
given: {orders: [{id: 1, status: new, amount: "10"}, {id: 2, status: new, amount: "10"}]}
expect: {totals: [{status: new, n: 2, total: 20}]}
""")
    assert told(project, capsys)[0] == 0
    project.model("totals", TOTALS.replace("sum(", "sum(DISTINCT "))
    assert told(project, capsys)[0] == 5
