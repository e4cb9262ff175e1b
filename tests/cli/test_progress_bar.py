"""A bar is for terminals: seen through a real pty, and nothing of it in a pipe."""

import os
import pty
import subprocess
import sys

import pytest

WORK = """
from headwater.cli import output
from headwater.cli.progress_bar import progress
with progress("counting sheep", 4) as done:
    for sheep in range(1, 5):
        done(sheep, None)
with output.gathered(), progress("in secret", 1) as done:
    done(1, None)
output.note("asleep")
"""


def seen(**environment: str) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    whole = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "COLUMNS")}
    child = subprocess.Popen(
        [sys.executable, "-c", WORK], env={**whole, "TERM": "xterm-256color", **environment}, stdout=theirs,
        stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    told = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            read = b""
        if not read:
            break
        told += read
    os.close(ours)
    assert child.wait(120) == 0
    return told.decode()


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_sees_a_bar_that_goes_away(colour: bool) -> None:
    told = seen() if colour else seen(NO_COLOR="1")
    assert "counting sheep" in told and "100 %" in told and "in secret" not in told
    assert told.rstrip().endswith("asleep")
    assert ("\x1b[2K" in told) and (("\x1b[38;5;" in told or "\x1b[3" in told) is colour)


def test_a_pipe_sees_nothing_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("", "asleep\n")
