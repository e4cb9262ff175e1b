"""`headwater snapshot`, as a user types it: beside a project that runs, and for one that is stopped."""

import json

import pytest
from running_project import wait_until


def settle(bank, *settings):
    """Adds settings to the source."""
    file = bank.folder / "headwater.yml"
    file.write_text(file.read_text().replace("type: postgres", "\n    ".join(["type: postgres", *settings])))


def snapshots(bank):
    """What `--status` tells, by table."""
    done = bank.headwater("snapshot", "--status", "--json", "--folder", str(bank.folder))
    assert done.returncode == 0, done.stderr
    return {entry["table"]: entry for entry in json.loads(done.stdout)["snapshots"]}


def ask(bank, *arguments):
    return bank.headwater("snapshot", *arguments, "--folder", str(bank.folder))


def state(bank, table="public.accounts"):
    return snapshots(bank).get(table, {}).get("state")


def test_tables_that_began_empty_are_filled_by_a_running_project(bank):
    settle(bank, "snapshot: schema_only")
    bank.start()
    wait_until(lambda: bank.status()["sources"][0]["state"] == "running", "it runs")
    bank.transfer(3)
    wait_until(lambda: len(bank.rows("transfers")) == 3, "changes are followed")
    assert len(bank.rows("accounts")) < 10
    some = ask(bank, "bank.accounts", "--where", "id > 90")
    assert some.returncode == 0 and "asked for" in some.stderr, some.stderr
    wait_until(lambda: {row["id"] for row in bank.rows("accounts")} >= set(range(91, 101)), "a part is there")
    assert len(bank.rows("accounts")) < 20 and snapshots(bank)["public.accounts"]["rows"] == 10
    whole = ask(bank, "accounts", "bank.public.transfers")
    assert whole.returncode == 0, whole.stderr
    bank.transfer(5)
    bank.wait_caught_up()
    wait_until(lambda: state(bank) == state(bank, "public.transfers") == "done", "both are through")
    assert not bank.events("stream.changed"), "no column is another one"
    assert len(bank.events("source.request_taken")) == 2
    told = ask(bank, "--status").stdout
    assert "public.accounts" in told and "done" in told
    assert bank.stop() == 0


def test_pause_resume_and_stop(bank):
    bank.open_accounts(101, 20_000)
    settle(bank, "snapshot_chunk_rows: 10")
    bank.start()
    bank.wait_caught_up()
    assert ask(bank, "bank.accounts").returncode == 0
    wait_until(lambda: snapshots(bank)["public.accounts"]["rows"] > 0, "it has begun")
    assert ask(bank, "bank", "--pause").returncode == 0
    wait_until(lambda: state(bank) == "paused", "it is paused")
    rows = snapshots(bank)["public.accounts"]["rows"]
    bank.transfer(5)
    bank.wait_caught_up()
    assert (state(bank), snapshots(bank)["public.accounts"]["rows"]) == ("paused", rows) and 0 < rows < 20_000
    again = ask(bank, "--pause")
    assert again.returncode == 1 and "no snapshot" in again.stderr
    assert ask(bank, "--resume").returncode == 0
    wait_until(lambda: snapshots(bank)["public.accounts"]["rows"] > rows, "it goes on where it was")
    assert ask(bank, "--pause").returncode == 0
    wait_until(lambda: state(bank) == "paused", "it is paused again")
    assert ask(bank, "--stop").returncode == 0
    wait_until(lambda: state(bank) == "stopped", "it is given up")
    bank.transfer(5)
    bank.wait_caught_up()
    assert bank.stop() == 0


def test_what_is_asked_of_a_stopped_project_is_done_when_it_runs_next(bank):
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    asked = ask(bank, "bank.*")
    assert asked.returncode == 0 and "when the project runs next" in asked.stderr
    assert snapshots(bank)["*"]["state"] == "snapshot asked for"
    bank.start()
    bank.wait_caught_up()
    wait_until(lambda: state(bank) == state(bank, "public.transfers") == "done", "both are through")
    assert bank.stop() == 0
    assert bank.caught_up()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pause", "--stop"], "exclude one another"),
        (["bank.accounts", "--pause", "--where", "id = 1"], "exclude one another"),
        (["bank"], "headwater snapshot 'bank.*' reads all of them"),
    ],
)
def test_what_makes_no_sense_is_said(bank, arguments, said):
    done = ask(bank, *arguments)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_is_not_captured_and_a_wrong_condition_are_refused_by_the_running_project(bank):
    bank.start()
    bank.wait_caught_up()
    unknown = ask(bank, "bank.acounts")
    assert unknown.returncode == 1 and "no captured table is called 'public.acounts'" in unknown.stderr
    assert bank.events("source.request_refused")
    assert ask(bank, "bank.accounts", "--where", "balnce > 1").returncode == 0
    wait_until(lambda: "balnce" in snapshots(bank)["public.accounts"]["message"], "the mistake is told")
    assert state(bank) == "stopped"
    bank.transfer(3)
    bank.wait_caught_up()
    assert bank.stop() == 0
