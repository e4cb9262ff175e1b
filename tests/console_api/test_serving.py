"""When a running project serves the console, where, and to whom."""

import socket
import stat

import httpx
import pytest
from scripted_project import Shop

from headwater.api.server import ApiServer
from headwater.api.settings import ApiSettings
from headwater.console.services import services
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor

API = "name: shop\nsources:\n  shop: {type: postgres, url: postgresql://nowhere/shop}\n"


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "project")


def supervisor(shop, more="", *, once=False):
    """A supervisor that would serve the console; it is not run."""
    (shop.folder / "headwater.yml").write_text(API + more)
    journal = Journal(shop.log, as_json=True)
    return Supervisor(shop.project, journal, once=once, sources={"shop": shop.source}, extend=services)


def test_it_is_served_where_nothing_is_asked_for(shop):
    assert supervisor(shop).api_url.startswith("http://127.0.0.1:")


def test_a_default_port_that_is_taken_becomes_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = ApiServer(ApiSettings.model_validate({"port": port}), [], or_any_port=True)
        assert server.port != port
        server.stop()


def test_a_port_that_was_asked_for_is_that_port_or_none(shop):
    from headwater.errors import UserError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen"):
            supervisor(shop, f"api: {{port: {taken.getsockname()[1]}}}\n")


def test_it_can_be_turned_off_and_is_not_there_for_a_run_that_ends(shop):
    assert supervisor(shop, once=True).api_url is None


def test_turned_off_the_server_has_no_page(shop):
    made = supervisor(shop, "api: {console: false, port: 0}\n")
    made._api.start()
    try:
        assert httpx.get(made.api_url, trust_env=False).status_code == 404
        assert httpx.get(made.api_url + "/v1/overview", trust_env=False).status_code == 404
    finally:
        made._api.stop()


def test_beyond_this_machine_a_token_is_made_and_kept(shop):
    made = supervisor(shop, "api: {host: 0.0.0.0, port: 0}\n")
    path = shop.state / "api.token"
    token = path.read_text().strip()
    assert len(token) > 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shop.events("api.token") and token not in shop.log.getvalue()
    made._api.start()
    try:
        url = made.api_url + "/v1/overview"
        assert httpx.get(url, trust_env=False).status_code == 401
        answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        assert answer.status_code == 200
        assert httpx.get(made.api_url, trust_env=False).status_code == 200
    finally:
        made._api.stop()


def test_a_token_that_others_may_read_is_not_used(shop):
    from headwater.errors import UserError

    shop.state.mkdir()
    (shop.state / "api.token").write_text("x" * 43)
    (shop.state / "api.token").chmod(0o644)
    with pytest.raises(UserError, match="others may read"):
        supervisor(shop, "api: {host: 0.0.0.0, port: 0}\n")
