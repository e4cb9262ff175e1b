"""A real HTTP server on a free loopback port that remembers what it was sent and fails when it is told to.

It keeps documents: `PUT` and `POST` put one, `DELETE` removes one. What becomes of a request is decided by a function
of the test's; the connection itself is made to fail by `headwater.testing.http_proxy` in front of it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Received:
    """One request, whole.

    Attributes:
        method: in capital letters.
        path: as sent, with its query.
        headers: names in lower case.
        body: bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered.

    Attributes:
        status: HTTP status.
        headers: more headers, for instance `Retry-After`.
        body: bytes.
        kept: whether the request takes effect, whatever is answered.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    kept: bool = True


Decide = Callable[[Received], Reply]


def fine(request: Received) -> Reply:
    """All goes well."""
    return Reply()


class WebServer:
    """See above. Listens from when it is made.

    Args:
        decide: what becomes of a request; called by the server's threads.
        port: 0 for any that is free.

    Attributes:
        decide: may be replaced at any time.
        received: all requests, in the order in which they were answered.
        kept: those that took effect.
        documents: by path, the body put there last.
    """

    def __init__(self, decide: Decide = fine, port: int = 0) -> None:
        self.decide = decide
        self.received: list[Received] = []
        self.kept: list[Received] = []
        self.documents: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.port = port
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens again after `stop`, at the same port, with all that it had."""
        owner = self

        class Handler(_Handler):
            server_owner = owner

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is not reached any more. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    @property
    def listening(self) -> bool:
        """Whether it has not been stopped."""
        return self._server is not None

    def take(self, request: Received) -> Reply:
        """What becomes of a request."""
        reply = self.decide(request)
        with self._lock:
            self.received.append(request)
            if reply.kept and reply.status < 500:
                self.kept.append(request)
                if request.method == "DELETE":
                    self.documents.pop(request.path, None)
                else:
                    self.documents[request.path] = request.body
        return reply

    def __enter__(self) -> WebServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    """Says nothing when a client goes away: that is what some tests are about."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_owner: WebServer
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        if not self.server_owner.listening:
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client died before it had sent all of it
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server_owner.take(Received(self.command, self.path, headers, body))
        self.send_response_only(reply.status)
        self.send_header("Date", self.date_time_string())
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve
