"""One structured line per change of state: text on a terminal, JSON elsewhere. Never a line per record."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

from headwater.clock import Clock, SystemClock
from headwater.redaction import Secrets

Level = Literal["info", "warning", "error"]
Value = str | int | float | bool | None

QUIET_US = 60_000_000
"""A warning or error that says the same as one before is written once in so long, in microseconds."""

KEPT = 2000
"""Entries that are kept for who looks at a running project."""


_SAME = ("job", "source", "stream", "model", "table", "sync", "code", "error", "file", "open")
"""Fields by which two warnings are told apart; others, such as the time of the next try, are not."""


@dataclass(frozen=True)
class Entry:
    """One event: its number, from 1 on, when (microseconds since 1970 UTC), and what."""

    number: int
    at_us: int
    level: Level
    event: str
    fields: Mapping[str, Value]


class Journal:
    """Writes events to a stream, one line each, and keeps the last `KEPT`.

    A warning or error that says the same of the same thing within a minute is kept, and not written again; the next
    line of it says how often (`repeated`).

    Args:
        stream: where to; standard error by default.
        as_json: JSON lines; by default when `stream` is not a terminal.
        clock: for the stamps.

    Attributes:
        secrets: what no event may show; whoever knows the project sets it.
    """

    def __init__(
        self, stream: TextIO | None = None, *, as_json: bool | None = None, clock: Clock | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        self._as_json = not self._stream.isatty() if as_json is None else as_json
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self.secrets = Secrets()
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._count = 0
        self._told: dict[tuple[object, ...], tuple[int, int]] = {}

    def since(self, number: int) -> list[Entry]:
        """The entries kept that came after the one of this number, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > number]

    def write(self, event: str, level: Level = "info", **fields: Value) -> None:
        """Writes one event, say `write("source.streaming", source="shop")`."""
        fields = {name: self.secrets.mask(value) if isinstance(value, str) else value for name, value in fields.items()}
        now_us = self._clock.now_us()
        stamp = datetime.fromtimestamp(now_us / 1e6, UTC)
        repeated = self._repeated(event, level, fields, now_us)
        shown = fields if not repeated else {**fields, "repeated": repeated}
        if self._as_json:
            line = json.dumps({"ts": stamp.isoformat(), "level": level, "event": event, **shown})
        else:
            told = "  ".join(f"{name}={_plain(value)}" for name, value in shown.items() if value not in (None, ""))
            line = f"{stamp:%H:%M:%S}  {level if level != 'info' else '':7}  {event:22}  {told}"
        with self._lock:
            self._count += 1
            self._entries.append(Entry(self._count, now_us, level, event, fields))
            if repeated is not None:
                self._stream.write(line + "\n")
                self._stream.flush()

    def _repeated(self, event: str, level: Level, fields: Mapping[str, Value], now_us: int) -> int | None:
        """How often the same was not written since it was last; None if this is not to be written either."""
        if level == "info":
            return 0
        same = (event, *(fields.get(name) for name in _SAME))
        with self._lock:
            last_us, silent = self._told.get(same, (now_us - QUIET_US, 0))
            if now_us - last_us < QUIET_US:
                self._told[same] = (last_us, silent + 1)
                return None
            if len(self._told) > KEPT:
                self._told.clear()
            self._told[same] = (now_us, 0)
            return silent


def _plain(value: Value) -> str:
    """A value on one line: line breaks and control characters from outside cannot forge a line."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)
