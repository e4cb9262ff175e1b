"""OpenLineage's events, received by a real HTTP server: what they say, and that nothing hangs on who receives them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from scripted_project import PROJECT, Shop, inserts, wait_until

from headwater.console.services import services
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor

TOKEN = "canary-of-the-lineage-service"


class Receiver(ThreadingHTTPServer):
    """Takes events, or refuses them."""

    daemon_threads = True

    def __init__(self):
        received = self.received = []
        self.refuses = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                received.append((self.path, self.headers.get("authorization"), body))
                self.send_response(500 if server.refuses else 201)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def events(self, job, kind):
        """Events of a job and kind."""
        return [e for _, _, e in list(self.received) if e["job"]["name"] == f"shop.{job}" and e["eventType"] == kind]


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(60)
    server.server_close()


@pytest.fixture
def run(tmp_path):
    """Runs a shop that tells the service at a URL; gives the shop and what stops it."""
    ending = []

    def begin(url):
        shop = Shop(tmp_path / "shop")
        told = f"lineage: {{url: '{url}', token: {TOKEN}, interval: 300 ms}}\napi: {{port: 0}}\n"
        (shop.folder / "headwater.yml").write_text(PROJECT + told)
        shop.model("paid", "SELECT id, amount::BIGINT AS amount FROM orders WHERE status = 'paid'")
        shop.model("total", "SELECT sum(amount) AS total FROM paid")
        shop.source.add(inserts(1, 1, 2, status="paid"))
        supervisor = Supervisor(
            shop.project, Journal(shop.log, as_json=True), sources={"shop": shop.source}, extend=services
        )
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        ending.append((supervisor, thread))

        def end():
            supervisor.stop()
            thread.join(60)
            assert not thread.is_alive()

        return shop, end

    yield begin
    for supervisor, thread in ending:
        supervisor.stop()
        thread.join(60)


def facets_are_whole(event):
    """Every facet says who made it and by what schema, as the specification asks."""
    owners = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    for owner in owners:
        for kind in ("facets", "inputFacets", "outputFacets"):
            for facet in (owner.get(kind) or {}).values():
                assert facet["_producer"] and facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
    assert event["schemaURL"].startswith("https://openlineage.io/spec/")
    assert event["producer"] and event["eventTime"].endswith("+00:00")


def test_what_is_told(receiver, run):
    _, end = run(receiver.url)
    wait_until(lambda: rows_of(receiver.events("total", "RUNNING")) == 1, "the model's rows")
    end()
    assert {(path, shown) for path, shown, _ in receiver.received} == {("/api/v1/lineage", f"Bearer {TOKEN}")}
    for event in [event for _, _, event in receiver.received]:
        facets_are_whole(event)
    told = receiver.events("paid", "RUNNING")[-1]
    job = told["job"]["facets"]
    assert job["jobType"]["processingType"] == "STREAMING"
    assert job["jobType"]["emissionPattern"]["eventTrigger"] == "PERIODIC"
    assert job["sql"]["query"].startswith("SELECT id")
    assert [one["name"] for one in told["inputs"]] == ["shop.orders"]
    (output,) = told["outputs"]
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["id", "amount"]
    lineage = output["facets"]["columnLineage"]
    assert lineage["fields"]["amount"]["inputFields"] == [
        {"namespace": "headwater", "name": "shop.orders", "field": "amount",
         "transformations": [{"type": "DIRECT", "subtype": "TRANSFORMATION", "description": "", "masking": False}]}
    ]  # fmt: skip
    assert [(one["field"], one["transformations"][0]["subtype"]) for one in lineage["dataset"]] == [
        ("status", "FILTER")
    ]
    kinds = ("START", "RUNNING", "COMPLETE")
    assert len({event["run"]["runId"] for kind in kinds for event in receiver.events("paid", kind)}) == 1
    source = receiver.events("shop", "COMPLETE")[0]
    assert [(one["namespace"], one["name"]) for one in source["inputs"]] == [
        ("postgres://nowhere:5432", "shop.public.orders"), ("postgres://nowhere:5432", "shop.public.events")
    ]  # fmt: skip
    streams = {one["name"] for one in source["outputs"]}
    assert streams == {"shop.orders", "shop.events"}


def rows_of(events):
    """What the last of these events says of the output's rows."""
    return events[-1]["outputs"][0]["outputFacets"]["outputStatistics"].get("rowCount") if events else None


def test_a_service_that_fails_costs_a_warning(receiver, run):
    receiver.refuses = True
    shop, end = run(receiver.url)
    wait_until(lambda: shop.events("lineage.untold"), "a warning")
    wait_until(lambda: shop.account("total")["rows"] == 1, "the model's rows")
    end()
    assert TOKEN not in shop.log.getvalue()


def test_a_service_that_is_not_there_costs_a_warning(run):
    shop, end = run("http://127.0.0.1:1")
    wait_until(lambda: shop.events("lineage.untold"), "a warning")
    wait_until(lambda: shop.account("total")["rows"] == 1, "the model's rows")
    end()
