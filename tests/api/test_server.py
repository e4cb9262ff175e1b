"""The web server as those see it who mean it no good: other names and origins, no token, slow, large, odd requests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from anyio import to_thread
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.api.body import read_body
from headwater.api.problem import Problem, busy
from headwater.api.server import ApiServer, Service
from headwater.api.settings import ApiSettings
from headwater.errors import UserError

MOST = 100_000
DEADLINE_S = 60.0


async def echo(request: Request) -> Response:
    with request.app.state.room.held() as share:
        body = await read_body(request, share, MOST)
    return JSONResponse({"bytes": len(body)})


async def fail(request: Request) -> Response:
    raise RuntimeError("the secret inside")


async def refuse(request: Request) -> Response:
    raise busy("later", 2.5, 429)


class Waiting:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    async def answer(self, request: Request) -> Response:
        self.entered.set()
        await to_thread.run_sync(self.leave.wait, DEADLINE_S)
        return JSONResponse({"finished": True})


ROUTES = [
    Route("/echo", echo, methods=["POST"]),
    Route("/own", echo, methods=["POST"]),
    Route("/fail", fail),
    Route("/refuse", refuse),
]
OWN = Service(ROUTES, {"/own": (SecretStr("own-token"),)})


def served(told: list[str] | None = None, routes: list[Route] | None = None, **settings: object) -> ApiServer:
    given = ApiSettings.model_validate({"port": 0, **settings})
    services = [OWN, Service(routes or [])]
    server = ApiServer(given, services, (told if told is not None else []).append)
    server.start()
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    made = served(
        allowed_hosts=["data.example"], allowed_origins=["https://app.example"], head_timeout_s=0.5, body_timeout_s=0.5,
        max_memory=150_000,
    )  # fmt: skip
    yield made
    made.stop()


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=DEADLINE_S) as made:
        yield made


def raw(server: ApiServer, data: bytes) -> bytes:
    """What comes back for bytes, until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def test_it_answers_and_says_nothing_of_itself(client: httpx.Client) -> None:
    answer = client.get("/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.post("/echo", content=b"x" * 10).json() == {"bytes": 10}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:8080", 200), ("[::1]:8080", 200), ("192.168.0.7", 200),
        ("data.example", 200), ("data.example:443", 200),
        ("evil.example", 421), ("evil.example:8080", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil", 421),
        ("data.example.evil", 421), ("", 421), ("data.example@evil", 421), ("2130706433", 421),
    ],
)  # fmt: skip
def test_another_name_is_refused_so_that_rebinding_gains_nothing(client: httpx.Client, host: str, status: int) -> None:
    assert client.post("/echo", content=b"", headers={"Host": host}).status_code == status


def test_two_hosts_are_refused(server: ApiServer) -> None:
    found = raw(server, b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n")
    assert found.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://app.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_a_form_on_another_site_is_refused(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    assert client.post("/echo", content=b"a=1", headers=form).status_code == status


def test_its_own_pages_may_ask(client: httpx.Client, server: ApiServer) -> None:
    assert client.post("/echo", content=b"", headers={"Origin": server.url}).status_code == 200


def test_a_browser_is_told_which_pages_may_ask(client: httpx.Client) -> None:
    ask = {"Access-Control-Request-Method": "POST"}
    answer = client.options("/echo", headers={"Origin": "https://app.example", **ask})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "https://app.example")
    assert client.options("/echo", headers={"Origin": "https://evil.example", **ask}).status_code == 403
    answer = client.post("/echo", content=b"", headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in client.post("/echo", content=b"").headers


def test_a_token_opens_and_nothing_else_does() -> None:
    server = served(token="api-token")
    try:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            for shown in (None, "Bearer wrong", "Bearer", "api-token", "Basic api-token", "Bearer api-token2"):
                headers = {} if shown is None else {"Authorization": shown}
                answer = client.post("/echo", content=b"", headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.headers["content-type"] == "application/problem+json"
            assert client.get("/nothing").status_code == 401
            assert client.get("/v1/health").status_code == 200
            for token, path, status in (
                ("api-token", "/echo", 200), ("api-token", "/own", 200), ("own-token", "/own", 200),
                ("own-token", "/echo", 401), ("own-token", "/own/", 401), ("own-token", "//own", 401),
                ("own-token", "/own/../echo", 401), ("own-token", "/own%2f..%2fecho", 401),
            ):  # fmt: skip
                request = client.build_request("POST", "/", headers={"Authorization": f"Bearer {token}"})
                request.url = request.url.copy_with(raw_path=path.encode())
                assert client.send(request).status_code == status, path
    finally:
        server.stop()


def test_a_path_with_a_token_of_its_own_is_closed_where_all_else_is_open(client: httpx.Client) -> None:
    assert client.post("/own", content=b"").status_code == 401
    assert client.post("/own", content=b"", headers={"Authorization": "Bearer own-token"}).status_code == 200


def test_beyond_this_machine_a_token_is_required() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "data.example"):
        with pytest.raises(UserError, match="token is required"):
            ApiServer(ApiSettings(host=host, port=0), [])
        assert ApiSettings(host=host, token=SecretStr("t")).loopback is False
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        assert ApiSettings(host=host).loopback


def test_a_body_is_read_up_to_its_limit(client: httpx.Client, server: ApiServer) -> None:
    assert client.post("/echo", content=b"x" * MOST).json() == {"bytes": MOST}
    answer = client.post("/echo", content=b"x" * (MOST + 1))
    assert (answer.status_code, answer.json()["most_bytes"]) == (413, MOST)
    assert client.post("/echo", content=iter([b"x" * 60_000] * 2)).status_code == 413  # chunked: no length is told
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n"
    assert raw(server, head % b"99999999999").split()[1] == b"413"
    assert raw(server, head % b"-1").split()[1] == b"400"
    both = head % b"3" + b"abc"
    assert raw(server, both.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")).split()[1] == b"400"


def test_all_bodies_together_have_their_limit(server: ApiServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 90000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as slow:
        slow.sendall(head + b"x" * 89_999)
        statuses = set()
        for _ in range(50):
            statuses.add(raw(server, head + b"x" * 90_000).split()[1])
            if b"503" in statuses:
                break
        assert b"503" in statuses


def test_a_head_that_trickles_is_cut_off(server: ApiServer) -> None:
    assert raw(server, b"POST /echo HTTP/1.1\r\nHost: localhost\r\nX-A: ") == b""
    assert raw(server, b"") == b""


def test_a_second_head_that_trickles_is_cut_off(server: ApiServer) -> None:
    whole = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = raw(server, whole + b"GET /v1/health HTTP/1.1\r\nHos")
    assert found.count(b"HTTP/1.1 200") == 1


def test_a_body_that_trickles_is_cut_off(server: ApiServer) -> None:
    found = raw(server, b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    assert b"200 OK" not in found


def test_a_head_that_is_too_large_is_refused(server: ApiServer) -> None:
    found = raw(server, b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
    assert not found or found.split()[1] in (b"400", b"431")


def test_what_goes_wrong_is_told_without_its_inside(server: ApiServer) -> None:
    told: list[str] = []
    failing = served(told)
    try:
        answer = httpx.get(failing.url + "/fail", trust_env=False)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert told == ["GET /fail: RuntimeError: the secret inside"]
    finally:
        failing.stop()


def test_refusals_are_problems(client: httpx.Client) -> None:
    answer = client.get("/refuse")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json() == {"title": "Too Many Requests", "status": 429, "detail": "later"}
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/echo", 405), ("POST", "/echo/", 404)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(Problem(400, "d", record=3).response().body)["record"] == 3


def test_a_stop_finishes_what_is_under_way() -> None:
    waiting = Waiting()
    server = served(routes=[Route("/wait", waiting.answer)])
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.get(server.url + "/wait", trust_env=False, timeout=DEADLINE_S))
    )
    asking.start()
    assert waiting.entered.wait(DEADLINE_S)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    waiting.leave.set()
    stopping.join(DEADLINE_S)
    asking.join(DEADLINE_S)
    assert not stopping.is_alive()
    assert answers[0].json() == {"finished": True}
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/v1/health", trust_env=False)


def test_a_taken_port_is_told() -> None:
    server = served()
    try:
        with pytest.raises(UserError, match="cannot listen"):
            ApiServer(ApiSettings(port=server.port), [])
    finally:
        server.stop()
