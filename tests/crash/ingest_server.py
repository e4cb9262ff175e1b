"""Clients that send to a project by HTTP until they are told that it has what they sent; and an API that it calls.

Each client sends a request again, under the same `Idempotency-Key`, until it is answered 202. What was answered must be
in the lake once. What was not answered when the clients went home may be there once, or not at all.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
from tests.crash.evidence import (
    BROKEN,
    DOUBLED,
    LOST,
    SOURCE,
    Fault,
    faults_in_itself,
    read_log,
    snapshot_faults,
    whole_log,
)

from headwater.clock import SystemClock
from headwater.demo.child import Status
from headwater.demo.example import URL_VARIABLE
from headwater.demo.outside import IcebergFolder
from headwater.demo.verify import accounting_mismatches
from headwater.project import load
from headwater.testing.leash import free_port
from headwater.testing.web_server import WebServer

PROJECT = """
name: web
api: {port: %s}
sources:
  %s:
    type: http
    streams:
      events:
        columns: {client: BIGINT, n: BIGINT}
syncs:
  out:
    type: http
    model: seen
    url: %s/seen
    allow_private: true
"""
MODELS = {
    "seen": "SELECT client, n FROM events",
    "by_client": "/*\nkey: [client]\n*/\nSELECT client, count(*) AS records, sum(n) AS total FROM events GROUP BY 1",
}
CLIENTS = 6
MOST = 5
ANSWER_S = 5.0
AGAIN_S = 0.01
JOIN_S = 90.0
Record = tuple[int, int]


class IngestServer:
    """Ports and clients. See `case.Scene`."""

    everything = "*"

    def __init__(self) -> None:
        self._api = WebServer()
        self._clients: Clients | None = None

    def open(self, name: str) -> str:
        """See `Scene.open`."""
        self._api.stop()
        self._api = WebServer()
        return f"http://127.0.0.1:{free_port()}"

    def prepare(self, folder: Path, settings: str) -> None:
        """See `Scene.prepare`."""
        assert self._clients is not None
        (folder / "models").mkdir(parents=True)
        port = self._clients.url.rpartition(":")[2]
        (folder / "headwater.yml").write_text(PROJECT % (port, SOURCE, self._api.url) + settings, encoding="utf-8")
        for name, text in MODELS.items():
            (folder / "models" / f"{name}.sql").write_text(text, encoding="utf-8")

    def traffic(self, url: str, rate: float, seed: int) -> Clients:
        """See `Scene.traffic`."""
        self._clients = Clients(url, rate, seed)
        return self._clients

    def written(self, name: str) -> dict[int, int]:
        """Records by client."""
        assert self._clients is not None
        return dict(Counter(client for client, _ in self._clients.answered))

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """See `Scene.judge`."""
        assert self._clients is not None
        project = load(folder, environment={URL_VARIABLE: url})
        faults = [Fault(BROKEN, sentence) for sentence in accounting_mismatches(status)]
        if status.get("accounting") is not True or status.get("error"):
            faults.append(Fault(BROKEN, f"the status says {status.get('accounting')}, {status.get('error')}"))
        faults += whole_log(project.state)
        faults += faults_in_itself(read_log(project.state))
        faults += list(snapshot_faults(project))
        lake = IcebergFolder(folder / "lake", "web")
        rows = [(row["client"], row["n"]) for row in lake.rows("events").to_pylist()]
        totals = {row["client"]: (row["records"], row["total"]) for row in lake.rows("by_client").to_pylist()}
        lake.close()
        faults += _against(rows, self._clients.answered, self._clients.unanswered)
        sums = {client: [n for other, n in rows if other == client] for client, _ in rows}
        if totals != {client: (len(found), sum(found)) for client, found in sums.items()}:
            faults.append(Fault(BROKEN, "the model is not what the stream's rows come to"))
        return faults + _deliveries(self._api, rows)

    def drop(self, name: str) -> None:
        """There is nothing to remove."""

    def stop(self) -> None:
        """See `Scene.stop`."""
        self._api.stop()


class Clients:
    """Send until stopped.

    Attributes:
        url: where to.
        answered: records of requests that were answered 202.
        unanswered: records of those that were not when the clients went home.
    """

    def __init__(self, url: str, rate: float, seed: int) -> None:
        self.url = url
        self.answered: list[Record] = []
        self.unanswered: list[Record] = []
        self._lock, self._stopping, self._complaint = threading.Lock(), threading.Event(), ""
        self._threads = [
            threading.Thread(
                target=self._client, args=(number, CLIENTS / rate, random.Random(seed + number)), daemon=True
            )
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> str:
        """See `Traffic.stop`."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(JOIN_S)
        return self._complaint or ("it does not end" if any(thread.is_alive() for thread in self._threads) else "")

    def kill(self) -> None:
        """See `Traffic.kill`."""
        self.stop()

    def _client(self, number: int, pause_s: float, chance: random.Random) -> None:
        clock, at = SystemClock(), 0
        with httpx.Client(trust_env=False, timeout=ANSWER_S) as client:
            while not clock.wait(self._stopping, chance.uniform(0, 2 * pause_s)):
                records = [(number, at + step) for step in range(chance.randint(1, MOST))]
                at += len(records)
                taken = self._send(client, records, clock)
                with self._lock:
                    (self.answered if taken else self.unanswered).extend(records)

    def _send(self, client: httpx.Client, records: list[Record], clock: SystemClock) -> bool:
        """Sends records until they are taken; whether they were before the end."""
        key = str(uuid.uuid4())
        body = b"".join(json.dumps({"client": client, "n": n}).encode() + b"\n" for client, n in records)
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
        while not self._stopping.is_set():
            try:
                answer = client.post(f"{self.url}/v1/streams/events", content=body, headers=headers)
            except httpx.TransportError:
                clock.wait(self._stopping, AGAIN_S)
                continue
            if answer.status_code == 202:
                return True
            if answer.status_code not in (500, 503):  # 500: the stop of the process ended the handler
                self._complaint = f"{answer.status_code}: {answer.text}"
                return False
            clock.wait(self._stopping, AGAIN_S)
        return False


def _against(rows: list[Record], answered: list[Record], unanswered: list[Record]) -> list[Fault]:
    counts, faults = Counter(rows), []
    lost = [record for record in answered if record not in counts]
    twice = [record for record, count in counts.items() if count > 1]
    invented = set(counts) - set(answered) - set(unanswered)
    if lost:
        faults.append(Fault(LOST, f"events: {len(lost)} of {len(answered)} answered records are missing: {lost[:3]}"))
    if twice:
        faults.append(Fault(DOUBLED, f"events: {len(twice)} records are there twice: {twice[:3]}"))
    if invented:
        faults.append(Fault(DOUBLED, f"events: {len(invented)} records nobody sent: {list(invented)[:3]}"))
    return faults


def _deliveries(api: WebServer, rows: list[Record]) -> list[Fault]:
    """Every row was delivered, and a row that came twice came under the same key."""
    keys: dict[Record, set[str]] = {}
    for request in api.kept:
        row = json.loads(request.body)
        keys.setdefault((row["client"], row["n"]), set()).add(request.headers["idempotency-key"])
    faults = []
    missing, other = set(rows) - set(keys), [record for record, found in keys.items() if len(found) > 1]
    if missing:
        faults.append(Fault(LOST, f"sync out: {len(missing)} rows were not delivered: {list(missing)[:3]}"))
    if other:
        faults.append(Fault(DOUBLED, f"sync out: {len(other)} rows came under several keys: {other[:3]}"))
    return faults
