"""NDJSON sent by clients of another process to an HTTP source, until all of it was answered: decoded, in the log, and
synced to the disk. Processor time is the server's alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any

from headwater.api.server import ApiServer
from headwater.api.settings import ApiSettings
from headwater.bench.child import measure as in_child
from headwater.bench.ingest.sources import finding
from headwater.bench.stopwatch import Stopwatch
from headwater.capture.http.settings import HttpSettings
from headwater.capture.http.source import HttpSource
from headwater.clock import SystemClock
from headwater.errors import InvariantBroken
from headwater.registry.store import SchemaStore
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.journal import Journal

LIMIT_S = 300.0
READY = "ready\n"
"""What the clients say when they could send: how long they take to start and to make what they send is not measured."""
SHAPES = (("10,000 a request", 10_000, 4, False), ("10,000 a request, keys", 10_000, 4, True),
          ("100 a request, keys", 100, 16, True))  # fmt: skip
"""What is measured: records of a request, clients, and whether requests have idempotency keys."""


def measure(records: int, tell: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """See `headwater.bench.ingest.sources.Measure`."""
    found = []
    for what, each, clients, keys in SHAPES:
        share = records if each > 1000 else max(records // 10, each * clients)
        one = in_child(f"{__name__}:serve", {"records": share, "each": each, "clients": clients, "keys": keys}, LIMIT_S)
        found.append({**one, "what": f"ndjson, {what}"})
        tell(found[-1])
    return found


def serve(records: int, each: int, clients: int, keys: bool) -> dict[str, Any]:
    """Serves clients of a process of their own."""
    clock, journal = SystemClock(), Journal(io.StringIO(), as_json=True)
    with tempfile.TemporaryDirectory() as folder:
        source = HttpSource(
            "web", HttpSettings.model_validate({"streams": {"orders": {}}}), project="bench", identity="", clock=clock
        )
        source.scratch, source.schemas = Path(folder), SchemaStore(Path(folder))
        partitions = Partitions(Path(folder) / "log", journal, clock, 64 << 20)
        partitions.open("web")
        job = CaptureJob(source, partitions, journal, clock)
        server = ApiServer(ApiSettings.model_validate({"port": 0}), [source.service()])
        job.start()
        server.start()
        try:
            send = [server.port, clients, int(keys), each]
            with _clients([*send, max(each * clients, 20_000)]) as go:
                go()  # what is compiled is compiled
            watch = Stopwatch(clock)
            with _clients([*send, records]) as go:
                before = partitions["web"].head
                with watch:
                    go()
            stored = partitions["web"].head - before
        finally:
            server.stop()
            job.stop()
            job.join()
            source.schemas.close()
            partitions.close()
    if stored < records:
        raise InvariantBroken(f"{records} records were sent and {stored} are in the log")
    return finding("", stored, watch.seconds, watch.cpu_s)


@contextmanager
def _clients(arguments: list[int]) -> Iterator[Callable[[], None]]:
    """Clients that have their requests ready; what is given lets them send all, and comes back when all is answered.

    Args:
        arguments: port, clients, keys, records of a request, records.
    """
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        said, given = process.stdout, process.stdin
        if said.readline() != READY:
            raise InvariantBroken("the clients did not come to send anything")

        def go() -> None:
            given.close()
            process.wait(LIMIT_S)

        yield go
    if process.returncode:
        raise InvariantBroken("a request was refused: see above")


def send(port: int, clients: int, keys: bool, each: int, records: int) -> None:
    """What the clients' process does."""
    body = b"".join(islice(_orders(), each))
    share = -(-records // (each * clients))
    failed: list[str] = []

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        for _ in range(share):
            headers = {
                "Content-Type": "application/x-ndjson",
                **({"Idempotency-Key": str(uuid.uuid4())} if keys else {}),
            }
            while True:
                connection.request("POST", "/v1/streams/orders", body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 503:  # told to come later
                    break
            if answer.status != 202 or json.loads(said)["accepted"] != each:
                failed.append(f"{answer.status}: {said[:300]!r}")
                return

    threads = [threading.Thread(target=client) for _ in range(clients)]
    sys.stdout.write(READY)
    sys.stdout.flush()
    sys.stdin.read()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(failed[0])


def _orders() -> Iterator[bytes]:
    """Orders as lines, those of the Kafka bench."""
    from headwater.bench.ingest.kafka import orders

    return (json.dumps(order, default=str, separators=(",", ":")).encode() + b"\n" for order in orders(1 << 30))


if __name__ == "__main__":
    port, clients, keys, each, records = map(int, sys.argv[1:])
    send(port, clients, bool(keys), each, records)
