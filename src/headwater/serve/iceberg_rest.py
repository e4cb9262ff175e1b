"""`headwater catalog serve`: the lake's catalog over the Iceberg REST protocol, in a small server of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from headwater.errors import UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.rest_answers import LOOPBACK, Answer, CatalogReader


class CatalogServer:
    """Serves a `CatalogReader` by HTTP from threads of its own, until closed.

    Args:
        lake: opened for reading.
        host: address to listen on.
        port: 0 for a free one.
        token: what requests must bear.

    Raises:
        UserError: the address is not loopback and there is no token, or it cannot be listened on.
    """

    def __init__(self, lake: IcebergLake, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        if host not in LOOPBACK and not token:
            raise UserError(
                f"{host} can be reached by others: the catalog needs a token there",
                hint="set HEADWATER_CATALOG_TOKEN, or listen on 127.0.0.1",
            )
        reader = CatalogReader(lake, LOOPBACK if host in LOOPBACK else None, token)

        class Handler(_Handler):
            answer = staticmethod(reader.answer)

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port}: {error.strerror}", hint="give another --port") from error
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="iceberg-rest", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits until the server ends."""
        self._thread.join()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    answer: Callable[[str, str, Mapping[str, str]], Answer]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "headwater", ""
    timeout = 30.0

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: requests may bear tokens."""

    def _serve(self) -> None:
        named = {name.lower(): value for name, value in self.headers.items()}
        answer = self.answer(self.command, self.path, named)
        body = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(body)))
        if self.command not in ("GET", "HEAD"):  # a body that nobody reads would be taken for the next request
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve
