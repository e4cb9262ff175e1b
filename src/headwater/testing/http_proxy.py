"""An HTTP proxy on a free loopback port that does to requests what networks, gateways and loaded servers do.

It stands in front of one server (an S3 server, a REST catalog) and understands requests, so that a fault can hit one
kind of request and be placed before or after the server has acted on it: for tests of what is done about answers that
never came. `headwater.testing.proxy` is the one for any protocol.

| fault | what the client sees | what the server did |
|---|---|---|
| `reset`, `reset_after` | the connection is reset | nothing; all |
| `end`, `end_after` | the connection ends without an answer | nothing; all |
| `silence`, `silence_after` | nothing, until it gives up | nothing; all |
| `late` | nothing, until it gives up | all, when the next such request comes, before that one |
| `later` | nothing, until it gives up | all, when the next such request comes, after that one |
| `503`, `503_after` (any status) | that status | nothing; all |
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

SILENT_S = 30.0

_HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Request:
    """One request of a client, whole."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Fault:
    """What is to happen to the next requests of a kind.

    Attributes:
        method: of the requests.
        path: regular expression that their path must match somewhere.
        kind: see the table above.
        times: how many requests it hits.
        hits: how many it has hit.
    """

    method: str
    path: str
    kind: str
    times: int = 1
    hits: int = 0
    held: deque[Request] = field(default_factory=deque)

    def fits(self, request: Request) -> bool:
        """Whether a request is of the kind."""
        return request.method == self.method and re.search(self.path, request.path) is not None


class HttpProxy:
    """Listens and forwards to one server, one fault at a time.

    Args:
        port: the server's port on 127.0.0.1.
        silent_s: after so long a silent connection is ended, if the client has not given up by then.
    """

    def __init__(self, port: int, silent_s: float = SILENT_S) -> None:
        self._target = port
        self.silent_s = silent_s
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        self.closing = threading.Event()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def inject(self, fault: Fault | None) -> None:
        """Has a fault happen from now on, in place of the one before; None: no more."""
        with self._lock:
            self._fault = fault

    def meets(self, request: Request) -> tuple[str, list[Request]]:
        """The kind of fault that a request is to suffer, "" if none, and requests held back that are now due."""
        with self._lock:
            fault = self._fault
            if fault is None or not fault.fits(request):
                return "", []
            if fault.hits < fault.times:
                fault.hits += 1
                if fault.kind in ("late", "later"):
                    fault.held.append(request)
                return fault.kind, []
            due = list(fault.held)
            fault.held.clear()
            return (fault.kind if due and fault.kind == "later" else ""), due

    def forward(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer to a request: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=SILENT_S)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length"):
                    connection.putheader(name, value)
            if request.body or request.method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        """Ends everything."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)

    def __enter__(self) -> HttpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    owner: HttpProxy
    protocol_version = "HTTP/1.1"
    timeout = SILENT_S

    def handle(self) -> None:
        with contextlib.suppress(
            OSError, http.client.HTTPException
        ):  # either end may go at any moment: that is the job
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        request = Request(self.command, self.path, list(self.headers.items()), self._body())
        kind, due = self.owner.meets(request)
        if kind != "later":
            for held in due:
                self.owner.forward(held)
        if kind and not due:
            self._suffer(kind, request)
            return
        answer = self.owner.forward(request)
        for held in due if kind == "later" else ():
            self.owner.forward(held)
        self._answer(*answer)

    def _suffer(self, kind: str, request: Request) -> None:
        what, _, when = kind.partition("_")
        if when == "after":
            self.owner.forward(request)
        if what.isdigit():
            body = b'{"error": {"message": "injected", "type": "Injected", "code": %s}}' % what.encode()
            self._answer(int(what), [("Content-Type", "application/json")], body)
            return
        if what in ("silence", "late", "later"):
            self._await_leaving()
        if what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def _await_leaving(self) -> None:
        """Until the client has closed its end."""
        self.connection.settimeout(0.05)
        for _ in range(int(self.owner.silent_s / 0.05)):
            try:
                if self.owner.closing.is_set() or not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            if name.lower() not in _HOPS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve
