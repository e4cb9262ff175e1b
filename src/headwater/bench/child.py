"""Runs one measurement in a process of its own, so that its memory, threads and caches are nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from headwater.allocators import keep_freed
from headwater.errors import HeadwaterError

Figures = dict[str, Any]
"""What a measurement gives: names and JSON values; `error` alone if it failed."""


def measure(function: str, arguments: Mapping[str, object], timeout_s: float | None = None) -> Figures:
    """Calls a function in a new Python process and returns what it returns.

    Args:
        function: "module:name" of what takes these arguments and returns `Figures`.
        arguments: JSON values by parameter name.
        timeout_s: when the process is killed; None waits.

    Returns:
        The figures, or `error`: why there are none. A measurement that fails does not end the others.
    """
    command = [sys.executable, "-m", "headwater.bench.child", function]
    try:
        done = subprocess.run(
            command, input=json.dumps(arguments), capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {timeout_s:,.0f} s"}
    if done.returncode:
        return {"error": f"exit code {done.returncode}: {_reason(done.stderr)}"}
    figures: Figures = json.loads(done.stdout)
    return figures


def _reason(stderr: str) -> str:
    """The last line of what a process said, and the line of code that it names last."""
    lines = stderr.strip().splitlines() or [""]
    places = [line.strip() for line in lines if line.lstrip().startswith("File ")]
    return " at ".join([lines[-1][:200], *places[-1:]])


def main(function: str) -> None:
    """The child: reads arguments from stdin, writes figures to stdout."""
    module, _, name = function.partition(":")
    try:
        figures = getattr(import_module(module), name)(**json.load(sys.stdin))
    except HeadwaterError as error:
        figures = {"error": f"{type(error).__name__}: {error}"[:300]}
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    keep_freed()
    main(sys.argv[1])
