"""Headwater's side: a source read to its end into a log of its own, every append with its fsync, as `headwater run`
does it."""

from __future__ import annotations

import io
from pathlib import Path

from headwater.bench import memory
from headwater.bench.child import Figures
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import SystemClock
from headwater.errors import InvariantBroken
from headwater.project.connectors import connector, make_source, settings_class
from headwater.project.definition import SourceDefinition
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.journal import Journal

_SEGMENT_BYTES = 64 << 20
_NAME = "bench"


def drain(kind: str, url: str, table: str, folder: str, snapshot: str = "never") -> Figures:
    """Reads what waits into the log in `folder`. Meant for `headwater.bench.child`.

    Args:
        kind: type of the source.
        url: of the database.
        table: the table, with its schema or database.
        folder: of the log; a first call with nothing to read makes slot and log.
        snapshot: `initial` reads the table whole first.

    Returns:
        rows: records now in the log that were not before. seconds: from opening the source to the last confirmation.
        cpu_s: of this process meanwhile. peak_bytes: memory above that before. bytes: of the log.
    """
    clock = SystemClock()
    journal = Journal(io.StringIO(), clock=clock)
    partitions = Partitions(Path(folder), journal, clock, _SEGMENT_BYTES)
    known = connector(kind)
    if known is None:
        raise InvariantBroken(f"there is no connector {kind!r}")
    settings = settings_class(known).model_validate(
        {"type": kind, "url": url, "tables": (table,), "snapshot": snapshot}
    )
    source = make_source(SourceDefinition(_NAME, kind, settings), _NAME, identity=_NAME, clock=clock)
    before = partitions.open(_NAME).head
    memory.forget_peak()
    resident, watch = memory.resident_bytes(), Stopwatch(clock)
    job = CaptureJob(source, partitions, journal, clock, once=True)
    with watch:
        job.start()
        job.join()
    if job.error is not None:
        raise job.error
    rows = partitions[_NAME].head - before
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    partitions.close()
    return {"rows": rows, "seconds": watch.seconds, "cpu_s": watch.cpu_s,
            "peak_bytes": memory.peak_bytes() - resident, "bytes": size}  # fmt: skip
