"""The keeper as the project sees it: started with what it may know, listened to, ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field

from headwater.api.settings import SqlLimits
from headwater.project.definition import Project
from headwater.serve.sandbox.given import Given, pack
from headwater.serve.sandbox.wire import LENGTH, Header, frame, receive

START_S = 60.0
"""Seconds that a keeper may take to be ready."""
_KEPT = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "VIRTUAL_ENV", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")
_AWS = "AWS_"


@dataclass
class KeeperProcess:
    """A keeper that runs.

    Attributes:
        of: the project that it was started with.
        process: it.
        control: our end of its line.
        ended: what it told of turns, by their number.
        told: set when the line is at its end.
    """

    of: Project
    process: subprocess.Popen[bytes]
    control: socket.socket
    ended: dict[int, asyncio.Future[Header]] = field(default_factory=dict)
    listening: asyncio.Task[None] | None = None
    gone: bool = False


async def exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes, without holding the loop up.

    Raises:
        EOFError: the other end is gone.
    """
    loop, parts = asyncio.get_running_loop(), bytearray()
    while len(parts) < size:
        part = await loop.sock_recv(connection, min(size - len(parts), 1 << 18))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


async def listen(keeper: KeeperProcess) -> None:
    """Takes what the keeper says until it is gone."""
    try:
        while True:
            (size,) = LENGTH.unpack(await exactly(keeper.control, LENGTH.size))
            said = json.loads(await exactly(keeper.control, size))
            waits = keeper.ended.get(said["ended"])
            if waits is not None and not waits.done():
                waits.set_result(said)
    except (EOFError, OSError):
        keeper.gone = True
        for waits in keeper.ended.values():
            if not waits.done():
                waits.set_result({"exit": 1, "late": False})


def start(project: Project, limits: SqlLimits) -> KeeperProcess:
    """A keeper that is ready. Takes a second or two.

    Raises:
        OSError, EOFError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    given = Given(project, limits)
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or (given.remote and name.startswith(_AWS))
    }
    threads = str(limits.threads)
    environment = {
        **kept, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": "UTC", "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "4",
        "ARROW_DEFAULT_MEMORY_POOL": "system", "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "MALLOC_ARENA_MAX": "2",
    }  # fmt: skip
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "headwater.serve.sandbox.keeper", str(theirs.fileno())], env=environment,
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    keeper = KeeperProcess(project, process, ours)
    ours.settimeout(START_S)
    try:
        text = pack(given)
        ours.sendall(frame({"given": len(text)}) + text)
        receive(ours)
    except (OSError, EOFError):
        end(keeper)
        raise
    ours.setblocking(False)
    return keeper


def end(keeper: KeeperProcess) -> None:
    """Ends a keeper; its turns end with it."""
    keeper.gone = True
    if keeper.listening is not None:
        keeper.listening.cancel()
    keeper.control.close()
    keeper.process.kill()
    keeper.process.wait()
