"""Where the time of a stretch of work goes, function by function."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]


class Profile:
    """Collects where time goes, in the thread that uses it as a context, each time it does."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()

    def __enter__(self) -> None:
        self._profile.enable()

    def __exit__(self, *_: object) -> None:
        self._profile.disable()

    def functions(self, count: int = 15) -> list[dict[str, Any]]:
        """The functions with the most time of their own, the most first: name, calls, and milliseconds of their own
        and with all that they called."""
        stats: dict[Any, Any] = pstats.Stats(self._profile).stats  # type: ignore[attr-defined]
        most = sorted(stats.items(), key=lambda item: -item[1][2])[:count]
        return [
            {"function": _name(*where), "calls": calls, "own_ms": own_s * 1e3, "all_ms": all_s * 1e3}
            for where, (_, calls, own_s, all_s, _) in most
        ]


def _name(file: str, line: int, function: str) -> str:
    path = Path(file)
    if file == "~":
        return function
    place = path.relative_to(_PACKAGE) if path.is_relative_to(_PACKAGE) else Path(*path.parts[-2:])
    return f"{place}:{line} {function}"
