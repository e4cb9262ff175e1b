"""A TCP proxy on a free loopback port that does to connections what networks do: for tests of capture and delivery.

It forwards bytes as they come and understands none of them, so that it works for any protocol, TLS included. Faults are
switched on and off while connections are open:

| call | what the two ends see |
|---|---|
| `latency(s)` | every piece of data comes so much later, each way |
| `down()`, `up()` | open connections end and new ones are refused, until up |
| `freeze()`, `thaw()` | half-open: both ends stay connected, nothing comes through, until thawed |
| `reset()` | all open connections are reset (RST) at once |
| `reset_after(n)` | each open connection is reset once n more bytes have come from the server: in mid-message |
| `slow_close(s)` | the end of a connection reaches the other side so much later |
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from types import TracebackType

CHUNK = 16 * 1024
HELD = 4096
"""Pieces held back at most, as on a real way only so much is under way."""

STEP_S = 0.05
"""How long a pump waits at most before it looks at the faults again."""


class Proxy:
    """Listens and forwards to one server.

    Args:
        port: the server's port.
        host: the server's host.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._thawed = threading.Event()
        self._thawed.set()
        self._closing = threading.Event()
        self._up = True
        self.latency_s = 0.0
        self.slow_close_s = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name=f"proxy:{self.port}", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return sum(not link.ended.is_set() for link in self._links)

    def latency(self, seconds: float) -> None:
        """Delays every piece of data from now on."""
        self.latency_s = seconds

    def slow_close(self, seconds: float) -> None:
        """Delays the end of connections from now on."""
        self.slow_close_s = seconds

    def down(self) -> None:
        """Ends open connections and refuses new ones."""
        self._up = False
        self._end(reset=False)

    def up(self) -> None:
        """Takes connections again."""
        self._up = True

    def freeze(self) -> None:
        """Holds all data back."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Lets data through again, also what was held back."""
        self._thawed.set()

    def reset(self) -> None:
        """Resets open connections."""
        self._end(reset=True)

    def reset_after(self, count: int) -> None:
        """Resets each open connection after `count` more bytes from the server."""
        with self._lock:
            for link in self._links:
                link.bytes_left = count

    def close(self) -> None:
        """Ends everything."""
        self._closing.set()
        self._thawed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end(reset=False)
        self._thread.join(60)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, *, reset: bool) -> None:
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.end(reset=reset)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 5) if self._up else None
            except OSError:
                server = None
            if server is None:
                _reset(client)
                continue
            link = _Link(client, server)
            with self._lock:
                self._links.append(link)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(link, source, target), daemon=True).start()

    def _pump(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        """Forwards one way until either end is gone. What came waits in order until it is due; b"" is the end."""
        waiting: deque[tuple[float, bytes]] = deque()
        while not link.ended.is_set():
            now = time.monotonic()
            if waiting and waiting[0][0] <= now and self._thawed.is_set():
                data = waiting.popleft()[1]
                if not data or not self._pass(link, data, target, from_server=source is link.server):
                    break
            elif (waiting and not waiting[-1][1]) or len(waiting) >= HELD:
                link.ended.wait(min(STEP_S, max(0.001, waiting[0][0] - now)))
            else:
                self._take(source, waiting, now)
        link.end(reset=link.bytes_left == 0)

    def _take(self, source: socket.socket, waiting: deque[tuple[float, bytes]], now: float) -> None:
        """Waits for data until the next piece that was held back is due."""
        try:
            source.settimeout(max(0.001, min(STEP_S, waiting[0][0] - now)) if waiting else STEP_S)
            data = source.recv(CHUNK)
        except TimeoutError:
            return
        except OSError:
            data = b""
        waiting.append((time.monotonic() + (self.latency_s if data else self.slow_close_s), data))

    def _pass(self, link: _Link, data: bytes, target: socket.socket, *, from_server: bool) -> bool:
        """Hands data over; False when the connection has come to its end."""
        if from_server and link.bytes_left is not None:
            data = data[: link.bytes_left]
            link.bytes_left -= len(data)
        try:
            target.sendall(data)
        except OSError:
            return False
        return link.bytes_left != 0


class _Link:
    """One connection through the proxy: the client's socket and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.ended = threading.Event()
        self.bytes_left: int | None = None

    def end(self, *, reset: bool) -> None:
        """Ends both sides, once."""
        if self.ended.is_set():
            return
        self.ended.set()
        for side in (self.client, self.server):
            _reset(side) if reset else _close(side)


def _close(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()


def _reset(side: socket.socket) -> None:
    """Closes with a RST instead of a FIN: lingering for no time."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()
