"""A real MariaDB, started from Debian's package in a folder of one's own on a free loopback port.

Used by tests; never a mock. The server belongs to whoever started it and is stopped with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headwater.errors import SourceUnavailable
from headwater.testing.debian import MARIADB, ensure
from headwater.testing.leash import free_port

if TYPE_CHECKING:
    import pymysql

SERVER_USER = "nobody"
START_DEADLINE_S = 30.0

SETTINGS: Mapping[str, str] = {
    "server-id": "1",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "gtid-strict-mode": "ON",
    "log-slave-updates": "ON",
    "sync-binlog": "0",
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-flush-method": "nosync",
    "innodb-use-native-aio": "0",
    "innodb-log-file-size": "48M",
    "innodb-buffer-pool-size": "64M",
    "performance-schema": "OFF",
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",
    "skip-name-resolve": "ON",
}
"""Row format with GTIDs; nothing waits for a disk, and a killed server still has all that it committed."""


class MariaDbServer:
    """One server in `folder` (made if it is not there), listening on 127.0.0.1 and on a socket in the folder.

    Args:
        folder: where the data lives; None makes a temporary folder that `stop` removes.
        settings: server settings that override `SETTINGS`.
    """

    def __init__(self, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-my-"))
        self.settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def socket(self) -> Path:
        """The server's Unix socket."""
        return self.folder / "mysqld.sock"

    @property
    def data(self) -> Path:
        """The folder of its data and binary logs."""
        return self.folder / "data"

    def url(self, database: str = "") -> str:
        """Connection URL of the superuser (without a password on loopback)."""
        return f"mysql://root@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection[Any]:
        """A connection of the superuser in autocommit."""
        import pymysql

        given = {"host": "127.0.0.1", "port": self.port, "user": "root", "autocommit": True, **options}
        return pymysql.connect(database=database, **given)

    def start(self) -> MariaDbServer:
        """Initialises the folder if need be, starts the server and waits until it answers."""
        if not (self.data / "mysql").exists():
            self._initialise()
        arguments = [str(_program("mariadbd")), "--no-defaults", f"--datadir={self.data}", f"--port={self.port}"]
        arguments += [f"--socket={self.socket}", f"--pid-file={self.folder / 'pid'}", f"--tmpdir={self.folder}"]
        arguments += [f"--{name}={value}" for name, value in self.settings.items()]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                arguments, stdout=log, stderr=log, start_new_session=True, user=_server_user()
            )
        self._await_ready()
        return self

    def pause(self, *, immediate: bool = False) -> None:
        """Stops the server (`immediate`: as a crash would); folder and port stay, so that `start` brings it back."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGKILL if immediate else signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self, *, immediate: bool = True) -> None:
        """Stops the server and removes a temporary folder."""
        self.pause(immediate=immediate)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> MariaDbServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _initialise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        user = _server_user()
        if user:
            shutil.chown(self.folder, user)
        command = [str(_program("../bin/mariadb-install-db")), "--no-defaults", f"--datadir={self.data}"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        command += [f"--tmpdir={self.folder}"]  # in a shared one another server, starting, sweeps our tables away
        command += [f"--{name}={value}" for name, value in self.settings.items() if name.startswith("innodb")]
        done = subprocess.run(command, capture_output=True, text=True, user=user, cwd=self.folder)
        if done.returncode != 0:
            said = done.stdout + done.stderr
            raise SourceUnavailable(f"mariadb-install-db failed ({done.returncode}) in {self.data}: {said[:2000]}")

    def _await_ready(self) -> None:
        import pymysql

        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.connect(connect_timeout=2).close()
                return
            except pymysql.MySQLError as error:
                dead = self._process is None or self._process.poll() is not None
                if dead or time.monotonic() > deadline:
                    tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise SourceUnavailable(f"MariaDB did not start in {self.folder}: {error}\n{tail}") from error
                time.sleep(0.02)


def _program(name: str) -> Path:
    return (ensure(MARIADB) / name).resolve()


def _server_user() -> str | None:
    """MariaDB refuses to run as root: then it runs as a user without rights."""
    return SERVER_USER if os.geteuid() == 0 else None
