"""Streams: listed, sought by offset and time, filtered, followed, and copied as a test's rows."""

import json
import threading

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from ruamel.yaml import YAML
from scripted_project import EVENTS, ORDERS, inserts, order, wait_until

from headwater.change import Op
from headwater.cli.test import _run
from headwater.schema import StreamSchema
from headwater.testing.scripted_source import scripted_group


@pytest.fixture(scope="module")
def later(console):
    """Changes of known times."""
    console.shop.source.add(
        inserts(1_000, 1001, 1002, status="late"),
        scripted_group(2_000, [(ORDERS, Op.UPDATE, order(1001, "later", "77"))], time_us=2_000),
        scripted_group(3_000, [(ORDERS, Op.DELETE, {"id": 1002})], time_us=3_000),
    )
    wait_until(lambda: [r for r in records(console, **{"from": "latest", "limit": 1}) if r["op"] == "delete"], "them")
    return console


def records(console, **query):
    """Records of orders."""
    return console.get("/v1/streams/orders/records", **query)["records"]


def test_streams_are_listed_with_what_the_log_keeps(later):
    orders = next(one for one in later.get("/v1/streams")["streams"] if one["name"] == "orders")
    assert (orders["source"], orders["key"], orders["changelog"]) == ("shop", ["id"], "upsert")
    assert [(c["name"], c["type"]) for c in orders["columns"]][:2] == [("id", "BIGINT"), ("status", "VARCHAR")]
    assert orders["base"] == 0 and orders["head"] >= orders["changes"] > 0 and orders["timed"]


def test_the_log_is_paged_forward_and_back_without_a_gap(later):
    every = [record["offset"] for record in records(later, **{"from": "earliest", "limit": 1000})]
    paged, at = [], 0
    while True:
        page = later.get("/v1/streams/orders/records", offset=at, limit=2)
        paged += [record["offset"] for record in page["records"]]
        at = page["next_offset"]
        if page["done"]:
            break
    assert paged == every
    back, at = [], page["head"]
    while True:
        page = later.get("/v1/streams/orders/records", offset=at, limit=3, reverse=True)
        back += [record["offset"] for record in page["records"]]
        at = page["next_offset"]
        if page["done"]:
            break
    assert back == every[::-1]


def test_a_record_says_what_happened_where_and_when(later):
    newest = records(later, **{"from": "latest", "limit": 2})
    assert [(one["op"], one["position"], one["at_us"]) for one in newest] == [
        ("delete", "3000:0", 3000), ("update", "2000:0", 2000),
    ]  # fmt: skip
    assert newest[1]["row"] == [1001, "later", "77"]


def test_a_time_is_sought(later):
    assert [one["position"] for one in records(later, at_us=2_000)] == ["2000:0", "3000:0"]
    assert [one["position"] for one in records(later, at_us=1_001)] == ["2000:0", "3000:0"]
    assert records(later, at_us=3_001) == []


def test_a_filter_is_a_condition_over_columns_and_changes(later):
    found = records(later, **{"from": "earliest", "filter": "status = 'late' AND _op = 'insert' AND id > 1001"})
    assert [one["row"][0] for one in found] == [1002]
    assert len(records(later, **{"from": "earliest", "filter": "_weight < 0"})) == 1


@pytest.mark.parametrize(
    "text",
    ["1 = 1) OR (SELECT count(*) FROM read_text('/etc/passwd')) > 0", "id IN (SELECT 1)", "getenv('HOME') = 'x'",
     "repeat('x', 1000000000) = 'y'", "nothing = 1", "id = 1; DROP TABLE given", "read_text('/etc/passwd') = ''",
     "(" * 400 + "1" + ")" * 400, "CAST(status AS INTEGER) = 1", "replace(status, 'a', 'aaaa') = ''"],
)  # fmt: skip
def test_a_filter_that_is_none_or_could_harm_is_refused(later, text):
    answer = later.http.get("/v1/streams/orders/records", params={"from": "earliest", "filter": text})
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"]


def test_what_is_asked_wrongly_is_refused(later):
    assert later.http.get("/v1/streams/none/records").status_code == 404
    for query in ({"offset": 1, "at_us": 1}, {"limit": 0}, {"limit": 100_000}, {"offset": -1}, {"ofset": 1}):
        assert later.http.get("/v1/streams/orders/records", params=query).status_code == 422


def test_a_tail_tells_what_comes(later):
    def wanted(kind, data):
        if kind == "records" and not added.is_set():
            added.set()
            later.shop.source.add(inserts(4_000, 4001, status="tailed"))
        return kind == "records" and any(one["row"][1] == "tailed" for one in data["records"])

    added = threading.Event()
    found = later.follow("/v1/streams/orders/tail", wanted, last=3)
    assert found["skipped"] == 0 and [column["name"] for column in found["columns"]] == ["id", "status", "amount"]


def test_a_tail_with_a_filter_that_fails_says_why(later):
    problem = later.follow("/v1/streams/orders/tail", lambda kind, data: kind == "problem", filter="no_such = 1")
    assert "no_such" in problem["detail"]


def test_a_part_becomes_the_rows_of_a_test(later):
    first = records(later, at_us=1_000, limit=1)[0]["offset"]
    answer = later.http.get("/v1/streams/orders/fixture", params={"from": first, "limit": 4})
    assert answer.headers["content-type"].startswith("application/yaml")
    rows = YAML(typ="safe").load(answer.text)["given"]["orders"]
    assert rows[0] == {"id": 1001, "status": "late", "amount": "10"}
    (later.shop.folder / "tests").mkdir(exist_ok=True)
    (later.shop.folder / "tests" / "copied.yml").write_text(answer.text)
    (outcome,) = _run(later.shop.folder, ("from_orders",))
    assert outcome.mistake is None and outcome.differences  # it runs, and expects no rows where there are some
    assert rows[-2:] == [
        {"id": 1001, "status": "later", "amount": "77", "_op": "update"},
        {"id": 1002, "_op": "delete"},
    ]


def test_confluents_client_reads_what_a_databases_stream_was_like(later):
    """Of the stream events, which no other test here looks at."""
    wider = StreamSchema("events", EVENTS.columns.append(pa.field("note", pa.string())))
    token = later.http.headers["Authorization"].removeprefix("Bearer ")
    how = {"credentials.source": "STATIC_TOKEN", "token": token, "logical.cluster": "", "identity.pool.id": ""}
    settings = {f"bearer.auth.{name}": value for name, value in how.items()}
    with SchemaRegistryClient({"url": f"{later.url}/registry", **settings}) as client:
        wait_until(lambda: client.get_subjects() == ["events-value", "orders-value"], "both streams")
        later.shop.source.add(scripted_group(9_000, [(wider, Op.INSERT, {"happened": 4, "n": 1, "note": "x"})]))
        wait_until(lambda: client.get_versions("events-value") == [1, 2], "a new version")
        versions = [client.get_version("events-value", number).schema.schema_str for number in (1, 2)]
        assert client.get_versions("orders-value") == [1]
    names = [[field["name"] for field in json.loads(each)["fields"]] for each in versions]
    assert names == [["happened", "n"], ["happened", "n", "note"]]
