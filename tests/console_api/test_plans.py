"""Plan, apply and rollback over the API, on a running project."""

import httpx
import pytest
from scripted_project import PROJECT, Shop, inserts, landed, wait_until

from headwater.console.services import services
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor

COUNT = "/*\nkey: [status]\n*/\nSELECT status, count(*) AS orders FROM orders GROUP BY status"
SUM = COUNT.replace("count(*)", "sum(id)::BIGINT")


class ServedShop(Shop):
    """A shop with a console."""

    def supervisor(self, *, once=False):
        return Supervisor(
            self.project, Journal(self.log, as_json=True), once=once, sources={"shop": self.source}, extend=services
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running shop and a client of its API."""
    shop = ServedShop(tmp_path_factory.mktemp("plans") / "project")
    (shop.folder / "headwater.yml").write_text(PROJECT + "api: {port: 0}\n")
    shop.model("by_status", COUNT)
    shop.source.add(inserts(1, 1, 2))
    with shop.running() as running, httpx.Client(base_url=running.api_url, timeout=60, trust_env=False) as http:
        landed(shop, "by_status", 1)
        yield shop, http


def said(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def over(http):
    wait_until(lambda: said(http.get("/v1/apply"))["over"], "the apply is over")
    return said(http.get("/v1/apply"))


def test_a_change_is_planned_applied_and_taken_back(served):
    shop, http = served
    assert said(http.get("/v1/apply"))["state"] == "none"
    assert not said(http.post("/v1/plan", json={}))["can_apply"]
    shop.model("by_status", SUM)
    plan = said(http.post("/v1/plan", json={}))
    assert plan["can_apply"] and plan["versions"] == {"by_status": 1}
    moved = [one for one in plan["items"] if one["consequence"] != "nothing"]
    assert [(one["kind"], one["name"], one["consequence"]) for one in moved] == [
        ("model", "by_status", "rebuild"), ("table", "by_status", "replace"),
    ]  # fmt: skip
    assert [one["name"] for one in plan["needs"][0]["inputs"]] == ["orders"]
    assert "confirm" in said(http.post("/v1/apply", json={}), 422)["detail"]
    assert "changed" in said(http.post("/v1/apply", json={"confirm": True, "digest": "other"}), 409)["detail"]
    identifier = said(http.post("/v1/apply", json={"confirm": True, "digest": plan["digest"]}))["id"]
    status = over(http)
    assert (status["id"], status["state"], list(status["models"])) == (identifier, "done", ["by_status"])
    assert {step["state"] for step in status["steps"]} == {"done"}
    assert shop.rows("by_status") == [{"status": "new", "orders": 3}]
    said(http.post("/v1/rollback", json={"model": "by_status", "confirm": True}))
    assert over(http)["state"] == "done"
    assert shop.rows("by_status") == [{"status": "new", "orders": 2}]
    assert (shop.folder / "models" / "by_status.sql").read_text() == COUNT
    assert "no model" in said(http.post("/v1/rollback", json={"model": "nobody", "confirm": True}), 409)["detail"]


def test_a_mistake_is_shown_with_its_place_and_nothing_can_be_applied(served):
    shop, http = served
    shop.model("by_status", COUNT.replace("count(*)", "sum(nowhere)"))
    plan = said(http.post("/v1/plan", json={}))
    mistake = plan["mistakes"][0]
    assert not plan["can_apply"] and "nowhere" in mistake["message"]
    assert mistake["file"].endswith("by_status.sql") and mistake["line"] == 4 and mistake["column"] > 1
    assert "nowhere" in said(http.post("/v1/apply", json={"confirm": True}), 422)["detail"]
    shop.model("by_status", COUNT)


def test_a_difference_can_be_looked_at_and_refused(served):
    shop, http = served
    shop.model("by_status", SUM)
    said(http.post("/v1/apply", json={"confirm": True, "canary_s": 0}))
    wait_until(lambda: said(http.get("/v1/apply"))["state"] == "differs")
    assert said(http.get("/v1/apply"))["compared"][0]["changed"] == 1
    assert "already" in said(http.post("/v1/apply", json={"confirm": True}), 409)["detail"]
    said(http.post("/v1/apply/cancel", json={}))
    assert over(http)["state"] == "cancelled"
    assert "no such change" in said(http.post("/v1/apply/cancel", json={}), 409)["detail"]
    assert http.get("/v1/plan").status_code == 404  # nothing is planned or changed by a GET
    shop.model("by_status", COUNT)
