"""Bodies that are too large, that unpack to far more than they are, that take long to read, or that never come; and
readers that never read."""

import gzip
import json
import socket
from contextlib import suppress

import pytest
import zstandard
from attacked import refused, wait_until

pytestmark = pytest.mark.xdist_group("attacks")

JSON = {"Content-Type": "application/json"}
HEAD = b"POST /v1/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
DEEP = [
    b"[" * 200_000, b'{"a":' * 150_000, b"[" * 200_000 + b"]" * 200_000,
    b'{"sql":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]  # fmt: skip
ODD = [
    b"null", b"[]", b'"SELECT 1"', b"{", b'{"sql": 1}', b'{"sql": null}', b'{"sql": ""}', b'{"sql": ["SELECT 1"]}', b"",
    b'{"sql": "SELECT 1", "sqll": 1}', b'{"sql": "SELECT 1", "limit": -1}', b'{"sql": "SELECT 1", "limit": 1e400}',
    b'{"sql": "SELECT 1", "limit": ' + b"9" * 100_000 + b"}", b'{"sql": "\\ud800"}', b'{"sql": "SELECT 1\\u0000"}',
    b'{"sql": "' + b"x" * 200_000 + b'"}', b'{"sql": "SELECT 1", "at": "' + b"x" * 5000 + b'"}', b'{"sql": NaN}',
    b"\xff\xfe",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/sql", "/v1/models/preview", "/v1/sql/explain"])
def test_deep_and_odd_json_is_refused(attacked, path):
    for body in (*DEEP, *ODD):
        answer = attacked.http.post(path, content=body, headers=JSON)
        if not (answer.status_code == 200 and answer.json().get("problems")):  # a preview tells mistakes as its answer
            refused(answer, 400, 422)


def test_a_body_has_an_end(attacked):
    refused(attacked.http.post("/v1/sql", content=b" " * (2 << 20), headers=JSON), 413)
    refused(attacked.http.post("/v1/sql", content=(b" " * (1 << 16) for _ in range(64)), headers=JSON), 413)
    refused(attacked.http.post("/v1/streams/orders", content=b"[" * (2 << 20), headers=JSON), 413)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_bomb_does_not_go_off(attacked, coding):
    zeros = b" " * (256 << 20)
    bomb = gzip.compress(zeros, 1) if coding == "gzip" else zstandard.ZstdCompressor(level=1).compress(zeros)
    headers, before = {**JSON, "Content-Encoding": coding}, attacked.rss()
    for _ in range(3):
        refused(attacked.http.post("/v1/streams/orders", content=bomb[: 900 << 10], headers=headers), 400, 413)
        refused(attacked.http.post("/v1/sql", content=bomb[: 900 << 10], headers=headers), 413, 415)
    assert attacked.rss() < before + (128 << 20)


def test_records_may_not_be_bombs(attacked):
    for body in (b'[{"id": ' + b"9" * 500_000 + b"}]", b'[{"id": 1e999999999}]', b"[" * 100_000):
        answer = attacked.http.post("/v1/streams/orders", content=body, headers=JSON)
        assert answer.status_code < 500


@pytest.mark.parametrize("begun", [HEAD + b"Content-Length: 1000\r\n\r\n{", HEAD, b""])
def test_what_never_comes_is_not_waited_for(attacked, begun):
    connections = [socket.create_connection(("127.0.0.1", attacked.port), 30) for _ in range(40)]
    for connection in connections:
        connection.sendall(begun)
    assert attacked.http.get("/v1/health").status_code == 200
    for connection in connections:
        with connection, suppress(ConnectionResetError):
            while connection.recv(65536):
                pass


def test_two_lengths_are_refused(attacked):
    smuggled = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", attacked.port), 20) as connection:
        connection.sendall(smuggled)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_who_never_reads_costs_little(attacked):
    before, connections = attacked.rss(), []
    for _ in range(30):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", attacked.port))
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        connections.append(connection)
    epoch = attacked.epoch()
    wait_until(lambda: attacked.epoch() > epoch + 30, "epochs to pass")
    assert attacked.rss() < before + (64 << 20)
    for connection in connections:
        connection.close()


def test_answers_are_not_heaped_up(attacked):
    before, connections = attacked.rss(), []
    body = json.dumps({"sql": "SELECT repeat('x', 30000) FROM range(10000)"}).encode()
    for _ in range(6):
        connection = socket.create_connection(("127.0.0.1", attacked.port), 30)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        connections.append(connection)
    assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in connections)
    assert attacked.rss() < before + (128 << 20)
    for connection in connections:
        connection.close()
