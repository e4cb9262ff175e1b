"""`headwater source accept-change`, as a user meets it: the source stops at a change, the decision leads on, once."""

import json

from running_project import wait_until


def set_policy(bank, policy):
    file = bank.folder / "headwater.yml"
    file.write_text(file.read_text().replace("type: postgres", f"type: postgres\n    on_schema_change: {policy}"))


def accept(bank, *arguments):
    return bank.headwater("source", "accept-change", *arguments, str(bank.folder))


def decision(bank):
    done = bank.headwater("source", "ls", str(bank.folder), "--json")
    return json.loads(done.stdout)["sources"][0]["decision"]


def test_a_change_that_stops_the_source_is_accepted_once(bank):
    set_policy(bank, "stop")
    bank.start()
    bank.wait_caught_up()
    bank.connection.execute("ALTER TABLE accounts ADD COLUMN note text DEFAULT 'none'")
    bank.connection.execute("INSERT INTO accounts VALUES (200, 1, 10, 'new')")
    assert bank.wait() == 4
    assert "accept-change" in bank.log() and "public.accounts" in bank.log()
    assert bank.headwater("run", str(bank.folder)).returncode == 4, "nothing has been decided"
    asked = accept(bank, "bank", "public.accounts", "--because", "a column more")
    assert asked.returncode == 0 and "the next `headwater run` does it" in asked.stderr, asked.stderr
    assert decision(bank) == "accept_change"
    bank.start()
    bank.wait_caught_up()
    notes = {row["id"]: row["note"] for row in bank.rows("accounts")}
    assert notes[1] == "none" and notes[200] == "new"
    wait_until(lambda: bank.events("source.decided"), "the decision is carried out")
    assert decision(bank) is None
    assert bank.headwater("snapshot", "bank.accounts", "--folder", str(bank.folder)).returncode == 0
    wait_until(
        lambda: [one["state"] for one in bank.status()["sources"][0]["snapshots"]] == ["done"], "it is read anew"
    )
    bank.wait_caught_up()
    told = [event["columns"] for event in bank.events("stream.changed")]
    assert told == ["id, branch, balance, note"], "what is read anew has the columns that it had"
    bank.connection.execute("ALTER TABLE accounts ALTER note TYPE varchar(9)")
    bank.connection.execute("INSERT INTO accounts VALUES (201, 1, 10, 'newer')")
    assert bank.wait() == 4, "the next change is another decision"


def test_a_running_project_carries_it_out_and_other_tables_are_not_meant(bank):
    set_policy(bank, "stop")
    bank.connection.execute("ALTER TABLE transfers ADD COLUMN id int")
    bank.start()
    bank.wait_caught_up()
    assert accept(bank, "bank", "public.transfers").returncode == 0
    wait_until(lambda: decision(bank) is None, "it is carried out")
    bank.connection.execute("ALTER TABLE transfers ADD COLUMN note text")
    bank.transfer(2)
    bank.wait_caught_up()
    assert bank.process.poll() is None
    bank.connection.execute("ALTER TABLE accounts ADD COLUMN note text")
    bank.transfer(1)
    assert bank.wait() == 4


def test_unknown_sources_are_named(bank):
    done = accept(bank, "bnak", "public.accounts")
    assert done.returncode == 1 and "its sources: bank" in done.stderr
