"""The page's files: open, strict, and nothing beside them."""

import httpx
import pytest

from headwater.api.server import ApiServer
from headwater.api.settings import ApiSettings
from headwater.console.page import CSP, Page


@pytest.fixture
def server(tmp_path):
    (tmp_path / "secret.txt").write_text("not yours")
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>the page</title>")
    (static / "assets" / "app-1a2b.js").write_text("1")
    (static / "assets" / "link.js").symlink_to(tmp_path / "secret.txt")
    settings = ApiSettings.model_validate({"port": 0, "token": "a-token-of-the-server"})
    server = ApiServer(settings, [Page(static).service()])
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.stop()


def test_the_page_is_open_and_runs_nothing_but_itself(server):
    for path in ("/", "/streams", "/streams/orders", "/graph"):
        answer = server.get(path)
        assert answer.status_code == 200 and "the page" in answer.text
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CSP and "script-src 'self'" in CSP and "frame-ancestors 'none'" in CSP


def test_assets_are_kept_for_good_and_known_again(server):
    answer = server.get("/assets/app-1a2b.js")
    assert (
        answer.headers["content-type"].startswith("text/javascript") and "immutable" in answer.headers["cache-control"]
    )
    assert server.get("/assets/app-1a2b.js", headers={"if-none-match": answer.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/assets/../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/secret.txt",
     "/assets/link.js", "/assets//etc/passwd", "/assets/%00", "/assets/none.js", "/../secret.txt",
     "/streams/%2e%2e/%2e%2e/secret.txt"],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(server, path):
    answer = server.get(path)
    assert "not yours" not in answer.text and "root:" not in answer.text
    assert answer.status_code in (401, 404) or "the page" in answer.text


def test_what_is_not_the_page_needs_the_token(server):
    assert server.get("/v1/overview").status_code == 401
    assert server.get("/v1/health").status_code == 200
    assert server.get("/metrics").status_code == 401
    assert server.post("/streams").status_code == 401


def test_without_built_files_the_page_says_how_to_build_them(tmp_path):
    server = ApiServer(ApiSettings.model_validate({"port": 0}), [Page(tmp_path / "none").service()])
    server.start()
    try:
        answer = httpx.get(server.url, trust_env=False)
        assert answer.status_code == 200 and "make setup" in answer.text
    finally:
        server.stop()
