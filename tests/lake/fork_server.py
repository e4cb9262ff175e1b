"""Programs that are to be killed, forked from one process that has imported what they need: starting Python and Arrow
anew for each would take longer than the program itself. `fork_server.py MODULE`; for each line of JSON (failpoint,
arguments) it forks, has the child call `MODULE.main(*arguments)`, and answers with how the child ended."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from types import TracebackType

from headwater import failpoint

LIMIT_S = 480
"""A child that takes longer hangs; a machine may be twenty times as slow as one with nothing else to do."""


class ForkServer:
    """The other end of it.

    Args:
        module: beside this one, with a `main` that takes texts.
    """

    def __init__(self, module: str) -> None:
        command = [sys.executable, __file__, module]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, armed: str, *arguments: object) -> int:
        """Runs the program until it ends or dies; its exit code, or the signal's number below 0.

        Args:
            armed: as `HEADWATER_FAILPOINT`.
            arguments: of `main`.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([armed, [*map(str, arguments)]]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=LIMIT_S)


def _child(module: str, armed: str, arguments: list[str]) -> None:
    signal.alarm(LIMIT_S)
    failpoint._ARMED = armed
    try:
        importlib.import_module(module).main(*arguments)
    except BaseException:  # noqa: BLE001 a child never comes back
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        armed, arguments = json.loads(line)
        child = os.fork()
        if not child:
            _child(sys.argv[1], armed, arguments)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
