"""A real `headwater run` that takes records in all the time, while others mean it no good. After every attack records
still come in, epochs go on, and the process is no larger than before."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from headwater.clock import SystemClock

DEADLINE_S = 60.0
CANARY = "canary-that-no-answer-may-show"
MOST_GROWTH = 256 << 20
"""Bytes that the process may grow by over all attacks together."""

PROJECT = """
name: shop
api: {port: 0, head_timeout_s: 2, body_timeout_s: 2, sql: {timeout_s: 2, memory: 768 MiB}}
sources:
  web:
    type: http
    max_body: 1 MiB
    streams:
      orders: {key: [id], columns: {id: BIGINT, amount: BIGINT}}
run: {epoch_interval: 50 ms}
"""


def wait_until(condition, what):
    """Waits until a condition holds."""
    clock = SystemClock()
    end = clock.monotonic_s() + DEADLINE_S
    while not condition():
        assert clock.monotonic_s() < end, f"waited in vain for {what}"
        clock.wait(threading.Event(), 0.02)


class Attacked:
    """A running project, and who feeds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        (self.folder / "models").mkdir(parents=True)
        (self.folder / "headwater.yml").write_text(PROJECT)
        (self.folder / "models" / "totals.sql").write_text("SELECT count(*) AS n, sum(amount) AS total FROM orders")
        self.secret = folder / "secret.csv"
        self.secret.write_text(f"a,b\n{CANARY},1\n")
        self._log = (folder / "log").open("w+")
        environment = {**os.environ, "HEADWATER_CANARY": CANARY}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.app", "run", str(self.folder), "--json-log"],
            stdout=subprocess.DEVNULL, stderr=self._log, env=environment,
        )  # fmt: skip
        self.url = ""
        wait_until(self._listens, "the server")
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_S, trust_env=False)
        self.taken, self.failed = 0, list[str]()
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log
        found = re.search(r'"url": ?"(http://[^"]+)"', self.log)
        self.url = found[1] if found else ""
        return bool(found)

    @property
    def log(self) -> str:
        """What the process told."""
        return Path(self._log.name).read_text()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def start(self) -> None:
        """Begins to feed it, and makes it as large as it will be when all is well."""
        self._feeder.start()
        wait_until(lambda: self.taken > 20, "the first records")
        wait_until(lambda: self.sql("SELECT * FROM totals").status_code == 200, "the first table")
        self.rss_before = self.rss()

    def _feed(self) -> None:
        clock = SystemClock()
        with httpx.Client(base_url=self.url, timeout=DEADLINE_S, trust_env=False) as http:
            while not clock.wait(self._stop, 0.01):
                records = [{"id": self.taken * 10 + at, "amount": 1} for at in range(10)]
                answer = http.post("/v1/streams/orders", json=records)
                if answer.status_code != 202:
                    self.failed.append(answer.text)
                    return
                self.taken += 1

    def sql(self, sql: str, path: str = "/v1/sql") -> httpx.Response:
        """Asks."""
        return self.http.post(path, json={"sql": sql})

    def epoch(self) -> int:
        """How far it is."""
        return int(json.loads((self.folder / ".headwater" / "status.json").read_text())["epoch"])

    def rss(self) -> int:
        """Bytes of memory that the process itself has."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) << 10

    def children(self) -> set[int]:
        """Processes below it, and below those."""
        found, waiting = set[int](), [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                below += [
                    child
                    for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()
                ]
            except OSError:
                continue
            new = {int(one) for one in below} - found
            found |= new
            waiting += new
        return found

    def require_unharmed(self) -> None:
        """Records come in, epochs go on, and it is no larger than it may be."""
        taken, epoch = self.taken, self.epoch()
        wait_until(lambda: self.failed or self.taken > taken + 2, "records to be taken")
        assert self.failed == []
        wait_until(lambda: self.epoch() > epoch + 1, "epochs to go on")
        assert self.rss() < self.rss_before + MOST_GROWTH, (self.rss() >> 20, self.rss_before >> 20)
        assert CANARY not in self.log

    def stop(self) -> None:
        """Stops it gracefully; every record that it took is in its table, and its account is sound."""
        self._stop.set()
        self._feeder.join(DEADLINE_S)
        children = self.children()
        taken = self.taken * 10
        wait_until(lambda: self.sql("SELECT n FROM totals").json().get("rows") == [[taken]], "all records to land")
        status = json.loads((self.folder / ".headwater" / "status.json").read_text())
        self.http.close()
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0, self.log
        assert status["accounting"] is True, status
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "its processes to end")


def refused(answer: httpx.Response, *statuses: int) -> dict[str, object]:
    """The problem that a request was answered with."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    return answer.json()  # type: ignore[no-any-return]
