"""Web pages of others: names that are rebound to this machine, forms, requests that a browser sends for a page."""

import pytest
from attacked import refused

pytestmark = pytest.mark.xdist_group("attacks")

SQL = b'{"sql": "SELECT 1"}'


HOSTS = [
    "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "",
    "127.0.0.1@evil.example", "[::1].evil.example", "0x7f000001.evil.example",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/v1/overview", "/v1/sql"])
def test_a_name_rebound_to_us_is_not_served(attacked, host, path):
    method = "POST" if path == "/v1/sql" else "GET"
    headers = {"Host": host, "Content-Type": "application/json"}
    refused(attacked.http.request(method, path, content=SQL, headers=headers), 400, 421)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                                  "text/plain; charset=application/json", "application/jsonp", ""])  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/sql"), ("POST", "/v1/models/preview"), ("PUT", "/v1/models/evil")]
)
def test_a_form_cannot_ask(attacked, method, path, kind):
    body = b'{"sql": "SELECT 1 AS x FROM orders", "x": "="}'
    refused(attacked.http.request(method, path, content=body, headers={"Content-Type": kind}), 415)
    assert not (attacked.folder / "models" / "evil.sql").exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/overview", "/v1/sql", "/v1/streams/orders"])
def test_another_site_cannot_ask(attacked, path, headers):
    method = "GET" if path == "/v1/overview" else "POST"
    kind = {"Content-Type": "application/json"}
    refused(attacked.http.request(method, path, content=SQL, headers={**headers, **kind}), 403)


def test_a_preflight_of_another_site_allows_nothing(attacked):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = attacked.http.options("/v1/sql", headers=headers)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-allow") for name in answer.headers)


def test_reading_changes_nothing(attacked):
    document = attacked.http.get("/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        if "get" not in operations and "{" not in path:
            refused(attacked.http.get(path), 404, 405)


def test_pages_run_no_strangers_script(attacked):
    headers = attacked.http.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
