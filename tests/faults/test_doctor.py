"""`headwater doctor` against a real server: well, ill in many ways, and out of reach."""

import json
import socket

import pytest
from running_project import Bank

from headwater.testing.postgres import PostgresServer


def findings(bank, *arguments, code=0, **options):
    """What it found, by check; the levels that are not ok have a mend."""
    done = bank.headwater("doctor", str(bank.folder), "--json", *arguments, **options)
    assert done.returncode == code, done.stderr + done.stdout
    found = {entry["check"]: entry for entry in json.loads(done.stdout)["findings"]}
    for entry in found.values():
        assert (entry["level"] == "ok") == (not entry["mend"]), entry
    return found


def levels(found):
    return {name: entry["level"] for name, entry in found.items() if entry["level"] != "ok"}


def test_before_while_and_after_running(bank):
    before = findings(bank)
    assert "position" not in before and before["capture"]["level"] == "ok"
    assert "REPLICA IDENTITY FULL" in before["tables"]["mend"] and "transfers" in before["tables"]["message"]
    bank.start()
    bank.wait_caught_up()
    assert "is being read" in findings(bank)["position"]["message"]
    assert bank.stop() == 0
    after = findings(bank)
    assert "holds all" in after["position"]["message"] and after["log kept"]["level"] == "ok"
    told = bank.headwater("doctor", str(bank.folder))
    assert told.returncode == 0 and "source bank" in told.stdout and "this machine" in told.stdout


def test_a_lost_position_and_an_ill_server(bank):
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    bank.connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    bank.connection.execute("SELECT pg_create_logical_replication_slot('headwater_old', 'pgoutput')")
    bank.connection.execute("CREATE UNLOGGED TABLE fast (id int)")
    try:
        found = findings(bank, code=1)
    finally:
        bank.connection.execute("SELECT pg_drop_replication_slot('headwater_old')")
    wrong = levels(found)
    assert wrong["position"] == "fail" and "resnapshot bank" in found["position"]["mend"]
    assert wrong["capture"] == "fail" and "SET LOGGED" in found["capture"]["mend"]
    assert wrong["other slots"] == "warn" and "headwater_old" in found["other slots"]["mend"]
    assert wrong["role"] == "warn" and wrong["max_slot_wal_keep_size"] == "warn"


def test_a_server_that_is_away_and_a_wrong_password(bank):
    away = findings(bank, code=4, url="postgresql://nobody:s3cr3t@127.0.0.1:1/shop")
    assert away["connection"]["level"] == "fail" and "s3cr3t" not in json.dumps(away)
    assert findings(bank, "--source", "bank", code=4, url="postgresql://nobody@127.0.0.1:1/shop").keys() == {
        "connection"
    }


def test_a_role_with_no_more_than_it_needs(bank):
    run = bank.connection.execute
    run("CREATE ROLE least LOGIN REPLICATION")
    run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO least")
    run("CREATE PUBLICATION headwater_bank_bank FOR TABLE accounts, transfers WITH (publish_via_partition_root = true)")
    try:
        found = findings(bank, url=bank.url.replace("postgres@", "least@"))
        assert found["role"]["level"] == "ok" and found["capture"]["level"] == "ok"
    finally:
        run("DROP OWNED BY least")
        run("DROP ROLE least")


@pytest.fixture(scope="module")
def poor():
    with PostgresServer(
        settings={"wal_level": "replica", "wal_sender_timeout": "0", "max_replication_slots": "1"}
    ) as it:
        yield it


def test_a_server_that_is_not_made_for_it(poor, tmp_path):
    bank = Bank(poor.url(), tmp_path / "bank")
    found = findings(bank, code=1)
    assert levels(found).keys() >= {"wal_level", "wal_sender_timeout", "max_replication_slots", "capture"}
    assert "ALTER SYSTEM SET wal_level" in found["wal_level"]["mend"]
    bank.close()


SILENT = """
  away_topics: {{type: kafka, servers: "127.0.0.1:{port}", topics: {{orders: {{}}}}}}
  away_queues: {{type: rabbitmq, url: "amqp://127.0.0.1:{port}", queues: {{orders: {{}}}}}}
syncs:
  keys: {{model: balances, type: redis, url: "redis://127.0.0.1:{port}"}}
  calls: {{model: balances, type: http, url: "http://127.0.0.1:{port}/", allow_private: true}}
  copy: {{model: balances, type: postgres, url: "${{BANK_URL}}", table: copied, create: true}}
lake:
  warehouse: s3://bank/lake
  s3: {{endpoint: "http://127.0.0.1:{port}", region: here, access_key_id: a, secret_access_key: b}}
"""


def test_hosts_that_say_nothing_are_told_and_waited_for_once(bank):
    bank.start()
    bank.wait_caught_up()
    assert bank.stop() == 0
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        settings = bank.folder / "headwater.yml"
        more = SILENT.format(port=silent.getsockname()[1])
        settings.write_text(settings.read_text().replace("run:", more + "run:"))
        done = bank.headwater("doctor", str(bank.folder), "--json", "--timeout", "25")
    assert done.returncode == 4, done.stderr
    found = {}
    for entry in json.loads(done.stdout)["findings"]:
        found.setdefault(entry["of"], {})[entry["check"]] = entry
    away = {of for of, one in found.items() if any(entry["level"] == "fail" for entry in one.values())}
    assert away == {"source away_topics", "source away_queues", "sync keys", "sync calls", "lake"}
    assert {one["level"] for one in found["sync copy"].values()} == {"ok"} and "rights" in found["sync copy"]
    assert found["source bank"]["capture"]["level"] == "ok" and found["this machine"]["open files"]["level"] == "ok"
