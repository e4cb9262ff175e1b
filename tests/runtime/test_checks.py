"""Quality checks while a project runs: rows set aside and let in again, epochs stopped, counts that survive."""

import itertools
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scripted_project import EVENTS, ORDERS, Shop, inserts, order, wait_until

from headwater.change import Op
from headwater.errors import CheckFailed
from headwater.quality.check_results import read_results
from headwater.runtime.state_store import StateStore
from headwater.testing.clocks import ShiftedClock
from headwater.testing.scripted_source import scripted_group

AMOUNTS = "SELECT id, status, CAST(amount AS INTEGER) AS amount FROM orders"


def amounts(checks):
    """A model of the orders' amounts with some checks."""
    return f"/*\nkey: [id]\nchecks:\n{checks}\n*/\n{AMOUNTS}"


POSITIVE = "  - range: {column: amount, min: 0}\n    severity: "


def change(commit, op, number, **row):
    return scripted_group(commit, [(ORDERS, op, order(number, **row))], time_us=commit)


def entries(shop):
    """The ledger of what checks set aside: (key, reason, state), by number."""
    store = StateStore(shop.state)
    try:
        found = store._connection.execute(
            "SELECT key, reason, state FROM rejects WHERE stage = 'quality' ORDER BY id"
        ).fetchall()
    finally:
        store.close()
    return [(json.loads(key), reason, state) for key, reason, state in found]


def standing(shop, name):
    """How a check stands."""
    found = {f"{row['model']}.{row['name']}": row for row in read_results(shop.state)}
    return found[name]


def checks_of(shop, node, text):
    (shop.folder / "checks").mkdir(exist_ok=True)
    (shop.folder / "checks" / f"{node}.yml").write_text(f"{node}:\n{text}\n")


def test_a_row_that_fails_is_in_the_ledger_and_not_in_the_table_until_it_goes(shop):
    shop.model("amounts", amounts(POSITIVE + "reject"))
    shop.model("totals", "SELECT count(*) AS n, sum(amount) AS total FROM amounts")
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, amount="-5"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 2]
    assert shop.rows("totals") == [{"n": 2, "total": 20}]
    assert entries(shop) == [(["3"], "range_amount", "open")]
    assert standing(shop, "amounts.range_amount")["failing"] == 1
    shop.source.add(change(3, Op.UPDATE, 3, amount="7"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 2, 3]
    assert entries(shop) == [(["3"], "range_amount", "superseded")]
    assert standing(shop, "amounts.range_amount")["state"] == "ok"
    told = shop.status()
    assert told["set_aside"]["amounts"] == {"read": 5, "landed": 3, "rejected": 1, "withdrawn": 1, "holds": True}
    assert told["accounting"]


def test_an_update_to_a_row_that_fails_withdraws_the_old_one(shop):
    shop.model("amounts", amounts(POSITIVE + "reject"))
    shop.source.add(inserts(1, 1, 2))
    shop.run_once()
    shop.source.add(change(2, Op.UPDATE, 1, amount="-1"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [2]
    assert entries(shop) == [(["1"], "range_amount", "open")]
    shop.source.add(change(3, Op.DELETE, 1))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [2]
    assert entries(shop) == [(["1"], "range_amount", "superseded")]


def test_rows_land_when_the_check_is_changed_and_others_are_set_aside(shop):
    shop.model("amounts", amounts(POSITIVE + "reject"))
    shop.source.add(inserts(1, 1), inserts(2, 3, amount="-5"), inserts(3, 4, amount="-50"), inserts(4, 5, amount="500"))
    shop.run_once()
    store = StateStore(shop.state)
    with store.transaction():
        store.ledger.ask_replay([1])
    store.close()
    shop.model("amounts", amounts("  - range: {column: amount, min: -10, max: 100}\n    severity: reject"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 3]
    found = [(["3"], "range_amount", "replayed"), (["4"], "range_amount", "open"), (["5"], "range_amount", "open")]
    assert entries(shop) == found
    shop.model("amounts", f"/* key: [id] */\n{AMOUNTS}")
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 3, 4, 5]
    assert {state for _, _, state in entries(shop)} == {"replayed"}


def test_what_is_replayed_without_a_change_says_so_and_stays(shop):
    shop.model("amounts", amounts(POSITIVE + "reject"))
    shop.source.add(inserts(1, 1), inserts(2, 3, amount="-5"))
    shop.run_once()
    store = StateStore(shop.state)
    with store.transaction():
        store.ledger.ask_replay([1])
    store.close()
    shop.source.add(inserts(3, 9))
    shop.run_once()
    store = StateStore(shop.state)
    entry = store.ledger.entry(1)
    store.close()
    assert (entry.state, entry.attempts) == ("open", 2)
    assert "amount is at least 0: id=3, amount=-5; nothing has changed" in entry.message


def test_a_streams_checks_keep_rows_from_its_table_and_from_models(shop):
    checks_of(shop, "orders", "  - accepted: {column: status, values: [new, paid]}\n    severity: reject")
    shop.model("statuses", "SELECT status, count(*) AS n FROM orders GROUP BY status")
    shop.source.add(inserts(1, 1), inserts(2, 2, status="odd"), inserts(3, 3, status="paid"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [1, 3]
    assert sorted(row["status"] for row in shop.rows("statuses")) == ["new", "paid"]
    checks_of(shop, "orders", "  - accepted: {column: status, values: [odd, paid]}\n    severity: reject")
    shop.run_once()
    assert [row["id"] for row in shop.rows("orders")] == [2, 3]
    assert sorted(row["status"] for row in shop.rows("statuses")) == ["odd", "paid"]
    assert entries(shop) == [(["2"], "accepted_status", "replayed"), (["1"], "accepted_status", "open")]


@pytest.mark.parametrize("kind", ["changelog", "history", "mirror, deletes: soft"])
def test_rows_set_aside_are_not_in_tables_of_every_change_either(shop, kind):
    shop.source.add(inserts(1, 1, 2), change(2, Op.UPDATE, 1, status="odd"), change(3, Op.UPDATE, 1, status="paid"))
    text = (shop.folder / "headwater.yml").read_text()
    line = f"    streams:\n      orders: {{tables: {{more: {{kind: {kind}}}}}}}\n"
    (shop.folder / "headwater.yml").write_text(text.replace("    streams:\n", line))
    checks_of(shop, "orders", "  - accepted: {column: status, values: [new, paid]}\n    severity: reject")
    shop.run_once()
    rows = shop.rows("more")
    assert rows and "odd" not in {row["status"] for row in rows}
    now = [row for row in rows if row.get("valid_to", row.get("_valid_to")) is None and not row.get("_is_deleted")]
    assert kind == "changelog" or sorted((row["id"], row["status"]) for row in now) == [(1, "paid"), (2, "new")]


def test_an_epoch_that_a_check_stops_is_in_no_table_and_more_data_mends_it(shop):
    shop.model("amounts", amounts(POSITIVE + "stop"))
    shop.source.add(inserts(1, 1))
    shop.run_once()
    before = shop.epochs("orders")
    shop.source.add(inserts(2, 2, amount="-5"))
    with pytest.raises(CheckFailed) as stopped:
        shop.run_once()
    assert "amounts.range_amount: 1 row of amounts is otherwise than stated" in stopped.value.message
    assert "id=2, amount=-5" in stopped.value.message
    assert "models/amounts.sql:4:5" in stopped.value.hint
    assert shop.epochs("orders") == before and [row["id"] for row in shop.rows("orders")] == [1]
    assert standing(shop, "amounts.range_amount")["state"] == "fail"
    shop.source.add(change(3, Op.UPDATE, 2, amount="5"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 2]
    assert standing(shop, "amounts.range_amount")["state"] == "ok"


def test_a_running_project_waits_at_a_stopped_epoch_and_goes_on_by_itself(shop):
    shop.model("amounts", amounts(POSITIVE + "stop"))
    shop.source.add(inserts(1, 1))
    with shop.running():
        wait_until(lambda: shop.account("amounts")["landed"] == 1, "the first order")
        shop.source.add(inserts(2, 2, amount="-5"))
        wait_until(lambda: shop.status()["error"] is not None, "the check")
        assert "amounts.range_amount" in shop.status()["error"]["message"]
        assert [row["id"] for row in shop.rows("orders")] == [1]
        shop.source.add(change(3, Op.UPDATE, 2, amount="5"))
        wait_until(lambda: shop.account("amounts")["rows"] == 2, "the mended order")
        assert shop.status()["error"] is None
    assert [entry["check"] for entry in shop.events("check.failing")] == ["amounts.range_amount"]


def test_results_are_kept_and_a_restart_goes_on_from_them(shop):
    checks = "  - unique: status\n  - not_null: amount\n  - row_count: {max: 2}\n  - volume: {every: 1 h}"
    shop.model("amounts", amounts(checks))
    checks_of(shop, "events", "  - freshness: {column: happened, within: 1 h}")
    checks_of(shop, "orders", "  - referential: {columns: id, to: amounts}")
    shop.source.add(inserts(1, 1, 2, 3), inserts(2, 4, status="odd", amount=None))
    shop.run_once()
    assert standing(shop, "amounts.unique_status")["failing"] == 1
    assert standing(shop, "amounts.not_null_amount")["failing"] == 1
    assert (standing(shop, "amounts.row_count")["value"], standing(shop, "amounts.row_count")["state"]) == (4.0, "warn")
    assert standing(shop, "orders.referential_id_amounts")["failing"] == 0
    assert standing(shop, "events.freshness_happened")["state"] == "unknown"
    shop.source.add(scripted_group(3, [(ORDERS, Op.DELETE, order(number)) for number in (1, 2, 4)], time_us=3))
    shop.run_once()
    assert standing(shop, "amounts.unique_status")["state"] == "ok"
    assert standing(shop, "amounts.not_null_amount")["failing"] == 0
    assert standing(shop, "amounts.row_count")["state"] == "ok"
    past = next(row["history"] for row in read_results(shop.state, history=9) if row["name"] == "unique_status")
    assert next((one["state"], one["failing"]) for one in past) == ("ok", 0) and past[-1]["state"] == "warn"


HOUR_US = 3_600_000_000
TIMES = "  - freshness: {column: happened, within: 90 min}\n  - volume: {every: 1 h, history: 12}"


def test_what_is_late_and_what_is_little_or_much_is_found_and_passes_again(shop):
    """Hours go by as the clock says. It begins in the middle of one, so that none ends while we look on."""
    checks_of(shop, "events", TIMES)
    shop.clock = ShiftedClock(HOUR_US // 2 - shop.clock.now_us() % HOUR_US)
    sent = itertools.count(1)

    def send(events):
        happened, number = datetime.fromtimestamp(shop.clock.now_us() / 1e6, UTC), next(sent)
        rows = [(EVENTS, Op.INSERT, {"happened": happened, "n": n}) for n in range(events)]
        shop.source.add(scripted_group(number, rows, time_us=number))
        wait_until(lambda: shop.account("events")["landed"] == 10 * number, f"group {number}")

    def stand(freshness, volume):
        found = [standing(shop, f"events.{name}")["state"] for name in ("freshness_happened", "volume")]
        return found == [freshness, volume]

    with shop.running():
        for _ in range(9):
            send(10)
            shop.clock.ahead_us += HOUR_US
        wait_until(lambda: stand("ok", "ok"), "ten in each hour, the last an hour ago")
        shop.clock.ahead_us += HOUR_US
        wait_until(lambda: stand("warn", "warn"), "none in an hour")
        send(10)
        wait_until(lambda: stand("ok", "warn"), "one hour without any")
        shop.clock.ahead_us += HOUR_US
        wait_until(lambda: stand("ok", "ok"), "ten in the last hour")
        shop.source.add(
            scripted_group(99, [(EVENTS, Op.INSERT, {"happened": None, "n": n}) for n in range(300)], time_us=99)
        )
        wait_until(lambda: stand("ok", "warn"), "300 in the hour that is not over")
    assert "z = " in standing(shop, "events.volume")["message"]


def test_the_results_are_a_table_and_a_command(shop, capsys):
    from headwater.cli.checks import checks
    from headwater.serve.query import query

    shop.model("amounts", amounts(POSITIVE + "reject\n  - not_null: status"))
    shop.source.add(inserts(1, 1), inserts(2, 3, amount="-5"))
    shop.run_once()
    rows = query(shop.project, "SELECT name, state, failing FROM _checks ORDER BY name").to_pylist()
    found = [{"name": "not_null_status", "state": "ok", "failing": 0}]
    assert rows == [*found, {"name": "range_amount", "state": "fail", "failing": 1}]
    assert checks(shop.folder, history=3) == 5
    told = capsys.readouterr().out
    assert "FAIL   amounts.range_amount     reject    1" in told and "e.g. id=3, amount=-5" in told
    assert checks(shop.folder, model="amounts", json=True) == 5
    printed = json.loads(capsys.readouterr().out)
    assert printed["v"] == 1 and [one["state"] for one in printed["checks"]] == ["ok", "fail"]


class Killed(BaseException):
    """As if the process were gone from here on."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "instant",
    ["epoch.plan.after", "epoch.sinks.between", "epoch.done.before"],
)  # fmt: skip
def test_a_kill_at_any_instant_loses_and_doubles_nothing(shop, monkeypatch, instant):
    shop.model("amounts", amounts(POSITIVE + "reject\n  - unique: [status, amount]\n    severity: stop"))
    shop.source.add(inserts(1, 1), inserts(2, 2, amount="-5"))
    shop.run_once()
    shop.source.add(inserts(3, 3, amount="20"), inserts(4, 4, amount="-7"), change(5, Op.DELETE, 2))
    monkeypatch.setattr("headwater.failpoint.reach", lambda name: _kill(name == instant))
    with pytest.raises(BaseException):  # noqa: B017 whatever a killed thread makes of it
        shop.run_once()
        raise Killed
    monkeypatch.undo()
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 3]
    found = [(["2"], "range_amount", "superseded"), (["4"], "range_amount", "open")]
    assert entries(shop) == found
    assert standing(shop, "amounts.range_amount")["failing"] == 1
    assert standing(shop, "amounts.unique_status_amount")["failing"] == 0
    assert shop.status()["set_aside"]["amounts"]["holds"]


def _kill(now):
    if now:
        raise Killed


STOPPED = """
import sys
from pathlib import Path
from scripted_project import Shop
from test_checks import stopped
stopped(Shop(Path(sys.argv[1])))
"""


def stopped(shop):
    """An epoch that lands, and one that a check stops."""
    shop.model("amounts", amounts(POSITIVE + "stop"))
    shop.source.add(inserts(1, 1))
    shop.run_once()
    shop.source.add(inserts(2, 2, amount="-5"))
    shop.run_once()


@pytest.mark.parametrize("instant", ["check.stop.before", "check.stop.after"])
def test_killed_where_an_epoch_is_stopped(tmp_path, instant):
    environment = {
        **os.environ,
        "HEADWATER_FAILPOINT": f"{instant}:1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    killed = [sys.executable, "-c", STOPPED, str(tmp_path)]
    assert subprocess.run(killed, env=environment, timeout=240, check=False).returncode == -signal.SIGKILL
    shop = Shop(tmp_path)
    shop.source.add(inserts(1, 1), inserts(2, 2, amount="-5"))
    with pytest.raises(CheckFailed):
        shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1] == [row["id"] for row in shop.rows("orders")]
    shop.source.add(change(3, Op.UPDATE, 2, amount="5"))
    shop.run_once()
    assert [row["id"] for row in shop.rows("amounts")] == [1, 2] == [row["id"] for row in shop.rows("orders")]
    assert len(set(shop.epochs("orders"))) == len(shop.epochs("orders"))
