"""A real Redis, started from Debian's package in a folder of one's own on a free loopback port.

Used by tests; never a mock. The server belongs to whoever started it and ends with it. Debian 12 has Redis 7.0.15.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from headwater.errors import DestinationUnavailable
from headwater.testing.debian import REDIS, ensure
from headwater.testing.leash import Leash, free_port

if TYPE_CHECKING:
    import redis

START_DEADLINE_S = 20.0


class RedisServer:
    """One server in `folder` (made if it is not there), listening on 127.0.0.1; every write is in its file at once.

    Args:
        folder: where its append-only file lives; None makes a temporary folder that `stop` removes.
        settings: options on top.
    """

    def __init__(self, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-redis-"))
        self.settings = {"appendonly": "yes", "appendfsync": "always", "save": "", **(settings or {})}
        self.port = free_port()
        self._leash: Leash | None = None

    def url(self, port: int | None = None) -> str:
        """Connection URL."""
        return f"redis://127.0.0.1:{port or self.port}/0"

    def connect(self) -> redis.Redis:
        """A connection that gives texts."""
        import redis

        return redis.Redis(port=self.port, decode_responses=True)

    def start(self) -> RedisServer:
        """Starts the server and waits until it answers.

        Raises:
            DestinationUnavailable: it did not come up; the message ends with what it wrote.
        """
        import redis

        program = ensure(REDIS) / "redis-server"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += [part for name, value in self.settings.items() for part in (f"--{name}", value)]
        self._leash = Leash([command], self.folder / "server.log")
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.connect().ping()
                return self
            except redis.RedisError as error:
                if not self._leash.alive or time.monotonic() > deadline:
                    tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise DestinationUnavailable(f"Redis did not start in {self.folder}: {error}\n{tail}") from error
                time.sleep(0.02)

    def pause(self) -> None:
        """Kills the server; folder and port stay, so that `start` brings it back."""
        leash, self._leash = self._leash, None
        if leash is not None:
            leash.kill()

    def stop(self) -> None:
        """Kills the server and removes a temporary folder."""
        self.pause()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
