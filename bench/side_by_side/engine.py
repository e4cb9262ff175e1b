"""What an engine is to the comparison: something that can be made ready and asked for the figures of one query."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from side_by_side.events import Events


class NotMeasured(Exception):
    """The engine gave no figures for a query; the message says why."""


@dataclass(frozen=True)
class Measured:
    """One engine's figures of one query.

    Attributes:
        seconds: from the first row read to the last change out, without starting the engine or planning the query.
        cpu_s: processor seconds in that time, of all threads, those of garbage collection and compilation too.
        rows: rows of the result, counted in a run that is not timed; None where the engine cannot say.
        mode: how the engine ran it, such as "streaming" or "batch".
        duckdb_s: seconds of DuckDB's one-shot answer; only Headwater's bench says.
        workers: how many it shared keys out among; only Headwater says.
    """

    seconds: float
    cpu_s: float
    rows: int | None
    mode: str = "streaming"
    duckdb_s: float | None = None
    workers: int | None = None

    def json(self) -> dict[str, Any]:
        """As it is written to the results."""
        return asdict(self)


class Engine(Protocol):
    """An engine beside which Headwater is run."""

    name: str

    def prepare(self) -> dict[str, str]:
        """Installs and builds what is missing. Called once, first. Returns versions and settings to be told.

        Raises:
            NotMeasured: it cannot run here; the message says what is missing.
        """

    def measure(self, query: str, events: Events, cores: int, timeout_s: float) -> Measured:
        """The best of one or more timed runs of one query, after one that warms the engine up.

        Raises:
            NotMeasured: the engine cannot run the query, failed, or took too long.
        """
