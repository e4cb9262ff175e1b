"""A reader's terminal: runs the blocks of a page, and compares what they print with what the page says."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

from fenced import Block, plain

from headwater.clock import SystemClock

DEADLINE_S = 60.0
INSTALL_S = 400.0


class Terminal:
    """A shell that remembers its folder and where commands are found, as a reader's does."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._told = folder.parent / "told"
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, script: str, deadline_s: float | None = None) -> tuple[int, str]:
        """The exit code of a block, and what it printed; a `cd` in it holds for the next one, and so does a PATH."""
        done = subprocess.run(
            ["bash", "-c", f'trap \'pwd > "{self._told}"; echo "$PATH" >> "{self._told}"\' EXIT\nset -e\n{script}'],
            cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=deadline_s or DEADLINE_S, check=False,
        )  # fmt: skip
        folder, path = self._told.read_text().splitlines()
        self._folder = Path(folder)
        self._environment = {**self._environment, "PATH": path}
        return done.returncode, done.stdout

    def start(self, script: str) -> None:
        """Leaves a block running."""
        self._background.append(subprocess.Popen(["bash", "-c", f"exec {script}"], cwd=self._folder,
                                                 env=self._environment, stderr=subprocess.DEVNULL))  # fmt: skip

    def stop(self) -> list[int]:
        """Ctrl-C in every terminal that still runs something; their exit codes."""
        for process in self._background:
            process.send_signal(signal.SIGINT)
        codes = [process.wait(DEADLINE_S) for process in self._background]
        self._background = []
        return codes


def fits(printed: str, wanted: str) -> bool:
    """Whether the lines wanted were printed, in order."""
    lines = iter([plain(line) for line in printed.splitlines()])
    return all(plain(line) in lines for line in wanted.splitlines() if line.strip() not in ("", "..."))


def follow(terminal: Terminal, block: Block, wanted: str) -> None:
    """Does what a block says, and compares what it printed."""
    how = block.note.removeprefix("run").lstrip(": ")
    if how == "background":
        terminal.start(block.text.strip())
        return
    if how == "cleanup":
        assert set(terminal.stop()) <= {0}
    code = int(how.removeprefix("exit ")) if how.startswith("exit ") else 0
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic_s() + DEADLINE_S
    ended, printed = terminal.run(block.text, INSTALL_S if how == "install" else DEADLINE_S)
    while how == "eventually" and clock.monotonic_s() < end and not (ended == code and fits(printed, wanted)):
        clock.wait(never, 0.1)
        ended, printed = terminal.run(block.text)
    assert ended == code, f"line {block.line}: {printed}"
    assert fits(printed, wanted), f"line {block.line} printed\n{printed}\nwhere the page says\n{wanted}"


def steps(page: list[Block]) -> list[tuple[Block, str]]:
    """The blocks that are run, each with the output that the page says."""
    following = [*page[1:], None]
    return [
        (block, after.text if after is not None and after.note == "output" else "")
        for block, after in zip(page, following, strict=True)
        if block.note.startswith("run")
    ]
