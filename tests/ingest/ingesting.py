"""A running project that is sent to: no other server, everything as `headwater run` has it, in a thread."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pyiceberg.catalog.sql import SqlCatalog

from headwater.clock import SystemClock
from headwater.project import load
from headwater.quality.rejects import Reject
from headwater.runtime.journal import Journal
from headwater.runtime.state_store import StateStore
from headwater.runtime.supervisor import Supervisor

DEADLINE_S = 60.0
READING = (
    '{"type": "record", "name": "reading", "fields": '
    '[{"name": "sensor", "type": "string"}, {"name": "value", "type": "double"}]}'
)
PROJECT = """
name: shop
api: {{port: 0}}
sources:
  web:
    type: http
{source}
    streams:
      orders:
        key: [id]
        columns: {{id: BIGINT, amount: 'DECIMAL(10,2)'}}
      events:
      readings:
        format: {{type: avro, framing: none, schema: '{avro}'}}
run: {{epoch_interval: 20 ms, checkpoint_interval: 200 ms}}
"""


class Web:
    """A project folder with an HTTP source; run it as often as you like."""

    def __init__(self, folder: Path, source: str = "", project: str = PROJECT) -> None:
        self.folder = folder
        (folder / "models").mkdir(parents=True, exist_ok=True)
        (folder / "headwater.yml").write_text(project.format(source=source, avro=READING))
        self.log = io.StringIO()
        self.client = httpx.Client(trust_env=False)

    def model(self, name: str, text: str) -> None:
        """Writes a model."""
        (self.folder / "models" / f"{name}.sql").write_text(text)

    @contextmanager
    def running(self, **headers: str) -> Iterator[Supervisor]:
        """Runs in a thread; stops at the end, and raises what stopped it before. The client sends these headers."""
        supervisor = Supervisor(load(self.folder, environment={}), Journal(self.log, as_json=True))
        ended: list[Exception | None] = []
        thread = threading.Thread(target=lambda: ended.append(supervisor.run()))
        thread.start()
        self.client = httpx.Client(
            base_url=supervisor.api_url or "", trust_env=False, timeout=DEADLINE_S, headers=headers
        )
        try:
            wait_until(lambda: self.client.post("/v1/streams/events", json=[]).status_code == 202)
            yield supervisor
        finally:
            self.client.close()
            supervisor.stop()
            thread.join(DEADLINE_S)
        assert not thread.is_alive()
        if ended[0] is not None:
            raise ended[0]

    def post(self, stream: str, content: bytes, kind: str = "application/x-ndjson", **headers: str) -> httpx.Response:
        """Sends a body; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/v1/streams/{stream}", content=content, headers={"Content-Type": kind, **named})

    def land(self, answer: httpx.Response, table: str) -> httpx.Response:
        """Waits until what was answered is visible."""
        assert answer.status_code == 202, answer.text
        return self.client.get(f"/v1/completions/{answer.json()['token']}", params={"table": table, "timeout": 30})

    def rows(self, table: str) -> list[dict[str, object]]:
        """A table's rows without what says when they came, read by PyIceberg alone, in an order."""
        catalog = SqlCatalog("headwater", uri=f"sqlite:///{self.folder}/lake/catalog.db", init_catalog_tables="false")
        try:
            found = catalog.load_table(("shop", table)).scan().to_arrow().to_pylist()
        finally:
            catalog.engine.dispose()
        for row in found:
            row.pop("_timestamp", None)
        return sorted(found, key=lambda row: json.dumps(row, default=str))

    def rejects(self) -> list[Reject]:
        """The ledger's open entries."""
        store = StateStore(self.folder / ".headwater")
        try:
            return list(store.ledger.entries())
        finally:
            store.close()

    def status(self) -> dict[str, object]:
        """The status as written."""
        return json.loads((self.folder / ".headwater" / "status.json").read_text())  # type: ignore[no-any-return]


def wait_until(condition, deadline_s: float = DEADLINE_S) -> None:  # type: ignore[no-untyped-def]
    """Waits until the condition holds."""
    clock = SystemClock()
    end = clock.monotonic_s() + deadline_s
    while not condition():
        assert clock.monotonic_s() < end, "waited in vain"
        clock.wait(threading.Event(), 0.01)


def lines(*rows: object) -> bytes:
    """Rows as NDJSON."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
