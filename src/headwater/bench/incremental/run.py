"""One construct at one size, measured in this process."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from statistics import median

import pyarrow as pa

from headwater.bench import memory
from headwater.bench.child import Figures
from headwater.bench.comparison import differences
from headwater.bench.incremental.answer import answer
from headwater.bench.incremental.constructs import CONSTRUCTS, LEFT_OPEN, Construct
from headwater.bench.incremental.rows import SCHEMAS, STATIC, Changes, Sizes, load
from headwater.bench.recording import Recording
from headwater.bench.stopwatch import Stopwatch
from headwater.bench.tally import Tally
from headwater.change import WEIGHT
from headwater.clock import SystemClock
from headwater.engine.view import View
from headwater.sql.last_resort import last_resorts

LOAD_BATCH = 250_000
CHANGES = 1_000
_UNTIMED, _TIMED = 3, 9


def run(name: str, rows: int, memory_bytes: int = 0, threads: int = 1, verify: bool = False) -> Figures:
    """Loads `rows` rows and times applies of `CHANGES` changes. Meant for `headwater.bench.child`.

    Args:
        name: of the construct.
        rows: of `facts`, with the other tables in proportion.
        memory_bytes: more ends the process; 0 sets no limit.
        threads: of the view.
        verify: whether all changes are added up and compared with DuckDB's answer, which takes memory and time after.

    Returns:
        ms: the median of the applies. ms_max: the slowest. cpu_ms: the mean of what threads worked. changes: of the
        result, per apply. load_s: seconds to load. peak_bytes: memory above that before. last_resort: why the whole is
        recomputed at each change; "" if it is not. verified: `equal`, or
        what is not; absent where DuckDB's own answer hangs on the order of rows.
    """
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    view, sizes, clock = open_view(CONSTRUCTS[name], threads), Sizes(rows), SystemClock()
    memory.forget_peak()
    before, loading, watch, tally = memory.resident_bytes(), Stopwatch(clock), Stopwatch(clock), Tally()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        recording = Recording(Path(folder) / "changes.arrow") if verify else None
        for batch in loaded(view, sizes):
            with loading:
                change = view.apply(batch)
            _keep(change, recording)
        for number, batch in enumerate(changes(view, sizes, _UNTIMED + _TIMED)):
            with watch if number >= _UNTIMED else nullcontext():
                change = view.apply(batch)
            _keep(change, recording)
            if number >= _UNTIMED:
                tally.add(change)
        figures = _figures(view, watch, loading, tally) | {"peak_bytes": memory.peak_bytes() - before}
        if recording is not None and name not in LEFT_OPEN:
            figures["verified"] = _verified(view, name, sizes, recording)
    return figures


def _keep(change: pa.Table, recording: Recording | None) -> None:
    if recording is not None:
        recording.add(change)


def _verified(view: View, name: str, sizes: Sizes, recording: Recording) -> str:
    """What is not the same in the sum of the changes and in DuckDB's answer."""
    sql, given = CONSTRUCTS[name].sql, chain(loaded(view, sizes), changes(view, sizes, _UNTIMED + _TIMED))
    view.close()
    before = answer(sql, [])
    initial = before.append_column(WEIGHT, pa.repeat(pa.scalar(1, pa.int64()), len(before)))
    return differences(chain(initial.to_batches(), recording.batches()), answer(sql, given)) or "equal"


def _figures(view: View, watch: Stopwatch, loading: Stopwatch, tally: Tally) -> Figures:
    laps_ms = [lap_s * 1e3 for lap_s in watch.laps_s]
    return {
        "ms": median(laps_ms), "ms_max": max(laps_ms), "cpu_ms": watch.cpu_s / _TIMED * 1e3,
        "changes": tally.changes / _TIMED, "load_s": loading.seconds,
        "last_resort": "; ".join(found.why for found in last_resorts(view.plan)),
    }  # fmt: skip


def open_view(construct: Construct, threads: int = 1) -> View:
    """A view of the construct over the tables that it reads."""
    everything = View(construct.sql, SCHEMAS)
    everything.close()
    inputs = {stream: SCHEMAS[stream] for stream in everything.plan.scans()}
    return View(construct.sql, inputs, name=construct.name, threads=threads, keep_result=False)


def loaded(view: View, sizes: Sizes) -> Iterator[dict[str, pa.Table]]:
    """The rows of each input, batch by batch."""
    for stream in view.inputs:
        for rows in load(stream, sizes, LOAD_BATCH):
            yield {stream: rows}


def changes(view: View, sizes: Sizes, times: int, seed: int = 1) -> Iterator[dict[str, pa.Table]]:
    """`CHANGES` changes at a time: two in three of the largest input, the others of the second.

    Inputs that do not grow have none: one change of `regions` is many of the result, the more rows there are.
    """
    growing = sorted(view.inputs.keys() - STATIC, key=lambda stream: -sizes.of(stream))[:2]
    counts = [CHANGES] if len(growing) == 1 else [CHANGES - CHANGES // 3, CHANGES // 3]
    sources = [Changes(stream, sizes, seed) for stream in growing]
    for _ in range(times):
        yield {s: source.take(count) for s, source, count in zip(growing, sources, counts, strict=True)}
