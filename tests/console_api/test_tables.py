"""Tables: snapshots, files, rows as of a moment, what changed, maintenance, and how others read them."""

import subprocess
import sys

import pytest
from scripted_project import ORDERS, inserts, order, wait_until

from headwater.change import Op
from headwater.testing.scripted_source import scripted_group


@pytest.fixture(scope="module")
def grown(console):
    """A mirror that has a past: one row came, one changed, one went."""
    console.shop.source.add(inserts(50_000, 50_001, 50_002))
    wait_until(lambda: 50_002 in _ids(console), "the first rows")
    console.before = console.get("/v1/tables/orders")["snapshots"][0]["id"]
    console.shop.source.add(
        scripted_group(
            51_000,
            [
                (ORDERS, Op.INSERT, order(50_003)),
                (ORDERS, Op.UPDATE, order(50_001, "paid")),
                (ORDERS, Op.DELETE, {"id": 50_002}),
            ],
        )
    )
    wait_until(lambda: 50_003 in _ids(console), "the change")
    return console


def _ids(console, **query):
    return {row[0] for row in console.get("/v1/tables/orders/rows", limit=1000, **query)["rows"]}


def test_tables_are_listed_with_what_feeds_them(grown):
    tables = {one["name"]: one for one in grown.get("/v1/tables")["tables"]}
    assert (tables["orders"]["kind"], tables["orders"]["feeds"]) == ("mirror", "stream:orders")
    assert tables["totals"]["feeds"] == "model:totals"


def test_a_table_shows_its_past_and_its_files(grown):
    found = grown.get("/v1/tables/orders")
    newest = found["snapshots"][0]
    assert newest["current"] and newest["id"].isdigit()
    assert next(one["rows"] for one in found["snapshots"] if not one["maintenance"]) == found["rows"]
    assert newest["bytes"] > 0 and newest["epoch"] is not None
    assert found["snapshots_total"] >= len(found["snapshots"]) > 1
    assert sum(one["rows"] for one in found["files_listed"] if one["kind"] == "data") >= found["rows"]
    assert {one["kind"] for one in found["files_listed"]} <= {"data", "deletes"}
    assert found["key"] == ["id"] and found["columns"][0] == {"name": "id", "type": "BIGINT"}


def test_rows_are_read_as_of_a_snapshot(grown):
    then, now = _ids(grown, snapshot=grown.before), _ids(grown)
    assert 50_002 in then and 50_003 not in then
    assert 50_003 in now and 50_002 not in now
    found = grown.get("/v1/tables/orders/rows", limit=1)
    assert len(found["rows"]) == 1 and found["truncated"] and found["note"] == "as of now"


def test_two_snapshots_are_compared(grown):
    found = grown.get("/v1/tables/orders/diff", **{"from": grown.before})
    assert (found["added"], found["removed"], found["updated"]) == (1, 1, 1)
    weights = {(row[0], row[1]) for row in found["rows"]}
    assert weights == {(1, 50_003), (-1, 50_002), (-1, 50_001), (1, 50_001)}
    assert found["columns"][0]["name"] == "_weight"


def test_maintenance_is_asked_for_and_tells_what_it_did(grown):
    asked = grown.post("/v1/tables/orders/maintain", {})
    wait_until(lambda: grown.get(f"/v1/maintenance/{asked['id']}")["state"] != "waiting", "maintenance")
    done = grown.get(f"/v1/maintenance/{asked['id']}")
    assert done["state"] == "done" and all(run["done"] or run["note"] for run in done["runs"])
    assert grown.get("/v1/tables/orders")["maintenance"][: len(done["runs"])] is not None


def test_a_snippet_runs_as_it_stands(grown):
    snippet = grown.get("/v1/tables/orders")["snippets"]["pyiceberg"]
    code = snippet.replace("StaticTable.from_metadata", "print(StaticTable.from_metadata", 1) + ".num_rows)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 0


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("none", {}, 404), ("none/rows", {}, 404), ("orders/rows", {"at": "never"}, 400), ("orders/diff", {}, 422),
     ("orders/rows", {"snapshot": "1"}, 400), ("orders/rows", {"snapshot": "1", "at": "yesterday"}, 422),
     ("orders/rows", {"limit": 0}, 422), ("..%2f..%2fsecret/rows", {}, 404)],
)  # fmt: skip
def test_what_is_not_there_is_said(grown, path, query, status):
    answer = grown.http.get(f"/v1/tables/{path}", params=query)
    assert answer.status_code == status, answer.text
    assert grown.http.get("/v1/maintenance/..%2f..%2fx").status_code == 404
