"""Compiles the kernels ahead: `python -m headwater.cli.compile_kernels`.

A kernel with an explicit signature (`headwater.index.kernels.compiled`) is compiled when it is first called, and is
found in the cache beside its module from then on. All together take the better part of a minute of CPU, which in a
fresh installation each of several processes that start at once spends for itself. `make setup` runs it once, before.
"""

from __future__ import annotations

import importlib
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import headwater

_KERNEL = re.compile(r"^@compiled\(", re.MULTILINE)
_FIRST = "headwater.index"
"""What the kernels of all other rooms call."""


def rooms() -> dict[str, list[str]]:
    """The modules that have such kernels, by room."""
    root = Path(headwater.__file__).parent
    found = sorted(path for path in root.rglob("*.py") if _KERNEL.search(path.read_text(encoding="utf-8")))
    names = [".".join((root.name, *path.relative_to(root).with_suffix("").parts)) for path in found]
    return {room: list(modules) for room, modules in groupby(names, lambda name: ".".join(name.split(".")[:2]))}


def _compile(modules: list[str]) -> None:
    from headwater.index.kernels import load_kernels

    for module in modules:
        load_kernels(importlib.import_module(module))


def main() -> int:
    """Compiles what is not in the cache, the rooms beside each other, as none calls another's kernels."""
    by_room = rooms()
    _compile(by_room.pop(_FIRST))
    with ProcessPoolExecutor(len(by_room), mp_context=get_context("spawn")) as pool:
        list(pool.map(_compile, by_room.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
