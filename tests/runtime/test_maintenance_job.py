"""Maintenance in the process that runs the project: tables stay small beside the epochs, and what is done is shown."""

import json
import threading

import pytest
from scripted_project import PROJECT, Shop, inserts, order, wait_until

from headwater.cli.app import main
from headwater.clock import SystemClock
from headwater.lake.iceberg.lake import IcebergLake
from headwater.runtime.epoch_job import EpochJob
from headwater.runtime.journal import Journal
from headwater.runtime.maintenance_job import MaintenanceJob
from headwater.runtime.maintenance_runs import KEPT, MaintenanceRecord, Run

OFTEN = "maintenance: {interval: 20 ms, share: 1.0, merge_files: 4}\n"


def settings(shop, text):
    (shop.folder / "headwater.yml").write_text(PROJECT + text)


def health(shop, table="orders"):
    """What the status says of a table's files."""
    return next(entry for entry in shop.status()["maintenance"]["tables"] if entry["name"] == table)


def landed(shop):
    """Rows of the table, as the status tells."""
    return next(table["rows"] for table in shop.status()["tables"] if table["name"] == "orders")


def fill(shop, epochs, first=1):
    """One epoch for each of so many transactions; each deletes nothing and adds one row."""
    for number in range(first, first + epochs):
        shop.source.add(inserts(number, number))
        wait_until(lambda n=number: landed(shop) == n, f"row {number}")


def runs_of(shop):
    return MaintenanceRecord(shop.state).runs(1000)


def test_files_stay_few_while_the_project_runs(shop):
    settings(shop, OFTEN)
    with shop.running():
        fill(shop, 16)
        wait_until(lambda: health(shop)["files"] < 5, "compaction")
        assert shop.status()["maintenance"]["state"] == "running"
    assert shop.rows("orders") == [order(n) for n in sorted(range(1, 17), key=lambda n: json.dumps(order(n)))]
    done = [run for run in runs_of(shop) if run.done and run.kind == "compact"]
    assert done and all(run.rows and run.bytes_written for run in done)
    assert shop.events("maintenance.done")
    shop.source.add(inserts(100, 100))
    shop.run_once()
    assert len(shop.rows("orders")) == 17


def test_it_can_be_switched_off(shop):
    settings(shop, OFTEN.replace("{", "{enabled: false, "))
    with shop.running():
        fill(shop, 8)
    assert runs_of(shop) == []


@pytest.fixture
def worn(shop):
    """A stopped project whose table has eight small files."""
    settings(shop, "maintenance: {enabled: false, merge_files: 4}\n")
    with shop.running():
        fill(shop, 8)
    return shop


def files_of(shop):
    return {path for path in (shop.folder / "lake").rglob("*") if path.is_file() and path.name != "catalog.db"}


def test_a_dry_run_changes_nothing(worn, capsys):
    before = files_of(worn)
    assert main(["maintain", "--folder", str(worn.folder), "--dry-run", "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert [(task["table"], task["kind"], task["files"]) for task in tasks] == [("orders", "compact", 8)]
    assert files_of(worn) == before
    assert runs_of(worn) == []


def test_a_stopped_project_is_kept_here(worn, capsys):
    assert main(["maintain", "orders", "--folder", str(worn.folder), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["kind"], run["files_removed"], run["files_added"]) for run in runs] == [("compact", 8, 1)]
    assert main(["maintain", "--folder", str(worn.folder), "--runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == runs
    assert main(["maintain", "--folder", str(worn.folder)]) == 0
    assert "nothing to do" in capsys.readouterr().err
    worn.source.add(inserts(100, 100))
    worn.run_once()
    assert len(worn.rows("orders")) == 9


def test_a_running_project_is_asked(worn, capsys):
    with worn.running():
        wait_until(lambda: worn.status()["running"], "start")
        assert main(["maintain", "--folder", str(worn.folder), "--json"]) == 0
        runs = json.loads(capsys.readouterr().out)["runs"]
        assert [(run["table"], run["kind"], run["done"]) for run in runs] == [("orders", "compact", True)]
        assert main(["maintain", "nothing", "--folder", str(worn.folder)]) == 1
        assert "there is no table 'nothing'" in capsys.readouterr().err
        fill(worn, 1, first=9)
    assert len(worn.rows("orders")) == 9


class Kept:
    """A maintenance job over the tables of a stopped project, with epochs that are as far behind as a test says."""

    def __init__(self, shop, text):
        settings(shop, text)
        self.lake = IcebergLake(shop.folder / "lake", namespace="shop")
        self.tables = {name: self.lake.table(self.lake.open_table(name).spec, as_held=True) for name in ["orders"]}
        self.behind = True
        self.job = MaintenanceJob(
            shop.project, lambda: self.tables, lambda: self.behind, Journal(shop.log, as_json=True), SystemClock()
        )

    def __enter__(self):
        self.job.start()
        return self.job

    def __exit__(self, *exception):
        self.job.stop()
        self.job.join()
        self.lake.close()


def test_it_yields_to_epochs_that_are_behind(worn):
    kept = Kept(worn, OFTEN)
    with kept as job:
        wait_until(lambda: job.picture.tables["orders"].files == 8, "a look")
        looked = len(worn.events("maintenance.done"))
        kept.behind = False
        wait_until(lambda: job.picture.tables["orders"].files == 1, "work")
    assert looked == 0
    assert job.picture.alarms == ()


def test_a_table_out_of_bounds_is_worked_on_all_the_same_and_epochs_wait(worn):
    kept = Kept(worn, "maintenance: {interval: 20 ms, share: 1.0, merge_files: 4, alarm_files: 2}\n")
    with kept as job:
        wait_until(lambda: job.picture.tables["orders"].files == 1, "work, though the epochs are behind")
        wait_until(lambda: not job.picture.alarms, "the end of the alarm")
    assert job.wait_s() == 0.0
    (alarm,) = worn.events("maintenance.alarm")
    assert "8 small files" in alarm["message"] and "waits" in alarm["message"]


def test_epochs_wait_while_maintenance_cannot_keep_up(shop):
    """The epoch loop adds the wait to its interval; it goes on, only slower."""
    settings(shop, "maintenance: {enabled: false}\n")
    waits = []
    supervisor = shop.supervisor()
    supervisor._maintenance.picture = type(supervisor._maintenance.picture)(wait_s=30.0)
    waited = supervisor._clock.wait
    supervisor._clock.wait = lambda event, timeout: (waits.append(timeout), waited(event, timeout))[1]
    thread = threading.Thread(target=supervisor.run)
    shop.source.add(inserts(1, 1))
    thread.start()
    wait_until(lambda: waits and max(waits) > 10.0, "a long wait")
    supervisor.stop()
    thread.join()
    assert not thread.is_alive()


def test_a_table_that_cannot_be_kept_is_an_alarm_and_the_others_go_on(worn):
    kept = Kept(worn, OFTEN)
    kept.behind = False
    gone = kept.lake.table(kept.tables["orders"].spec.__class__("broken", kept.tables["orders"].spec.columns))
    kept.tables["broken"] = gone
    kept.lake.drop("broken")
    with kept as job:
        wait_until(lambda: job.picture.tables["orders"].files == 1, "the other table")
        wait_until(lambda: job.picture.alarms, "an alarm")
    assert [(alarm.table, "dropped" in alarm.message) for alarm in job.picture.alarms] == [("broken", True)]


def test_the_record_is_bounded_and_bears_a_torn_line(tmp_path):
    record = MaintenanceRecord(tmp_path)
    run = Run("orders", "compact", "small files", 1, 0.1, 0.1, True)
    for _ in range(2 * KEPT + 1):
        record.add(run)
    with (tmp_path / "maintenance" / "runs.jsonl").open("a") as file:
        file.write('{"table": "or')
    assert KEPT < len(record.runs(10 * KEPT)) <= 2 * KEPT
    assert MaintenanceRecord(tmp_path).runs(3)[0] == run


def test_epochs_know_whether_they_are_behind(shop):
    job = EpochJob(shop.project, {}, {}, lambda: True, Journal(shop.log), SystemClock())
    assert job.behind()  # nothing is open yet
    assert job.tables() == {}
    assert isinstance(shop, Shop)
