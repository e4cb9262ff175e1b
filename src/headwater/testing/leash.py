"""Starts a server program that ends with whoever started it, however that one ends.

The programs run in a process group of their own under a shell that waits for the end of its standard input, which is
a pipe that only the starter holds; when the pipe closes, the whole group is killed.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from headwater.clock import SystemClock

_WATCH = "cat >/dev/null; kill -KILL 0"
_PORTS = range(15_000, 32_000)
"""Below those that the kernel gives to whoever connects: one of these would be taken before a slow server listens."""
_TRIES = 100
_GIVEN_S = 300.0
"""So long a port is not given to another, whether its server listens by then or not."""
_CHANCE = random.SystemRandom()  # the tests of a property seed the other one


class Leash:
    """Programs that run side by side.

    Args:
        commands: each with its arguments.
        log: file that takes what they write.
        environment: added to our own.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        script = "".join(f"{shlex.join(command)} </dev/null & " for command in commands) + _WATCH
        with open(log, "ab") as said:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether the shell that holds the programs is there."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kills all of them at once (SIGKILL) and waits until they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and that nobody is given who asks for any, nor was here a
    moment ago: a slow server does not listen yet.

    Raises:
        OSError: none was found.
    """
    for port in _CHANCE.sample(_PORTS, _TRIES):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if _marked(port):
                return port
    raise OSError(f"{_TRIES} ports between {_PORTS.start} and {_PORTS.stop} were taken")


def _marked(port: int) -> bool:
    """Marks a port as given, for all processes of this user; False if it is marked already, and not long since."""
    folder = Path(tempfile.gettempdir()) / f"headwater-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    mark = folder / str(port)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        if SystemClock().now_us() / 1e6 - mark.stat().st_mtime < _GIVEN_S:
            return False
        mark.touch()
    return True
