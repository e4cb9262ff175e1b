"""What a running project measures of itself beside its status: how long appends, epochs and checkpoints took."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.durations import Durations


@dataclass(frozen=True)
class LogMeters:
    """Of one source's log.

    Attributes:
        appends: seconds per append of what was gathered, its fsync included.
        fsyncs: seconds per write and fsync.
    """

    appends: Durations = field(default_factory=Durations)
    fsyncs: Durations = field(default_factory=Durations)


@dataclass(frozen=True)
class Meters:
    """Of a running project.

    Attributes:
        logs: by source.
        epochs: seconds per epoch that took something in.
        checkpoints: seconds per checkpoint.
    """

    logs: dict[str, LogMeters] = field(default_factory=dict)
    epochs: Durations = field(default_factory=Durations)
    checkpoints: Durations = field(default_factory=Durations)

    def log(self, source: str) -> LogMeters:
        """The meters of a source's log, made when first asked for."""
        return self.logs.setdefault(source, LogMeters())
