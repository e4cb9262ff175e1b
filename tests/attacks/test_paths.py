"""Names that lead out of where they belong, in every place where a path takes a name."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from attacked import CANARY, refused

pytestmark = pytest.mark.xdist_group("attacks")

NAMES = [
    "../secret.csv", "..%2fsecret.csv", "%2e%2e%2f%2e%2e%2fsecret.csv", "%252e%252e%252fsecret.csv", "..%5csecret.csv",
    "%2fetc%2fpasswd", "a%00b", "%c0%ae%c0%ae%c0%afsecret.csv", "....//secret.csv", "..%00/secret.csv", "%ff%fe",
    "~root", "headwater.yml", "..;/secret.csv", "x" * 5000,
]  # fmt: skip
PLACES = [
    "/{}", "/assets/{}", "/v1/{}", "/v1/models/{}", "/v1/tables/{}", "/v1/streams/{}/records", "/v1/graph/table/{}",
    "/v1/graph/model/{}", "/v1/rejects/{}", "/registry/{}", "/registry/subjects/{}/versions/1",
]  # fmt: skip


def raw(port: int, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    """Status and answer of a request whose path no client has mended."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize("place", PLACES)
def test_no_name_leads_out(attacked, place):
    for name in NAMES:
        status, answer = raw(attacked.port, place.format(name))
        assert CANARY.encode() not in answer, name
        assert b"root:" not in answer, name
        assert b"type: http" not in answer, name  # of headwater.yml
        assert status < 500, (name, answer[:500])
        if status < 300:  # the page, which is served for every path of its own
            assert place == "/{}"
            assert b"text/html" in answer


def statements(folder):
    """All files of SQL; folders may go meanwhile, as the project runs."""
    return {Path(place, name) for place, _, names in os.walk(folder) for name in names if name.endswith(".sql")}


@pytest.mark.parametrize("name", NAMES)
def test_no_model_is_written_elsewhere(attacked, name):
    before = statements(attacked.folder.parent)
    status, _ = raw(attacked.port, f"/v1/models/{name}", "PUT", b'{"sql": "SELECT id FROM orders"}')
    assert 400 <= status < 500
    assert before
    assert statements(attacked.folder.parent) == before


@pytest.mark.parametrize("head", ["GET /{} HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX: {}\r\n", "{} / HTTP/1.1\r\n"])
def test_a_head_has_an_end(attacked, head):
    with socket.create_connection(("127.0.0.1", attacked.port), 20) as connection:
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(head.format("x" * 2_000_000).encode())
            answer = connection.recv(65536)
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "name", ["Robert'); DROP TABLE orders;--", 'x" OR 1=1 --', "orders'--", "$(reboot)", "{{7*7}}"]
)
def test_a_name_is_never_sql(attacked, name):
    for place in ("/v1/models/", "/v1/tables/", "/v1/graph/table/", "/v1/streams/"):
        answer = attacked.http.get(f"{place}{name}")
        assert answer.status_code in (400, 404, 405, 422), answer.text
        refused(answer, answer.status_code)
    assert attacked.sql("SELECT count(*) > 0 FROM orders").json()["rows"] == [[True]]
