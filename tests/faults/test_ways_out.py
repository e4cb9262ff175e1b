"""A source that has lost its position, as a user meets it: the error, `headwater source`, and both ways out."""

import json

from running_project import wait_until

SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"


def drop_slot(bank):
    (slot,) = bank.connection.execute(SLOTS).fetchone()
    bank.connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def lose_position(bank):
    """A project that is stopped, whose slot is dropped, and changes since."""
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    drop_slot(bank)
    bank.transfer(3)


def sources(bank):
    done = bank.headwater("source", "ls", str(bank.folder), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["sources"]


def test_a_snapshot_decided_while_stopped(bank):
    lose_position(bank)
    failed = bank.headwater("run", str(bank.folder))
    assert failed.returncode == 4
    assert "headwater source resnapshot bank" in failed.stderr and "headwater source accept-gap bank" in failed.stderr
    assert sources(bank)[0]["cause"] == "slot_missing"
    asked = bank.headwater("source", "resnapshot", "bank", str(bank.folder))
    assert asked.returncode == 0 and "next `headwater run`" in asked.stderr, asked.stderr
    assert sources(bank)[0]["decision"] == "resnapshot"
    bank.start()
    bank.wait_caught_up()
    assert bank.events("source.decided") and sources(bank)[0]["decision"] is None
    bank.transfer(3)
    bank.wait_caught_up()
    assert bank.stop() == 0


def test_a_gap_accepted_is_in_the_ledger_until_a_snapshot_closes_it(bank):
    lose_position(bank)
    unanswered = bank.headwater("source", "accept-gap", "bank", str(bank.folder))
    assert unanswered.returncode == 1 and "--yes" in unanswered.stderr
    assert "slot_missing" in unanswered.stderr and "of the source's log" in unanswered.stderr
    assert not sources(bank)[0]["decision"]
    asked = bank.headwater("source", "accept-gap", "bank", str(bank.folder), "--yes", "--because", "a drill")
    assert asked.returncode == 0, asked.stderr
    bank.start()
    wait_until(lambda: sources(bank)[0]["gaps"] == 1, "the gap is in the ledger")
    listed = bank.headwater("rejects", "ls", str(bank.folder))
    assert "gap" in listed.stdout and "slot_missing" in listed.stdout
    shown = bank.headwater("rejects", "show", listed.stdout.split("\n")[1].split()[0], str(bank.folder))
    assert "a drill" in shown.stdout
    assert "0 of 1" in bank.headwater("rejects", "replay", "1", "--folder", str(bank.folder)).stderr
    assert "1 accepted gap" in bank.headwater("status", str(bank.folder)).stdout
    bank.connection.execute("INSERT INTO accounts VALUES (1000, 1, 10)")
    wait_until(lambda: any(row["id"] == 1000 for row in bank.rows("accounts")), "changes go on behind the gap")
    assert not bank.caught_up(), "the transfers in the gap are missing, as was accepted"
    assert bank.headwater("source", "resnapshot", "bank", str(bank.folder)).returncode == 0
    bank.wait_caught_up()
    wait_until(lambda: sources(bank)[0]["gaps"] == 0, "the snapshot has closed the gap")
    assert bank.stop() == 0


def test_nothing_to_accept_and_unknown_sources(bank):
    nothing = bank.headwater("source", "accept-gap", "bank", str(bank.folder))
    assert nothing.returncode == 1 and "nothing of bank has been captured yet" in nothing.stderr
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    unhurt = bank.headwater("source", "accept-gap", "bank", str(bank.folder))
    assert unhurt.returncode == 0 and "nothing of bank is lost" in unhurt.stderr
    unknown = bank.headwater("source", "resnapshot", "bnak", str(bank.folder))
    assert unknown.returncode == 1 and "its sources: bank" in unknown.stderr
