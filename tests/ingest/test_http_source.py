"""What clients send by HTTP lands, once, and they are told what became of it."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path

import fastavro
import httpx
import pyarrow as pa
import pytest
from avro_containers import contained
from ingesting import DEADLINE_S, READING, Web, lines, wait_until

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
ORDER = {
    "type": "record",
    "name": "order",
    "fields": [{"name": "id", "type": "long"}, {"name": "amount", "type": "string"}],
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One project for the tests that need nothing of their own; each uses ids of its own."""
    made = Web(tmp_path_factory.mktemp("web"), "    max_body: 20 kB\n    max_unpacked: 100 kB\n    max_records: 500")
    made.model("large", "SELECT id, amount FROM orders WHERE amount > 100")
    with made.running():
        yield made


def found(web: Web, table: str, *ids: int) -> list[dict[str, object]]:
    """Rows of these ids, without what is null."""
    rows = [row for row in web.rows(table) if row.get("id") in ids]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def test_json_ndjson_and_csv_become_the_same_rows(web: Web) -> None:
    answers = [
        web.post("orders", b'{"id": 1, "amount": "1.25"}', JSON),
        web.post("orders", b'[{"id": 2, "amount": 1.25}, {"id": 3, "amount": 1.25}]', JSON + "; charset=utf-8"),
        web.post("orders", lines({"id": 4, "amount": "1.25"}, {"id": 5, "amount": "1.25"})),
        web.post("orders", b'amount,id\r\n1.25,6\r\n"1.25",7', CSV),
        web.post("orders", b"id,amount\n8,1.25\n", CSV),
    ]
    assert [answer.json()["accepted"] for answer in answers] == [1, 2, 2, 2, 1]
    assert [web.land(answer, "orders").json()["visible"] for answer in answers] == [True] * 5
    wanted = [{"id": number, "amount": Decimal("1.25")} for number in range(1, 9)]
    assert found(web, "orders", *range(1, 9)) == wanted


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_bodies_are_unpacked(web: Web, encoding: str) -> None:
    number = {"gzip": 11, "zstd": 12}[encoding]
    body = lines({"id": number, "amount": 1})
    packed = gzip.compress(body) if encoding == "gzip" else pa.compress(body, "zstd", asbytes=True)
    assert web.land(web.post("orders", bytes(packed), Content_Encoding=encoding), "orders").json()["visible"]
    assert found(web, "orders", number)


def test_cloudevents_are_the_same_in_every_mode(web: Web) -> None:
    event = {"specversion": "1.0", "id": "e1", "source": "/till/1", "type": "sale", "datacontenttype": JSON}
    whole = {**event, "data": {"sum": 5}}
    named = {f"ce-{name}": value for name, value in event.items() if name != "datacontenttype"}
    answers = [
        web.post("events", json.dumps(whole).encode(), "application/cloudevents+json"),
        web.post("events", json.dumps([whole, whole]).encode(), "application/cloudevents-batch+json"),
        web.post("events", b'{"sum": 5}', JSON, **named),
    ]
    assert [answer.json()["accepted"] for answer in answers] == [1, 2, 1]
    web.land(answers[-1], "events")
    rows = [row for row in web.rows("events") if row.get("type") == "sale"]
    assert len(rows) == 4
    assert all(row == rows[0] for row in rows)
    assert rows[0]["id"] == "e1"
    binary = web.post("events", b"\x00\xff", "image/png", **named)
    assert binary.json()["accepted"] == 1
    missing = web.post("events", b"{}", JSON, ce_specversion="1.0", ce_id="x")
    assert (missing.status_code, "ce-source, ce-type" in missing.json()["detail"]) == (400, True)
    assert web.post("events", b"{", JSON, **named).status_code == 400
    assert web.post("events", b"[]", "application/cloudevents+json").status_code == 400


def test_a_record_of_avro_is_read_by_the_schema_of_its_stream(web: Web) -> None:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, json.loads(READING), {"sensor": "s", "value": 1.5})
    answer = web.post("readings", written.getvalue(), "avro/binary")
    assert web.land(answer, "readings").json()["visible"]
    assert web.rows("readings") == [{"sensor": "s", "value": 1.5}]
    assert web.post("readings", b"\x02", "avro/binary").json()["rejected"] == 1


def test_an_avro_container_brings_its_schema_and_its_bad_records_are_rejected(web: Web) -> None:
    """The third record of the first block is no text; nobody can say where the fourth begins."""
    good = [bytes([2 * number]) + b"\x061.5" for number in (51, 52, 53, 54)]
    blocks = [good[0] + good[1] + b"\x02\x02\xff" + good[2], good[3]]
    answer = web.post("orders", contained(ORDER, blocks, "deflate", counts=[4, 1]), "application/avro")
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 3, 1), answer.text
    assert [(one["record"], one["reason"]) for one in answer.json()["records"]] == [(2, "bad_utf8")]
    assert web.land(answer, "orders").json()["visible"]
    assert [row["id"] for row in found(web, "orders", 51, 52, 53, 54)] == [51, 52, 54]
    wait_until(lambda: any(reject.record.endswith(b"\x02\x02\xff" + good[2]) for reject in web.rejects()))


def test_bad_records_go_to_the_ledger_and_good_ones_on(web: Web) -> None:
    body = lines({"id": 21, "amount": 1}) + b"{broken\n" + lines({"id": "no number"}, {"id": 22, "amount": 1})
    answer = web.post("orders", body)
    told = answer.json()
    assert (answer.status_code, told["accepted"], told["rejected"]) == (202, 2, 2)
    assert [record["record"] for record in told["records"]] == [1, 2]
    assert web.land(answer, "orders").json()["visible"]
    assert [row["id"] for row in found(web, "orders", 21, 22)] == [21, 22]
    wait_until(lambda: any(reject.record.endswith(b"{broken\n") for reject in web.rejects()))


def test_strict_takes_all_or_nothing_and_names_the_record(web: Web) -> None:
    body = lines({"id": 31, "amount": 1}, {"id": "no number"})
    answer = web.client.post("/v1/streams/orders?strict=true", content=body, headers={"Content-Type": NDJSON})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [record["record"] for record in answer.json()["records"]] == [1]
    fine = web.client.post(
        "/v1/streams/orders?strict=1", content=lines({"id": 32, "amount": 1}), headers={"Content-Type": NDJSON}
    )
    web.land(fine, "orders")
    assert [row["id"] for row in found(web, "orders", 31, 32)] == [32]
    assert web.client.post("/v1/streams/orders?strict=perhaps", content=b"").status_code in (400, 415)


@pytest.mark.parametrize(
    ("content", "kind", "headers", "status"),
    [
        (b"{", JSON, {}, 400),
        (b"1", JSON, {}, 400),
        (b"[1,2", JSON, {}, 400),
        (b"{}{}", JSON, {}, 400),
        (b"a,a\n1,2", CSV, {}, 400),
        (b'a,"b\n1,2', CSV, {}, 400),
        (b"", CSV, {}, 400),
        (b"a=1", "application/x-www-form-urlencoded", {}, 415),
        (b"a", "text/plain", {}, 415),
        (b"a", "", {}, 415),
        (b"{}", "application/json; charset=latin1", {}, 415),
        (b"{}", JSON, {"Content_Encoding": "br"}, 415),
        (b"{}", JSON, {"Content_Encoding": "gzip, gzip"}, 415),
        (b"{}", JSON, {"Content_Encoding": "gzip"}, 400),
        (b"Obj\x01", "avro/binary", {}, 400),
        (contained(ORDER, [b"\x02\x02x"])[:-1], "application/avro", {}, 400),
        (contained(ORDER, [b"\x02\x02x"], counts=[2]), "application/avro", {}, 400),
        (contained(ORDER, [bytes(200_000)], "deflate", counts=[100]), "application/avro", {}, 413),
        (contained(ORDER, [b"\x02\x02x" * 501], counts=[501]), "application/avro", {}, 413),
        (b" " * 20_001, JSON, {}, 413),
        (gzip.compress(b" " * 100_001, mtime=0), JSON, {"Content_Encoding": "gzip"}, 413),
        (b"{}\n" * 501, NDJSON, {}, 413),
        (b"{}", JSON, {"Idempotency_Key": "k" * 256}, 400),
        (b"{}", JSON, {"Idempotency_Key": ""}, 400),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(
    web: Web, content: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    answer = web.post("orders", content, kind, **headers)
    assert (answer.status_code, answer.json()["status"]) == (status, status), answer.text
    assert answer.json()["detail"]


def test_there_are_no_other_streams(web: Web) -> None:
    for name in ("nothing", "ORDERS", "orders/", "../orders", "%2e%2e/orders", "_rejects"):
        assert web.client.post(f"/v1/streams/{name}", json={}).status_code == 404
    assert web.client.get("/v1/streams/orders").status_code == 405


def test_a_request_that_is_sent_again_under_its_key_is_not_taken_again(web: Web) -> None:
    body = lines({"at": "key", "n": 1})
    first = web.post("events", body, Idempotency_Key="a").json()
    again = web.post("events", body, Idempotency_Key="a").json()
    assert again == {**first, "repeated": True}
    assert web.post("events", lines({"at": "key", "n": 2}), Idempotency_Key="a").status_code == 422
    assert "repeated" not in web.post("orders", lines({"id": 41}), Idempotency_Key="a").json()  # another stream's
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: web.post("events", body, Idempotency_Key="b").json(), range(8)))
    assert len({answer["token"] for answer in answers}) == 1
    assert sum("repeated" not in answer for answer in answers) == 1
    web.land(web.post("events", lines({"at": "end"})), "events")
    assert sum(row.get("at") == "key" for row in web.rows("events")) == 2


def test_completions_say_when_records_are_visible(web: Web) -> None:
    answer = web.post("orders", lines({"id": 51, "amount": 500}))
    assert web.land(answer, "large").json()["visible"]
    assert [row["id"] for row in web.rows("large") if row["id"] == 51] == [51]
    token = answer.json()["token"]
    foreign = token[:-1] + ("0" if token[-1] != "0" else "1")
    later = ".".join([token.split(".")[0], "999999", token.split(".")[2]])
    ask = web.client.get(f"/v1/completions/{later}", params={"timeout": 0})
    assert (ask.status_code, ask.json()) == (202, {"visible": False})
    for path, status in (
        ("nonsense", 400), (foreign, 404), ("other" + token[3:], 404), (token + "?table=nothing", 404),
        (token + "?timeout=never", 400), (token + "?timeout=1e9", 400), (token + "?timeout=nan", 400),
    ):  # fmt: skip
        assert web.client.get(f"/v1/completions/{path}").status_code == status, path


def test_many_clients_share_a_sync_to_the_disk(web: Web) -> None:
    """Requests that are there at the same time become one group."""
    gate = threading.Barrier(16)

    def send(number: int) -> int:
        gate.wait(DEADLINE_S)
        return int(web.post("events", lines({"at": "many", "n": number})).json()["token"].split(".")[1])

    with ThreadPoolExecutor(16) as pool:
        commits = list(pool.map(send, range(16)))
    assert len(set(commits)) < 16
    web.land(web.post("events", lines({"at": "end"})), "events")
    assert sorted(row["n"] for row in web.rows("events") if row.get("at") == "many") == list(range(16))


def test_a_token_opens_and_too_many_requests_a_second_are_told_to_wait(tmp_path: Path) -> None:
    web = Web(tmp_path, "    token: the-token\n    former_token: the-former\n    requests_per_second: 1")
    with web.running(Authorization="Bearer the-token"):
        statuses = [web.post("events", lines({"n": 1}), Authorization=shown).status_code for shown in ("", "Bearer x")]
        assert statuses == [401, 401]
        answers: list[httpx.Response] = []

        def some() -> bool:
            """Several at a time: one after the other they may be slower than the limit."""
            send = partial(web.post, "events", lines({"n": 1}), Authorization="Bearer the-former")
            with ThreadPoolExecutor(8) as pool:
                answers.extend(each.result() for each in [pool.submit(send) for _ in range(8)])
            return {answer.status_code for answer in answers} >= {202, 429}

        wait_until(some)
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
    assert "the-token" not in web.log.getvalue()


def test_another_run_goes_on_and_remembers_keys(tmp_path: Path) -> None:
    web = Web(tmp_path)
    with web.running():
        before = web.post("events", lines({"n": 1}), Idempotency_Key="k").json()
    with web.running():
        assert web.post("events", lines({"n": 1}), Idempotency_Key="k").json() == {**before, "repeated": True}
        assert web.land(web.post("events", lines({"n": 2})), "events").json()["visible"]
        old = web.client.get(f"/v1/completions/{before['token']}", params={"table": "events"})
        assert old.json()["visible"]
    assert [row["n"] for row in web.rows("events")] == [1, 2]
