"""The contract suite of sources on a client that sends one request after the other, each until it is answered."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError
from pathlib import Path

import pytest

from headwater.capture.http.door import Full
from headwater.capture.http.forms import JSON, ContentType, cut
from headwater.capture.http.routes import as_messages
from headwater.capture.http.settings import HttpSettings
from headwater.capture.http.source import HttpSource
from headwater.capture.http.submission import NotTaken, Submission, fingerprint
from headwater.clock import SystemClock
from headwater.registry.store import SchemaStore
from headwater.testing.source_contract import SourceContract

NDJSON = ContentType.of("application/x-ndjson")


class ClientPeer:
    """A client: the system behind an HTTP source is whoever sends to it."""

    exactly_once, stoppable = True, False

    def __init__(self, folder: Path) -> None:
        self._folder, self._schemas = folder, SchemaStore(folder)
        self._todo: queue.Queue[bytes] = queue.Queue()
        self._doors = [self.source().door]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def source(self, kind: str = "BIGINT") -> HttpSource:
        settings = HttpSettings.model_validate({"streams": {"numbers": {"columns": {"n": kind}}}})
        made = HttpSource("web", settings, project="shop", identity="a", clock=SystemClock())
        made.scratch = self._folder
        made.schemas = self._schemas if kind == "BIGINT" else None
        if kind == "BIGINT":
            self._doors = [made.door]
        return made

    def mended(self) -> HttpSource:
        return self.source("VARCHAR")

    def publish(self, values: Sequence[object]) -> None:
        if values:
            self._todo.put("\n".join(json.dumps({"n": value}) for value in values).encode())

    def _send(self) -> None:
        for number in itertools.count():
            body = self._next()
            while body is not None and not self._ended.is_set() and not self._taken(body, str(number)):
                self._ended.wait(0.005)
            if body is None:
                return

    def _next(self) -> bytes | None:
        while not self._ended.is_set():
            try:
                return self._todo.get(timeout=0.05)
            except queue.Empty:
                continue
        return None

    def _taken(self, body: bytes, key: str) -> bool:
        messages = as_messages("numbers", cut(NDJSON, {}, body), 0)
        mark = fingerprint("numbers", "application/x-ndjson", body)
        submission = Submission("numbers", JSON, messages, messages.nbytes, key, mark)
        try:
            self._doors[-1].offer(submission)
            while not self._ended.is_set():
                try:
                    submission.answer.result(0.05)
                    return True
                except TimeoutError:
                    continue
        except (Full, NotTaken):
            pass
        return False

    def stop(self) -> None:
        """Clients are many."""

    start = stop

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._schemas.close()


class TestContract(SourceContract):
    @pytest.fixture
    def peer(self, tmp_path: Path) -> Iterator[ClientPeer]:
        peer = ClientPeer(tmp_path)
        yield peer
        peer.close()
