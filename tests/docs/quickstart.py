"""The quickstart from `pip install` of the built wheel in a clean environment, timed: `make quickstart`.

Every command is a block of docs/quickstart.md, executed in an empty folder in which the repository lies as `headwater`;
nothing else is done. The packages come from pip's cache if they are there.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import terminal as reading
from fenced import DOCS, ROOT, blocks
from terminal import Terminal, follow, steps

from headwater.testing.leash import free_port

LIMIT_S = 180.0
INSTALLED_S = 300.0
"""Most that one step may take, the first run with its compiling among them, before it counts as broken."""


def main() -> int:
    """Runs the page; tells how long each step took. The exit code is 1 if all took longer than `LIMIT_S`."""
    port, begun = str(free_port()), time.monotonic()
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    reading.DEADLINE_S = INSTALLED_S
    with tempfile.TemporaryDirectory(prefix="headwater-quickstart-") as temporary:
        folder = Path(temporary) / "reader"
        folder.mkdir()
        (folder / "headwater").symlink_to(ROOT)
        terminal = Terminal(folder, {**environment, "PATH": path})
        try:
            for block, wanted in steps(blocks(DOCS / "quickstart.md")):
                since = time.monotonic()
                follow(terminal, replace(block, text=block.text.replace("8080", port)), wanted)
                command = block.text.strip().splitlines()[-1][:60]
                print(f"{time.monotonic() - since:7.1f} s  {command}", flush=True)  # noqa: T201
            took = time.monotonic() - begun
        finally:
            terminal.stop()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{took:7.1f} s  in all, {cpu:.0f} s of CPU; the promise is {LIMIT_S:.0f} s")  # noqa: T201
    return int(took > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
