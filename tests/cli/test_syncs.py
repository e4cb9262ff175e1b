"""`headwater syncs`, `_deliveries` and the dry run, over a project whose destination is a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from scripted_project import Shop, inserts

from headwater.serve.query import query
from headwater.testing.postgres import PostgresServer

SYNC = """
syncs:
  crm: {{type: postgres, model: scores, url: "{url}", table: scores, create: true}}
"""


def test_a_sync_is_looked_at_and_acted_on(server: PostgresServer, tmp_path: Path, run) -> None:
    shop = Shop(tmp_path)
    shop.model("scores", "/* key: id */ SELECT id, status FROM orders")
    with open(tmp_path / "headwater.yml", "a", encoding="utf-8") as file:
        file.write(SYNC.format(url=server.url()))
    connection = psycopg.connect(server.url(), autocommit=True)
    connection.execute(
        "CREATE TABLE scores (id bigint PRIMARY KEY, status text CONSTRAINT good CHECK (status <> 'bad'))"
    )
    assert run("syncs", "ls", tmp_path).out.split()[-7:] == ["0"] * 7
    shop.source.add(inserts(1, 1, 2), inserts(2, 3, status="bad"))
    shop.run_once()
    told = json.loads(run("syncs", "ls", tmp_path, "--json").out)["syncs"][0]
    assert (told["handed"], told["delivered"], told["parked"], told["state"]) == (3, 2, 1, "not running")
    shown = json.loads(run("syncs", "show", "crm", tmp_path, "--json").out)["waiting"]
    assert [(one["seq"], one["state"], one["key"]) for one in shown] == [(2, "parked", '["3"]')]
    assert "good" in shown[0]["reason"] and "sync crm: " in run("status", tmp_path).out
    found = query(shop.project, "SELECT key, state, op FROM _deliveries ORDER BY seq").to_pylist()
    assert [tuple(one.values()) for one in found] == [
        ('["1"]', "delivered", "upsert"), ('["2"]', "delivered", "upsert"), ('["3"]', "parked", "upsert"),
    ]  # fmt: skip
    connection.execute("ALTER TABLE scores DROP CONSTRAINT good")
    assert run("syncs", "retry", "crm", "7", "--folder", tmp_path).code == 1
    assert run("syncs", "retry", "crm", "2", "--folder", tmp_path).code == 0
    run("syncs", "pause", "crm", tmp_path)
    shop.source.add(inserts(3, 4))
    shop.run_once()
    assert connection.execute("SELECT count(*) FROM scores").fetchone() == (2,)
    assert run("syncs", "dry-run", "crm", tmp_path).out == 'upsert into public.scores: {"id": 4, "status": "new"}\n'
    run("syncs", "resume", "crm", tmp_path)
    shop.run_once()
    assert connection.execute("SELECT id FROM scores ORDER BY id").fetchall() == [(1,), (2,), (3,), (4,)]
    connection.execute("TRUNCATE scores")
    run("syncs", "resync", "crm", tmp_path)
    shop.run_once()
    assert connection.execute("SELECT count(*) FROM scores").fetchone() == (4,)
    assert "did you mean 'crm'" in run("syncs", "show", "crn", tmp_path).err
    assert "crm: keeps the table public.scores equal to the model scores" in run("check", tmp_path).err
    connection.execute("ALTER TABLE scores DROP CONSTRAINT scores_pkey")
    refused = run("check", tmp_path)
    assert refused.code == 3 and "headwater.yml:" in refused.err and "no primary key" in refused.err
    connection.close()
