"""The API is what its document says, and says no secret."""

import json

import pytest
from scripted_project import wait_until

from headwater.errors import SourceUnavailable

QUERIES = {"/v1/streams/{name}/records": {"from": "latest"}}
NOT_JSON = ("/v1/events", "/v1/streams/{name}/tail", "/v1/streams/{name}/fixture")


TOKEN, PASSWORD = "canary-of-the-server-1", "canary-of-the-source-2"


def paths_of(console):
    """Every path that can be asked for, with names that are there."""
    oldest = {name: console.get(f"/v1/tables/{name}")["snapshots"][-1]["id"] for name in ("orders", "totals")}
    reject = console.get("/v1/rejects")["rejects"][0]["id"]
    run = console.post("/v1/tables/orders/maintain", {})["id"]
    names = {"tables": ["orders", "totals"], "streams": ["orders"], "models": ["totals"]}
    for template, methods in console.contract["paths"].items():
        if "get" not in methods or template in NOT_JSON:
            continue
        query = QUERIES.get(template, {})
        if template == "/v1/graph/{kind}/{name}":
            for node in console.get("/v1/graph")["nodes"]:
                yield template, f"/v1/graph/{node['kind']}/{node['name']}", {}
        elif "{name}" in template:
            for name in names[template.split("/")[2]]:
                between = {"from": oldest[name]} if template.endswith("/diff") else query
                yield template, template.replace("{name}", name), between
        else:
            path = template.replace("{id}", str(run if "maintenance" in template else reject))
            assert "{" not in path, f"{template}: say here what to ask for"
            yield template, path, query


def test_every_answer_is_as_the_document_says(console):
    asked = set()
    for template, path, query in paths_of(console):
        console.get(path, **query)
        asked.add(template)
    wanted = {path for path, methods in console.contract["paths"].items() if "get" in methods}
    assert asked == wanted - set(NOT_JSON)


def test_refusals_are_as_the_document_says(console):
    for path in ("/v1/tables/none", "/v1/rejects/999999", "/v1/streams/none/records"):
        answer = console.http.get(path)
        assert answer.status_code == 404
        console.check("get", path, answer)


def test_the_document_is_openapi(console):
    document = console.contract
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"], reference
    operations = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(operations) == len(set(operations))
    assert all(one["summary"] for methods in document["paths"].values() for one in methods.values())


def test_a_node_shows_what_it_is_made_of(console):
    model = console.get("/v1/graph/model/totals")
    assert {one["name"] for one in model["columns"]} == {"status", "n", "total"}
    assert model["operators"] and model["sql"].startswith("SELECT")
    total = next(one for one in model["lineage"] if one["column"] == "total")
    assert ("stream:orders", "amount") in [(one["node"], one["column"]) for one in total["from"]]
    assert model["upstream"] == ["stream:orders"] and "table:totals" in model["downstream"]
    assert model["sample"]["rows"]
    stream = console.get("/v1/graph/stream/orders")
    assert stream["sample"]["columns"][0]["name"] == "_op" and stream["key"] == ["id"]
    assert console.http.get("/v1/graph/model/none").status_code == 404


def test_a_source_that_waits_is_a_problem_with_its_hint(console):
    told = f"cannot reach postgresql://reader:{PASSWORD}@nowhere/shop"
    console.shop.source.add(*(SourceUnavailable(told, hint="start the server") for _ in range(3)))
    found = []

    def shown():
        overview = console.get("/v1/overview")
        assert PASSWORD not in json.dumps(overview)
        found[:] = [one for one in overview["problems"] if one["kind"] == "source"]
        return bool(found)

    wait_until(shown, "the problem")
    assert found[0]["mend"] == "start the server" and "***" in found[0]["what"] and found[0]["page"] == "/capture"


def test_no_answer_holds_a_secret(console):
    answers = [console.http.get(path, params=query).text for _, path, query in paths_of(console)]
    answers += [json.dumps(console.contract), console.http.get("/").text, console.shop.log.getvalue()]
    answers += [console.http.get("/v1/streams/orders/fixture").text]
    for secret in (TOKEN, PASSWORD):
        assert not [answer[:200] for answer in answers if secret in answer]


@pytest.mark.parametrize("path", ["/v1/overview", "/v1/openapi.json", "/v1/rejects", "/v1/graph", "/v1/events"])
def test_nothing_is_told_without_the_token(console, path):
    headers = {"Authorization": ""}
    assert console.http.get(path, headers=headers).status_code == 401
