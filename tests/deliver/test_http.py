"""HTTP as a destination, against a real server that fails on purpose."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.deliver.destination import Batch, Op, State, Sync
from headwater.deliver.http import HttpDestination
from headwater.deliver.http_settings import HttpSettings
from headwater.deliver.http_template import Refused, TemplateError, body_template, header_template, url_template
from headwater.errors import DestinationStopped, DestinationUnavailable
from headwater.testing.clocks import HourAhead
from headwater.testing.destination_contract import POISON, DestinationContract, Row
from headwater.testing.http_proxy import Fault, HttpProxy
from headwater.testing.web_server import Received, Reply, WebServer

COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string()), ("price", pa.decimal128(12, 2))])
SYNC = Sync("shop", "crm", "one", "customers", COLUMNS, ("id",))


class HttpPeer:
    """An API with a document per id; it refuses poison until it is healed."""

    appends = False
    poisons = True
    stoppable = True

    def __init__(self) -> None:
        self.healed = False
        self.server = WebServer(self._decide)

    def _decide(self, request: Received) -> Reply:
        poison = request.body and json.loads(request.body)["name"] == POISON
        return Reply(422, body=b'{"error": "poison"}', kept=False) if poison and not self.healed else Reply()

    def destination(self) -> HttpDestination:
        return destination(self.server.url + "/rows/{{id}}", method="PUT")

    def rows(self) -> Mapping[int, Row]:
        found = [json.loads(body) for body in self.server.documents.values()]
        return {row["id"]: {**row, "at": row["at"] and datetime.fromisoformat(row["at"])} for row in found}

    def names(self, number: int) -> Sequence[str | None]:
        row = self.rows().get(number)
        return [row["name"]] if row else []  # type: ignore[list-item]

    def heal(self) -> None:
        self.healed = True

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()


class TestHttp(DestinationContract):
    """The suite of all destinations."""

    @pytest.fixture
    def peer(self) -> Iterator[HttpPeer]:
        made = HttpPeer()
        yield made
        made.server.stop()


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as made:
        yield made


def destination(url: str, **options: Any) -> HttpDestination:
    return HttpDestination(HttpSettings.model_validate({"url": url, "allow_private": True, **options}))


def batch(*records: tuple[Op, int | None, str | None], first: int = 1) -> Batch:
    rows = pa.table([[key for _, key, _ in records], [name for _, _, name in records], [None] * len(records)],
                    schema=COLUMNS)  # fmt: skip
    seq = np.arange(len(records), dtype=np.int64) + first
    return Batch(1, rows, np.array([op for op, _, _ in records], np.uint8), seq, np.full(len(records), 7))


def test_requests_are_made_of_columns(server: WebServer) -> None:
    body = '{"name": {{name}}, "hi": "ho \\"{{name}}\\"", "all": {{*}}}'
    made = destination(
        server.url + "/c/{{id}}?n={{name}}", method="PUT", body=body,
        headers={"X-Id": "id-{{id}}"}, token="the-token",
    )  # fmt: skip
    session = made.open(SYNC)
    name = 'a/b?c&d=e "q" \\ \n ü'
    assert session.deliver(batch((Op.UPSERT, 1, name), (Op.DELETE, 2, "b"))).state.tolist() == [0, 0]
    session.close()
    put, gone = sorted(server.received, key=lambda request: request.method == "DELETE")
    assert (put.method, urlsplit(put.path).path, parse_qsl(urlsplit(put.path).query)) == ("PUT", "/c/1", [("n", name)])
    assert json.loads(put.body) == {"name": name, "hi": f'ho "{name}"', "all": {"id": 1, "name": name, "price": None}}
    assert put.headers["x-id"] == "id-1"
    assert put.headers["authorization"] == "Bearer the-token"
    assert put.headers["idempotency-key"] == "shop/crm:one:7:1"
    assert (gone.method, gone.path, gone.body) == ("DELETE", "/c/2?n=b", b"")
    assert gone.headers["idempotency-key"] == "shop/crm:one:7:2"


@pytest.mark.parametrize("together", ["array", "ndjson"])
def test_many_records_go_together(server: WebServer, together: str) -> None:
    session = destination(server.url + "/many", together=together, max_body=1024).open(SYNC)
    records = [(Op.UPSERT, number, "x" * 50) for number in range(30)] + [(Op.DELETE, 99, "y")]
    assert not session.deliver(batch(*records)).state.any()
    assert not session.deliver(batch(*records)).state.any()
    session.close()
    assert 4 < len(server.received) < 20
    assert all(len(request.body) <= 1200 for request in server.received)
    sent = [
        element
        for request in server.received
        for element in (json.loads(request.body) if together == "array" else map(json.loads, request.body.splitlines()))
    ]
    assert len(sent) == 62
    assert {element["op"] for element in sent} == {"upsert", "delete"}
    assert len({element["key"] for element in sent}) == 31
    keys = [request.headers["idempotency-key"] for request in server.received]
    assert len(set(keys)) == len(keys) / 2  # the second time they are the same


@pytest.mark.parametrize(
    ("status", "state"),
    [(200, 0), (201, 0), (204, 0), (302, 2), (400, 2), (403, 2), (404, 2), (409, 2), (422, 2),
     (408, 1), (425, 1), (429, 1), (500, 1), (503, 1), (418, 0), (423, 1)],
)  # fmt: skip
def test_what_a_status_means(server: WebServer, status: int, state: int) -> None:
    server.decide = lambda request: Reply(status, {"Location": "http://169.254.169.254/"}, b"why\n\nindeed")
    session = destination(server.url, accept=[418], retry=[423]).open(SYNC)
    outcomes = session.deliver(batch((Op.UPSERT, 1, "a")))
    session.close()
    assert outcomes.state.tolist() == [state]
    if state == State.REFUSED:
        assert outcomes.reasons[0] == f"the server answered {status}: why indeed"
    assert len(server.received) == 1


def test_what_is_gone_already_is_deleted(server: WebServer) -> None:
    server.decide = lambda request: Reply(404)
    session = destination(server.url + "/{{id}}").open(SYNC)
    assert session.deliver(batch((Op.DELETE, 1, "a"), (Op.UPSERT, 2, "a"))).state.tolist() == [0, 2]
    session.close()


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("99999", 3600.0), ("soon", None), ("nan", None)]
)
def test_a_server_that_asks_to_be_left_alone_is_left_alone(
    server: WebServer, header: str, seconds: float | None
) -> None:
    server.decide = lambda request: Reply(429, {"Retry-After": header})
    session = destination(server.url, connections=1).open(SYNC)
    outcomes = session.deliver(batch(*((Op.UPSERT, number, "a") for number in range(20))))
    session.close()
    assert set(outcomes.state.tolist()) == {State.RETRY}
    assert outcomes.retry_after_s == seconds
    assert len(server.received) == 1


def test_a_date_in_retry_after_is_read(server: WebServer) -> None:
    server.decide = lambda request: Reply(503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    session = destination(server.url).open(SYNC)
    assert session.deliver(batch((Op.UPSERT, 1, "a"))).retry_after_s == 0.0
    session.close()


@pytest.mark.parametrize("kind", ["reset", "reset_after", "end", "end_after"])
def test_an_answer_that_never_comes_leads_to_the_same_key(server: WebServer, kind: str) -> None:
    with HttpProxy(server.port) as proxy:
        proxy.inject(Fault("POST", "/", kind))
        session = destination(proxy.url + "/x", connections=1).open(SYNC)
        with pytest.raises(DestinationUnavailable):
            session.deliver(batch((Op.UPSERT, 1, "a"), (Op.UPSERT, 2, "b")))
        assert not session.deliver(batch((Op.UPSERT, 1, "a"), (Op.UPSERT, 2, "b"))).state.any()
        session.close()
    keys = [request.headers["idempotency-key"] for request in server.kept]
    assert len(keys) == (3 if kind.endswith("after") else 2)
    assert len(set(keys)) == 2


def test_secrets_wrong_stop_the_sync(server: WebServer) -> None:
    server.decide = lambda request: Reply(401)
    session = destination(server.url, user="u", password="the-password").open(SYNC)
    with pytest.raises(DestinationStopped) as stopped:
        session.deliver(batch((Op.UPSERT, 1, "a")))
    session.close()
    assert "the-password" not in str(stopped.value) + stopped.value.hint
    assert server.received[0].headers["authorization"].startswith("Basic ")


def test_private_addresses_are_not_called(server: WebServer) -> None:
    made = HttpDestination(HttpSettings.model_validate({"url": server.url}))
    with pytest.raises(DestinationStopped, match="private or loopback"):
        made.check(SYNC)
    session = made.open(SYNC)
    with pytest.raises(DestinationStopped, match="private or loopback"):
        session.deliver(batch((Op.UPSERT, 1, "a")))
    session.close()
    assert not server.received


def test_check_names_columns_that_there_are_not(server: WebServer) -> None:
    with pytest.raises(DestinationStopped, match=r"\{\{nothing\}\}"):
        destination(server.url + "/{{nothing}}").check(SYNC)
    assert "at least once" in destination(server.url + "/{{id}}").check(SYNC)[0]


def test_records_that_cannot_be_written_are_refused(server: WebServer) -> None:
    session = destination(server.url + "/{{name}}", headers={"X": "{{id}}"}).open(SYNC)
    names = [None, "", ".", "..", "a", "../.."]
    outcomes = session.deliver(batch(*((Op.UPSERT, number, name) for number, name in enumerate(names))))
    session.close()
    assert outcomes.state.tolist() == [2, 2, 2, 2, 0, 0]
    assert sorted(request.path for request in server.received) == ["/..%2F..", "/a"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://a.example"}, {"url": "https://{{id}}/"}, {"url": "https://a.example:0/"}, {"url": "/x"},
        {"url": "https://u:p@a.example/"}, {"url": "https://a.example/{{id"}, {"url": "https://a.example/{{@no}}"},
        {"body": '{"a": {{id}}'}, {"body": '{"a": "{{id}}}'}, {"together": "array", "url": "https://a.example/{{id}}"},
        {"token": "t", "user": "u", "password": "p"}, {"user": "u"}, {"secret_header": "X"},
        {"headers": {"X\n": "a"}}, {"headers": {"X": "a\r\nY: b"}}, {"together": "array", "body": "{{*}}"},
        {"together": "array", "content_type": "text/plain"},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpSettings.model_validate({"url": "https://a.example/", **wrong})


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())


@given(VALUES)
def test_a_value_is_the_same_wherever_it_stands(value: object) -> None:
    text = json.dumps(value)
    plain = "" if value is None else value if isinstance(value, str) else text
    body = body_template('{"a": {{v}}, "b": "x{{v}}\\\\{{v}}", "c": [{{v}}]}', "application/json").fill({"v": text})
    assert json.loads(body) == {"a": value, "b": f"x{plain}\\{plain}", "c": [value]}
    form = body_template("a={{v}}&b=1", "application/x-www-form-urlencoded").fill({"v": text})
    assert dict(parse_qsl(form, keep_blank_values=True, errors="surrogatepass")) == {"a": plain, "b": "1"}
    try:
        url = url_template("https://h/p/{{v}}/q?v={{v}}#").fill({"v": text})
    except Refused:
        assert plain in ("", ".", "..")
    else:
        assert urlsplit(url).path.split("/")[1:] == ["p", urlsplit(url).path.split("/")[2], "q"]
        assert unquote(urlsplit(url).path.split("/")[2], errors="surrogatepass") == plain
    try:
        header = header_template("v {{v}}").fill({"v": text})
    except Refused:
        assert not (plain.isascii() and plain.isprintable())
    else:
        assert header == f"v {plain}"


def test_what_is_left_of_a_template_is_told() -> None:
    for text in ("{{a", "{{", "{{}}", "a {{b} }"):
        with pytest.raises(TemplateError):
            url_template(text)


def test_a_request_that_breaks_off_does_not_count(server: WebServer) -> None:
    """What the crash campaign relies on: a process that is killed while it sends has sent nothing."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert not server.received


def test_what_doctor_finds(server: WebServer) -> None:
    asked = replace(SYNC, clock=HourAhead())
    found = {one.check: one for one in destination(server.url + "/rows/{{id}}", method="PUT").diagnose(asked)}
    assert {name: one.level for name, one in found.items()} == {
        "reach": "ok", "tls": "ok", "clock": "warn", "calls": "ok"
    }  # fmt: skip
    assert [(one.method, one.path) for one in server.received] == [("HEAD", "/")]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(DestinationUnavailable, match="does not answer"):
            destination(f"http://127.0.0.1:{closed.getsockname()[1]}/").diagnose(SYNC)
