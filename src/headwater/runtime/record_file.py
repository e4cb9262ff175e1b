"""A record of what happened, for people: a line of JSON per entry, the newest kept. Nothing depends on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.errors import StorageFailed
from headwater.project.state_file import write_atomically

KEPT = 1000
"""Entries kept; the file may hold twice as many."""


class RecordFile:
    """One such file. One thread adds; anybody may read.

    Args:
        path: the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: int | None = None

    def add(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry.

        Raises:
            StorageFailed: it could not be written.
        """
        if self._lines is None:
            self._lines = len(self.newest(2 * KEPT))
        if self._lines >= 2 * KEPT:
            kept = self.newest(KEPT)[::-1]
            write_atomically(self._path, "".join(json.dumps(one) + "\n" for one in kept))
            self._lines = len(kept)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"v": 1, **entry}) + "\n")
        except OSError as error:
            raise StorageFailed(
                f"{self._path} could not be written: {error}", hint="look at the disk's free space"
            ) from error
        self._lines += 1

    def newest(self, most: int) -> list[dict[str, Any]]:
        """The newest entries, newest first. A line that a crash cut off is left out."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        found: list[dict[str, Any]] = []
        for line in reversed(lines[-most:]):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found
