"""A real RabbitMQ, started from Debian's package in a folder of one's own on free loopback ports.

Used by tests; never a mock. The server, and the port mapper that Erlang needs, belong to whoever started them and end
with it. Debian 12 has RabbitMQ 3.10.8 on Erlang 25: classic and quorum queues, and streams over AMQP 0.9.1.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from headwater.errors import SourceUnavailable
from headwater.testing.debian import RABBITMQ, ensure
from headwater.testing.leash import Leash, free_port

if TYPE_CHECKING:
    import pika

    from headwater.testing.certificates import Certificates

START_DEADLINE_S = 180.0
STOP_DEADLINE_S = 30.0
SETTINGS: Mapping[str, str] = {
    "log.file": "false",
    "log.console": "true",
    "log.console.level": "warning",
    "disk_free_limit.absolute": "50MB",
    "vm_memory_high_watermark.absolute": "512MB",
    "raft.wal_max_size_bytes": "16000000",
    "loopback_users.guest": "false",
}
"""Small files, and no alarm of a machine that others use as well."""


class RabbitmqServer:
    """One broker in `folder` (made if it is not there), listening on 127.0.0.1.

    Args:
        folder: where its data lives; None makes a temporary folder that `stop` removes.
        settings: lines of its `rabbitmq.conf` that come on top of `SETTINGS`.
        certificates: for a listener with TLS; None for none.

    Attributes:
        port: of the plain listener on 127.0.0.1.
        tls_port: of the one with TLS, if there are certificates.
    """

    def __init__(
        self,
        folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-rmq-"))
        self.port, self.tls_port, self._mapper, self._distribution = (free_port() for _ in range(4))
        self.settings = {**SETTINGS, **self._tls(certificates), **(settings or {})}
        self._leash: Leash | None = None

    def _tls(self, certificates: Certificates | None) -> dict[str, str]:
        if certificates is None:
            return {}
        return {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": str(certificates.ca),
            "ssl_options.certfile": str(certificates.certificate),
            "ssl_options.keyfile": str(certificates.key),
            "ssl_options.verify": "verify_none",
        }

    def url(self, host: str = "127.0.0.1", port: int | None = None) -> str:
        """Connection URL of the administrator."""
        return f"amqp://guest:guest@{host}:{port or self.port}/"

    def connect(self) -> pika.BlockingConnection:
        """A connection of the administrator."""
        import pika

        logging.getLogger("pika").setLevel(logging.CRITICAL)
        return pika.BlockingConnection(pika.URLParameters(self.url() + "%2F?heartbeat=0"))

    def start(self) -> RabbitmqServer:
        """Starts the broker and waits until it answers.

        Raises:
            SourceUnavailable: it did not come up; the message ends with what it wrote.
        """
        home = ensure(RABBITMQ)
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = {"listeners.tcp.1": f"127.0.0.1:{self.port}", **self.settings}
        (self.folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        (self.folder / "enabled_plugins").write_text("[].\n")
        programs = [["epmd", "-port", str(self._mapper), "-address", "127.0.0.1"], [str(_program(home))]]
        self._leash = Leash(programs, self.folder / "server.log", self._environment())
        self._await_ready()
        return self

    def pause(self, *, immediate: bool = False) -> None:
        """Stops the broker (`immediate`: as a crash would); folder and ports stay, so that `start` brings it back."""
        leash, self._leash = self._leash, None
        if leash is None:
            return
        if not immediate:
            self._end_gently()
        leash.kill()

    def stop(self) -> None:
        """Stops the broker at once and removes a temporary folder."""
        self.pause(immediate=True)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RabbitmqServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "headwater@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def _await_ready(self) -> None:
        import pika.exceptions

        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.connect().close()
                return
            except (pika.exceptions.AMQPError, OSError) as error:
                if self._leash is None or not self._leash.alive or time.monotonic() > deadline:
                    tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    self.pause(immediate=True)
                    raise SourceUnavailable(f"RabbitMQ did not start in {self.folder}: {error!r}\n{tail}") from error
                time.sleep(0.1)

    def _end_gently(self) -> None:
        """Ends the broker as an administrator does and waits until its process is gone."""
        with suppress(OSError, ValueError):
            process = int((self.folder / "pid").read_text())
            os.kill(process, signal.SIGTERM)
            deadline = time.monotonic() + STOP_DEADLINE_S
            while time.monotonic() < deadline:
                os.kill(process, 0)
                time.sleep(0.02)


def _program(home: Path) -> Path:
    """The broker's own start script: the one in /usr/sbin changes to a user of its own."""
    found = sorted(home.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise SourceUnavailable(f"{home} holds no rabbitmq_server-*/sbin/rabbitmq-server")
    return found[-1]
