"""What a running project shows to whoever serves it: made by the supervisor, read by the web server's threads.

Nothing here blocks a source or an epoch: what it gives are pictures that their threads have replaced whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from headwater.clock import Clock
from headwater.lake.table_format import Table
from headwater.project.definition import Project
from headwater.runtime.history import History
from headwater.runtime.journal import Entry, Journal
from headwater.runtime.meters import Meters
from headwater.runtime.progress import Progress
from headwater.runtime.requests import Requests
from headwater.runtime.status import Status

if TYPE_CHECKING:
    from headwater.capture.source import Source
    from headwater.runtime.capture_job import Partitions
    from headwater.runtime.job import Job


@dataclass
class Running:
    """A running project.

    Attributes:
        project: as it runs: its models are others once changed ones have been swapped in.
        clock: time.
        journal: what it tells; the last entries are kept.
        progress: gives the picture after the last epoch.
        tables: gives the lake tables that are open now, for maintenance and names; never commit to them.
        partitions: the log, open; reading it is safe beside its writer.
        sources: by name.
        meters: how long appends, epochs and the like took.
        jobs: gives the jobs of the sources, of the epochs, of maintenance and of the syncs.
        beat_s: when the main thread's loop last went round (`Clock.monotonic_s`); None before the first time.
        since_us: when it started, microseconds since 1970 UTC.
        history: figures of the last quarter of an hour.
        ending: set when the project is to stop; whoever holds a connection open lets it go then.
    """

    project: Project
    clock: Clock
    journal: Journal
    progress: Callable[[], Progress]
    tables: Callable[[], Mapping[str, Table]]
    partitions: Partitions
    sources: Mapping[str, Source]
    meters: Meters = field(default_factory=Meters)
    jobs: Callable[[], Sequence[Job]] = lambda: ()
    beat_s: float | None = None
    since_us: int = 0
    ending: threading.Event = field(default_factory=threading.Event)
    _status: Status = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.since_us = self.since_us or self.clock.now_us()
        self.history = History(self.clock)

    def alive(self) -> None:
        """Notes that the main thread's loop goes round."""
        self.beat_s = self.clock.monotonic_s()

    def status(self) -> Status:
        """The last status, as `headwater status --json` prints it; empty before the first. Never changed in place."""
        return self._status

    def observe(self, status: Status) -> None:
        """Takes the next status; called by the main thread, four times a second."""
        self._status = status
        if self.history.is_due():
            self.history.add(figures(status))

    def events_since(self, number: int) -> list[Entry]:
        """Entries of the journal after the one of this number, of those that are kept."""
        return self.journal.since(number)

    def requests(self, source: str) -> Requests:
        """What users ask of a source."""
        return Requests(self.project.state, source)

    def mask(self, text: str) -> str:
        """A text without the project's secrets."""
        return self.journal.secrets.mask(text)


def figures(status: Status) -> dict[str, float | None]:
    """The figures of a status that are worth a line over time, by series, `kind:name:figure`."""
    found: dict[str, float | None] = {}
    for kind, name, wanted in _SERIES:
        for entry in entries(status, kind):
            for figure in wanted:
                found[f"{name}:{entry['name']}:{figure}"] = _number(entry.get(figure))
    freshness = status.get("freshness_ms")
    if isinstance(freshness, Mapping):
        found |= {f"freshness:{of}:ms": _number(value) for of, value in freshness.items()}
    rejects = status.get("rejects")
    found["rejects:open:count"] = _number(rejects.get("open")) if isinstance(rejects, Mapping) else None
    found["project:epoch:count"] = _number(status.get("epoch"))
    return found


_SERIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("sources", "source", ("rows_per_s", "lag_bytes")),
    ("models", "model", ("rows_per_s", "rows", "busy")),
    ("tables", "table", ("rows",)),
    ("syncs", "sync", ("pending", "delivered", "parked")),
)


def entries(owner: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    """The objects in a list of a status; empty if it has none."""
    found = owner.get(name)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    return [cast("Mapping[str, object]", each) for each in found if isinstance(each, Mapping)]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
