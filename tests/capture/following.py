"""Follows files as the runtime does, with a log that keeps what was made durable, and a clock set by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.capture.files.reader import FilesReader
from headwater.capture.files.settings import FilesSettings
from headwater.capture.files.source import FilesSource
from headwater.capture.request import Request
from headwater.change import Group, Op
from headwater.position import Position, Resume


class Hand:
    """A clock whose durations are set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.seconds += timeout_s
        return False


class Following:
    """A source of files and what the log holds of it.

    Attributes:
        rows: all changes that are durable, in order, by stream.
        rejects: so too.
        resume: where the log ends.
    """

    def __init__(self, folder: Path, streams: Mapping[str, Mapping[str, object]], **settings: object) -> None:
        self.clock = Hand()
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in streams}
        self.rejects: list[dict[str, Any]] = []
        self.resume: Resume | None = None
        self.last = Position(0)
        self.settings = FilesSettings.model_validate({"files": streams, **settings})
        self.folder = folder
        self.source = self._source()
        self.reader: FilesReader | None = None

    def _source(self) -> FilesSource:
        source = FilesSource("logs", self.settings, project="p", clock=self.clock)
        source.folder = self.folder
        return source

    def open(self, decision: Request | None = None) -> FilesReader:
        """Opens a reading where the log ends."""
        self.crash()
        self.reader = self.source.open(self.resume, decision)
        return self.reader

    def crash(self) -> None:
        """Gives the reading up; what is not durable is forgotten."""
        if self.reader is not None:
            self.reader.close()
        self.reader = None

    def step(self, *, durable: bool = True, after_s: float = 1.0) -> Group | None:
        """One poll, `after_s` seconds after the last."""
        reader = self.reader or self.open()
        self.clock.seconds += after_s
        group = reader.poll(0.0)
        if group is not None and durable:
            self.keep(group)
        return group

    def keep(self, group: Group) -> None:
        """Makes a group durable."""
        assert group.boundary.position > self.last
        self.last, self.resume = group.boundary.position, group.boundary.resume
        for batch in group.batches:
            for row in batch.rows.to_pylist():
                if row["_op"] == Op.TRUNCATE:
                    self.rows[batch.stream.name].clear()
                else:
                    self.rows[batch.stream.name].append(row)
        if group.rejects is not None:
            self.rejects += group.rejects.to_pylist()

    def drain(self, quiet: int = 15) -> Following:
        """Polls until nothing has come for `quiet` seconds."""
        left = quiet
        while left:
            left = quiet if self.step() is not None else left - 1
        return self

    def values(self, stream: str = "log", column: str = "value") -> list[Any]:
        """A column of what is durable."""
        return [row[column] for row in self.rows[stream]]
