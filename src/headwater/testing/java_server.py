"""Starts a server that comes as jars (see `maven`) in one process of a JDK, which ends with whoever started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from headwater.errors import HeadwaterError, UserError

STOP_DEADLINE_S = 30.0
_READY = b"ready\n"
_TAIL = 2000


class JavaServer:
    """A server in `folder`, whose program writes `ready` when it answers and ends with its standard input.

    A subclass says what is started: `what`, `program`, `options`, `unavailable`, and in `start` its arguments.

    Args:
        folder: where its data lives; None makes a temporary folder that `stop` removes.

    Attributes:
        what: how messages call it.
        program: the class that starts it.
        options: of the JVM.
        unavailable: the error if it does not start.
    """

    what: str
    program: str
    options: tuple[str, ...]
    unavailable: type[HeadwaterError]

    def __init__(self, folder: Path | None, prefix: str) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=prefix))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts it and waits until it answers; a folder that was used before goes on as it was left.

        Raises:
            UserError: a JDK or Maven is missing and cannot be installed.
            HeadwaterError: it did not start (`unavailable`); the message ends with what it wrote.
        """
        raise NotImplementedError

    def _start(self, classes: Path, arguments: Sequence[str]) -> None:
        command = ["java", *self.options, "-cp", f"{classes}{os.pathsep}{classes}/*", self.program, *arguments]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._process.stdout is not None
        if not any(line == _READY for line in self._process.stdout):
            tail = (self.folder / "server.log").read_text(errors="replace")[-_TAIL:]
            self.stop()
            raise self.unavailable(f"{self.what} did not start: {tail}")

    def pause(self, *, immediate: bool = False) -> None:
        """Stops it (`immediate`: as a crash would); folder and ports stay, so that `start` brings it back."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        if not immediate and process.poll() is None:
            process.stdin.write(b"\n")
            process.stdin.flush()
        else:
            process.kill()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()

    def stop(self) -> None:
        """Kills it and removes a temporary folder."""
        self.pause(immediate=True)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def ensure(installed: Callable[[], Path]) -> int:
    """Has what a server needs installed; what is missing is said, and the tests that need it fail by name."""
    try:
        installed()
    except UserError as error:
        sys.stderr.write(f"{error}\n  {error.hint}\n")
    return 0
