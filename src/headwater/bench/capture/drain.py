"""Headwater's side: a source read to its end into a log of its own, every append with its fsync, as `headwater run`
does it."""

from __future__ import annotations

import io
from pathlib import Path

from pydantic import SecretStr

from headwater.bench import memory
from headwater.bench.capture.backlog import PUBLICATION, TABLE
from headwater.bench.child import Figures
from headwater.bench.stopwatch import Stopwatch
from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.source import PostgresSource
from headwater.clock import SystemClock
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.journal import Journal

SLOT = "headwater_bench"
_SEGMENT_BYTES = 64 << 20


def drain(url: str, folder: str, snapshot: str = "never") -> Figures:
    """Reads what waits into the log in `folder`. Meant for `headwater.bench.child`.

    Args:
        url: of the database.
        folder: of the log; a first call with nothing to read makes slot and log.
        snapshot: `initial` reads the tables whole first.

    Returns:
        rows: records now in the log that were not before. seconds: from opening the source to the last confirmation.
        cpu_s: of this process meanwhile. peak_bytes: memory above that before. bytes: of the log.
    """
    clock = SystemClock()
    journal = Journal(io.StringIO(), clock=clock)
    partitions = Partitions(Path(folder), journal, clock, _SEGMENT_BYTES)
    settings = PostgresSettings.model_validate(
        {"type": "postgres", "url": SecretStr(url), "tables": (f"public.{TABLE}",), "slot": SLOT,
         "publication": PUBLICATION, "snapshot": snapshot}
    )  # fmt: skip
    source = PostgresSource("bench", settings, project="bench", clock=clock)
    before = partitions.open("bench").head
    memory.forget_peak()
    resident, watch = memory.resident_bytes(), Stopwatch(clock)
    job = CaptureJob(source, partitions, journal, clock, once=True)
    with watch:
        job.start()
        job.join()
    if job.error is not None:
        raise job.error
    rows = partitions["bench"].head - before
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    partitions.close()
    return {"rows": rows, "seconds": watch.seconds, "cpu_s": watch.cpu_s, "peak_bytes": memory.peak_bytes() - resident,
            "bytes": size}  # fmt: skip
