"""/livez goes red for a thread that is stuck and not for one that waits on purpose; /readyz says who is away."""

import contextlib
import os
import threading

import httpx
import pytest
from scripted_project import Shop, inserts, wait_until

from headwater import failpoint
from headwater.console.health import health
from headwater.errors import SourceUnavailable
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor

STUCK_S = 0.5
HOLD = """
import headwater, os, pyarrow as pa

@headwater.udf(["VARCHAR"], "VARCHAR")
def held(words: pa.ChunkedArray) -> pa.ChunkedArray:
    with open({path!r}) as gate:
        gate.read()
    return words
"""
TOKEN = "canary-of-health"


class Away(SourceUnavailable):
    """A source that is not there."""


@pytest.fixture
def run(tmp_path):
    """Runs a shop with health paths that lose patience soon; gives the shop and a client."""
    shop, ending = Shop(tmp_path / "shop"), []

    def begin():
        text = (shop.folder / "headwater.yml").read_text()
        (shop.folder / "headwater.yml").write_text(text + f"api: {{port: 0, token: {TOKEN}}}\n")
        supervisor = Supervisor(
            shop.project, Journal(shop.log, as_json=True), sources={"shop": shop.source},
            extend=lambda running: [health(running, STUCK_S)],
        )  # fmt: skip
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        client = httpx.Client(base_url=supervisor.api_url, timeout=30, trust_env=False)
        ending.append((client, supervisor, thread))
        wait_until(lambda: client.get("/v1/health").status_code == 200, "the server")
        return client

    yield shop, begin
    for client, supervisor, thread in ending:
        client.close()
        supervisor.stop()
        thread.join(60)
        assert not thread.is_alive()


def trusted(client, path):
    """What is answered to who shows the token."""
    answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    return answer.status_code, answer.json()


def test_a_stuck_epoch_turns_it_red_and_green_again(run, tmp_path):
    shop, begin = run
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (shop.folder / "functions").mkdir()
    (shop.folder / "functions" / "own.py").write_text(HOLD.format(path=str(gate)))
    shop.model("shown", "SELECT id, held(status) AS status FROM orders")
    client = begin()
    shop.source.add(inserts(1, 1, 2))
    wait_until(lambda: client.get("/livez").status_code == 503, "red")
    status, told = trusted(client, "/livez")
    assert (status, [one["job"] for one in told["stuck"]]) == (503, ["epochs"])
    assert client.get("/livez").json() == {"status": "failed", "stuck": 1}  # no names without the token

    def opened():
        with contextlib.suppress(OSError), open(os.open(gate, os.O_WRONLY | os.O_NONBLOCK), "w") as writer:
            writer.write("go")
        return client.get("/livez").status_code == 200

    wait_until(opened, "green")


def test_who_waits_on_purpose_leaves_it_green(run, monkeypatch):
    shop, begin = run
    shop.source.add(inserts(1, 1))
    client = begin()
    wait_until(lambda: client.get("/readyz").status_code == 200, "everything connected")
    monkeypatch.setattr(failpoint, "_ARMED", "epoch.done.before:1:enospc")
    shop.source.add(inserts(2, 2))

    def away():
        return {one["job"] for one in trusted(client, "/readyz")[1]["not_connected"]}

    wait_until(lambda: "epochs" in away(), "the epochs waiting for space")

    def both_away():
        shop.source.add(Away("the server does not answer"))
        return away() >= {"epochs", "source:shop"}

    wait_until(both_away, "both waiting")
    told = trusted(client, "/readyz")[1]["not_connected"]
    assert any("the server does not answer" in one["error"] for one in told)
    assert client.get("/readyz").json() == {"status": "failed", "not_connected": 2}
    ends = shop.status()["written_us"] + 6 * STUCK_S * 1e6
    while shop.status()["written_us"] < ends:
        assert client.get("/livez").status_code == 200
        shop.source.add(Away("the server does not answer"))
