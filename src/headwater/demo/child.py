"""Processes of the demo's own: a project under `headwater run`, which can be killed, and the shop's traffic."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from headwater.demo.live import Status
from headwater.errors import HeadwaterError

STOP_DEADLINE_S = 60.0
_TAIL_CHARACTERS = 1500


class ProjectProcess:
    """`headwater run FOLDER` as a child process, started as often as it takes.

    Args:
        folder: the project's folder, with its state in `.headwater`.
        environment: variables to add to this process's own.
        log: file that takes what it says, appended to.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; does not wait."""
        command = [sys.executable, "-m", "headwater.cli.app", "run", str(self._folder)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def status(self) -> Status | None:
        """The status that this very process wrote last; None as long as it has written none.

        The file is read as it stands: `read_status` tries the state folder's lock, and a try at the wrong moment would
        keep the child from getting it.

        Raises:
            HeadwaterError: the process has ended by itself.
        """
        if self._process is None:
            return None
        if self._process.poll() is not None:
            raise HeadwaterError(
                f"headwater run ended with exit code {self._process.returncode}: {self._tail()}",
                hint=f"headwater run {self._folder} shows more",
            )
        status = last_status(self._folder)
        return status if status is not None and status.get("pid") == self._process.pid else None

    def kill(self) -> None:
        """kill -9: no warning, no clean-up."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> int:
        """Asks for a graceful stop, waits for it and returns the exit code; kills what does not stop in time."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:].strip()


def last_status(folder: Path) -> Status | None:
    """The last status that a project in `folder` wrote, whoever wrote it and whether it runs or not."""
    try:
        status: Status = json.loads((folder / ".headwater" / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return status


class TrafficProcess:
    """The shop's traffic (`headwater.demo.traffic`) as a child process.

    Args:
        url: the shop's connection URL.
        rate: transactions per second.
        seconds: how long.
    """

    def __init__(self, url: str, *, rate: float, seconds: float) -> None:
        command = [sys.executable, "-m", "headwater.demo.traffic", url, "--rate", str(rate), "--seconds", str(seconds)]
        self._process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def report(self) -> dict[str, object]:
        """Waits for its end and returns its tally.

        Raises:
            HeadwaterError: it failed.
        """
        output, words = self._process.communicate(timeout=STOP_DEADLINE_S)
        if self._process.returncode != 0:
            raise HeadwaterError(f"the shop's traffic failed: {words.strip()}")
        report: dict[str, object] = json.loads(output)
        return report

    def stop(self) -> None:
        """Ends it if it still runs."""
        if self.alive:
            self._process.terminate()
            self._process.wait(STOP_DEADLINE_S)
        _close(self._process.stdout, self._process.stderr)


def _close(*streams: IO[str] | None) -> None:
    for stream in streams:
        if stream is not None:
            stream.close()
