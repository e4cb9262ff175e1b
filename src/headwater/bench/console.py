"""What a load of queries costs ingestion: a file is taken in at full rate, beside the same with clients that ask the
console's API without a pause.

Rounds of both alternate, so that what else the machine does falls on both, and the medians are compared. The records
are made by a rule, the same on every machine.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError

QUERIES = (
    "SELECT count(*), sum(amount) FROM orders",
    "SELECT * FROM totals ORDER BY total DESC LIMIT 100",
    "SELECT status, avg(amount) FROM orders WHERE id % 7 = 3 GROUP BY status",
    "SELECT id, amount FROM orders ORDER BY amount DESC, id LIMIT 10",
)
LIMIT_S = 300.0
_STATUSES = ("new", "paid", "packed", "sent", "returned")
_PROJECT = """
name: bench
api: {port: 0}
sources:
  disk:
    type: files
    files:
      orders:
        paths: orders.ndjson
        format: json
        columns: {id: BIGINT, customer: BIGINT, status: VARCHAR, amount: BIGINT}
"""
_MODEL = "SELECT status, count(*) AS n, sum(amount) AS total FROM orders GROUP BY status"


def console(records: int, clients: int, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Takes in the file `rounds` times without and with clients.

    Args:
        records: in the file.
        clients: that ask one query after the other.
        rounds: of each kind.
        tell: takes a line for each round.

    Returns:
        records_per_s of both kinds (medians), `slower` (0.1: a tenth), and of the queries their number per second,
        p50_ms and p99_ms, and how many were refused.

    Raises:
        HeadwaterError: the records did not come through.
    """
    alone: list[float] = []
    beside: list[float] = []
    took_ms: list[float] = []
    refused, asked_s = 0, 0.0
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
        file = Path(name) / "orders.ndjson"
        write_orders(file, records)
        for number in range(2 * rounds):
            load = Load(clients if number % 2 else 0)
            seconds = _round(Path(name) / f"run{number}", file, records, load)
            (beside if number % 2 else alone).append(records / seconds)
            tell(f"{'with clients' if number % 2 else 'alone'}: {records / seconds:,.0f} records/s")
            took_ms += load.took_ms
            refused += load.refused
            asked_s += seconds if number % 2 else 0.0
    rates = statistics.median(alone), statistics.median(beside)
    ordered = sorted(took_ms) or [0.0]
    return {
        "records": records, "clients": clients, "rounds": rounds, "records_per_s_alone": rates[0],
        "records_per_s_with_clients": rates[1], "slower": 1 - rates[1] / rates[0],
        "queries_per_s": len(took_ms) / asked_s if asked_s else 0.0, "query_p50_ms": ordered[len(ordered) // 2],
        "query_p99_ms": ordered[int(len(ordered) * 0.99)], "refused": refused, "cores": os.cpu_count(),
        "rates_alone": alone, "rates_with_clients": beside,
    }  # fmt: skip


def write_orders(file: Path, records: int) -> None:
    """The input: a line for each order."""
    with file.open("w", encoding="utf-8") as out:
        for first in range(0, records, 10_000):
            out.writelines(
                f'{{"id": {at}, "customer": {at * 7919 % 100_003}, "status": "{_STATUSES[at * 31 % 5]}", '
                f'"amount": {at * 104_729 % 10_007}}}\n'
                for at in range(first, min(first + 10_000, records))
            )


class Load:
    """Clients that ask without a pause.

    Args:
        clients: how many; 0 for none.
    """

    def __init__(self, clients: int) -> None:
        self.took_ms: list[float] = []
        self.refused = 0
        self._clients = clients

    @contextmanager
    def on(self, url: str) -> Iterator[None]:
        """Asks for as long as it is entered."""
        stop, clock = threading.Event(), SystemClock()
        threads = [threading.Thread(target=self._ask, args=(url, at, stop, clock)) for at in range(self._clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, url: str, number: int, stop: threading.Event, clock: Clock) -> None:
        with httpx.Client(base_url=url, timeout=LIMIT_S, trust_env=False) as http:
            while not stop.is_set():
                number += 1
                began = clock.monotonic_s()
                answer = http.post("/v1/sql", json={"sql": QUERIES[number % len(QUERIES)]})
                self.took_ms.append((clock.monotonic_s() - began) * 1000)
                self.refused += answer.status_code != 200


def _round(folder: Path, file: Path, records: int, load: Load) -> float:
    """Seconds from the first records to the last, of a project that begins anew."""
    (folder / "models").mkdir(parents=True)
    (folder / "headwater.yml").write_text(_PROJECT, encoding="utf-8")
    (folder / "models" / "totals.sql").write_text(_MODEL, encoding="utf-8")
    clock, never = SystemClock(), threading.Event()
    log = folder / "log"
    with log.open("w") as told:
        run = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.app", "run", str(folder), "--json-log"],
            stdout=subprocess.DEVNULL, stderr=told,
        )  # fmt: skip
    try:
        url = _await(clock, lambda: re.search(r'"url": ?"(http://[^"]+)"', log.read_text(encoding="utf-8")))[1]
        httpx.post(f"{url}/v1/sql", json={"sql": "SELECT 1"}, timeout=LIMIT_S, trust_env=False)  # the keeper is warm
        with load.on(url):
            began = clock.monotonic_s()
            os.link(file, folder / "orders.ndjson")
            while _landed(folder) < records:
                if clock.monotonic_s() - began > LIMIT_S or run.poll() is not None:
                    raise HeadwaterError("the records do not come through", hint=f"see {log}")
                clock.wait(never, 0.02)
            return clock.monotonic_s() - began
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(LIMIT_S)


def _landed(folder: Path) -> int:
    try:
        status = json.loads((folder / ".headwater" / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    return sum(int(stream["landed"]) for source in status["sources"] for stream in source["streams"])


def _await(clock: Clock, condition: Callable[[], Any]) -> Any:
    end, never = clock.monotonic_s() + LIMIT_S, threading.Event()
    while not (found := condition()):
        if clock.monotonic_s() > end:
            raise HeadwaterError("the project does not start", hint="headwater run says why")
        clock.wait(never, 0.05)
    return found
