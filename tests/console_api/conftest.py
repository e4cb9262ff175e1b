"""One running project for all tests of the console's API: a scripted source, models, a reject, a secret or two."""

import json
import threading
from functools import cached_property

import httpx
import jsonschema
import pyarrow as pa
import pytest
from scripted_project import ORDERS, Shop, inserts, order, wait_until

from headwater.change import REJECT_SCHEMA, Op
from headwater.console.services import services
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.testing.scripted_source import scripted_group

TOKEN = "canary-of-the-server-1"
PASSWORD = "canary-of-the-source-2"

PROJECT = f"""
name: shop
sources:
  shop:
    type: postgres
    url: postgresql://reader:{PASSWORD}@nowhere/shop
    streams:
      events:
        watermark: {{column: happened, delay: 1 seconds}}
run: {{epoch_interval: 20 ms, checkpoint_interval: 200 ms, log_segment: 64 KiB}}
api: {{port: 0, token: {TOKEN}}}
"""


class Console:
    """A running project and a client of its server."""

    def __init__(self, shop, supervisor):
        self.shop, self.supervisor = shop, supervisor
        self.url = supervisor.api_url
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
        )

    @cached_property
    def contract(self):
        """The OpenAPI document that it serves."""
        return self.http.get("/v1/openapi.json").json()

    def get(self, path, **query):
        """An answer that must be there, and is as the document says."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        self.check("get", path, answer)
        return answer.json()

    def post(self, path, body, status=200):
        """What is answered to a request that changes something."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        self.check("post", path, answer)
        return answer.json()

    def check(self, method, path, answer):
        """Holds an answer against the document."""
        template = template_of(path, self.contract["paths"], method)
        told = self.contract["paths"][template][method]["responses"]
        media = answer.headers["content-type"].partition(";")[0]
        content = told.get(str(answer.status_code), told["default"])["content"]
        schema = {**content[media]["schema"], "components": self.contract["components"]}
        jsonschema.validate(answer.json(), schema, cls=jsonschema.Draft202012Validator)

    def events(self, wanted, **query):
        """Events of /v1/events until one satisfies `wanted(kind, data)`; that one."""
        return self.follow("/v1/events", wanted, **query)

    def follow(self, path, wanted, **query):
        """Events of a stream until one is wanted."""
        with self.http.stream("GET", path, params=query) as answer:
            assert answer.status_code == 200
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    if wanted(kind, data):
                        return data
        raise AssertionError("the stream ended before what was wanted")


def template_of(path, templates, method):
    """The path of the document that a path is one of; literal parts go before parameters."""
    parts = path.strip("/").split("/")
    fits = [
        one for one in templates
        if method in templates[one] and len(one.strip("/").split("/")) == len(parts)
        and all(a == b or a.startswith("{") for a, b in zip(one.strip("/").split("/"), parts, strict=True))
    ]  # fmt: skip
    return min(fits, key=lambda one: one.count("{"))


def bad_rows(position, *keys):
    """Rejects of the stream orders, as a source gives them."""
    rows = [
        {"stream": "orders", "stage": "decode", "reason": "type", "message": f"amount of {key} is no number",
         "position": str(position), "key": str(key), "record": b"raw \xff bytes of " + str(key).encode(), "weight": 1}
        for key in keys
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=REJECT_SCHEMA)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """The tests of a module share a running project, so they are for one worker."""
    for item in items:
        if "tests/console_api/" in item.path.as_posix():
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("console") / "project")
    (shop.folder / "headwater.yml").write_text(PROJECT)
    shop.model("totals", "SELECT status, count(*) AS n, sum(amount::BIGINT) AS total FROM orders GROUP BY status")
    shop.model("big", "SELECT id, amount::DECIMAL(18,2) AS amount FROM orders WHERE length(amount) > 1")
    shop.source.add(
        inserts(1, 1, 2, 3),
        scripted_group(2, [(ORDERS, Op.INSERT, order(4, "paid", "250"))], rejects=bad_rows(2, 90, 91), time_us=2),
    )
    journal = Journal(shop.log, as_json=True)
    supervisor = Supervisor(shop.project, journal, sources={"shop": shop.source}, extend=services)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    made = Console(shop, supervisor)
    try:
        wait_until(lambda: made.get("/v1/overview")["rejects"]["open"] == 2, "two rejects in the overview")
        yield made
    finally:
        made.http.close()
        supervisor.stop()
        thread.join(60)
        assert not thread.is_alive()
