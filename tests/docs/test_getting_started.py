"""The first page works as written: every command is run against a real PostgreSQL, every output compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from fenced import DOCS, Block, blocks, plain

from headwater.clock import SystemClock
from headwater.testing.postgres import PostgresServer

PAGE = blocks(DOCS / "getting-started.md")
DEADLINE_S = 60.0


class Terminal:
    """A shell that remembers its folder, as a reader's does."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, script: str) -> tuple[int, str]:
        """The exit code of a block, and what it printed; a `cd` in it holds for the next one."""
        told = self._folder.parent / "folder"
        done = subprocess.run(
            ["bash", "-c", f'trap \'pwd > "{told}"\' EXIT\nset -e\n{script}'],
            cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        self._folder = Path(told.read_text().strip())
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


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    with PostgresServer() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        path = os.pathsep.join([str(Path(sys.executable).parent), str(server.bin), os.environ["PATH"]])
        folder = tmp_path / "reader"
        folder.mkdir()
        opened = Terminal(folder, {**os.environ, "PATH": path, "SHOP_URL": server.url("shop")})
        yield opened
        opened.stop()


def follow(terminal: Terminal, block: Block, wanted: str) -> None:
    """Does what a block says, and compares what it printed."""
    how = block.note.removeprefix("run").lstrip(": ")
    if how == "background":
        terminal.start(block.text.strip())
        return
    if how == "cleanup":
        assert set(terminal.stop()) == {0}
    code = int(how.removeprefix("exit ")) if how.startswith("exit ") else 0
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic_s() + DEADLINE_S
    ended, printed = terminal.run(block.text)
    while how == "eventually" and clock.monotonic_s() < end and not (ended == code and fits(printed, wanted)):
        clock.wait(never, 0.1)
        ended, printed = terminal.run(block.text)
    assert ended == code, f"line {block.line}: {printed}"
    assert fits(printed, wanted), f"line {block.line} printed\n{printed}\nwhere the page says\n{wanted}"


def test_the_page_works_as_written(terminal: Terminal) -> None:
    runs = [(at, block) for at, block in enumerate(PAGE) if block.note.startswith("run")]
    assert len(runs) > 10
    for at, block in runs:
        after = PAGE[at + 1] if at + 1 < len(PAGE) else None
        follow(terminal, block, after.text if after is not None and after.note == "output" else "")


def test_lines_are_compared_in_order() -> None:
    assert fits("a 1\nb\nc 22", "a 3\n...\nc 4")
    assert not fits("b\na 1", "a 1\nb")
    assert not fits("a x", "a y")
