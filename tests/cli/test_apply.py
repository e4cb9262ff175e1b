"""`headwater apply`, `rollback` and `dev` as a person or a script uses them."""

import io
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from scripted_project import DEADLINE_S, Shop, inserts, landed, wait_until

from headwater.cli import output
from headwater.cli.app import main

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"
SUM = COUNT.replace("count(*)", "sum(id)::BIGINT")


class Terminal(io.StringIO):
    """A person who types something."""

    def isatty(self):
        return True


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("apply") / "project")
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    with shop.running():
        landed(shop, "by_status", 1)
        wait_until(lambda: shop.status()["checkpoint"]["epoch"], "a checkpoint, whose figures a plan shows")
        yield shop


def runs(shop, sql):
    """Has the model be that SQL, whatever ran before."""
    shop.model("by_status", sql)
    assert main(["apply", str(shop.folder), "--yes"]) == output.OK


def test_it_shows_the_plan_asks_and_applies(shop, capsys, monkeypatch):
    runs(shop, COUNT)
    shop.model("by_status", SUM)
    folder = str(shop.folder)
    assert main(["plan", folder, "--no-connect"]) == output.OK
    said = capsys.readouterr()
    assert "rebuild" in said.out and "by_status is built from orders (2 rows" in said.err and "of the state" in said.err
    assert main(["apply", folder]) == output.USAGE  # no terminal: nothing happens by accident
    assert "--yes" in capsys.readouterr().err and shop.rows("by_status") == [{"status": "new", "orders": 2}]
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert main(["apply", folder]) == output.OK
    assert shop.rows("by_status") == [{"status": "new", "orders": 2}]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert main(["apply", folder]) == output.OK
    assert "done: by_status; epoch" in capsys.readouterr().err
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert main(["apply", folder, "--yes", "--json"]) == output.OK
    assert json.loads(capsys.readouterr().out)["state"] == "done"


def test_settings_that_take_a_restart_are_told_and_models_applied_all_the_same(shop, capsys):
    runs(shop, COUNT)
    file = shop.folder / "headwater.yml"
    before = file.read_text()
    try:
        file.write_text(
            before.replace("epoch_interval: 20 ms", "epoch_interval: 30 ms") + "maintenance: {interval: 9 s}\n"
        )
        shop.model("by_status", SUM)
        assert main(["apply", str(shop.folder), "--yes"]) == output.OK
        said = capsys.readouterr()
        assert "takes a restart, and is not applied: run, maintenance" in said.err and "done: by_status" in said.err
        assert "a start of headwater run takes it over, apply does not" in said.out
        assert main(["apply", str(shop.folder), "--yes"]) == output.OK
        said = capsys.readouterr().err
        assert "not applied: run, maintenance" in said and "no model has changed" in said
    finally:
        file.write_text(before)


def test_a_canary_that_differs_is_refused_without_a_terminal(shop, capsys):
    runs(shop, SUM)
    shop.model("by_status", SUM.replace("sum(id)", "7 * sum(id)"))
    assert main(["apply", str(shop.folder), "--yes", "--canary", "1 ms"]) == output.WRONG_DATA
    said = capsys.readouterr().err
    assert "~ status=new, orders=21  (orders was 3)" in said and "cancelled" in said
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert main(["apply", str(shop.folder), "--yes", "--canary", "1 ms", "--tolerance", "100"]) == output.OK
    assert shop.rows("by_status") == [{"status": "new", "orders": 21}]


def test_rollback_brings_the_file_and_the_rows_back(shop, capsys):
    runs(shop, SUM)
    runs(shop, SUM.replace("sum(id)", "9 * sum(id)"))
    assert main(["rollback", "by_status", str(shop.folder), "--yes"]) == output.OK
    assert (shop.folder / "models" / "by_status.sql").read_text() == SUM
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    assert main(["apply", str(shop.folder), "--status", "--json"]) == output.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "done"
    assert main(["apply", str(shop.folder), "--cancel"]) == output.OK
    assert "no change is under way" in capsys.readouterr().err


PROJECT = """
name: notes
sources:
  notes:
    type: files
    files:
      notes: {paths: in/*.csv, format: csv, columns: {id: BIGINT, kind: VARCHAR}}
run: {epoch_interval: 20 ms}
api: {port: 0}
"""


def test_dev_reloads_what_is_edited_and_outlives_a_mistake(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("id,kind\n1,x\n2,y\n3,x\n")
    (tmp_path / "headwater.yml").write_text(PROJECT)
    model = tmp_path / "models" / "kinds.sql"
    model.write_text("/*\nkey: [kind]\n*/\nSELECT kind, count(*) AS n FROM notes GROUP BY kind\n")
    command = [sys.executable, "-m", "headwater.cli.app", "dev", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)
    reader.start()
    try:
        status = tmp_path / ".headwater" / "status.json"
        wait_until(lambda: {t["name"]: t["rows"] for t in json.loads(status.read_text())["tables"]}["kinds"] == 2)
        model.write_text("/*\nkey: [kind]\n*/\nSELECT kind, sum(nothing) AS n FROM notes GROUP BY kind\n")
        wait_until(lambda: any("what ran before goes on" in line for line in lines))
        assert any("kinds.sql:4:" in line for line in lines) and any(
            "edited: models/kinds.sql" in line for line in lines
        )
        model.write_text("/*\nkey: [kind]\n*/\nSELECT kind, 10 * count(*) AS n FROM notes GROUP BY kind\n")
        wait_until(lambda: any(line.startswith("done: epoch") for line in lines), "the swap")
        assert any("~ kind=x, n=20  (n was 2)" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
