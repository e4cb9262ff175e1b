"""One query of Nexmark, measured in this process: the engine batch by batch, then DuckDB over all rows at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headwater.allocators import settle
from headwater.bench import memory
from headwater.bench.child import Figures
from headwater.bench.comparison import differences
from headwater.bench.nexmark import queries
from headwater.bench.nexmark.answer import answer
from headwater.bench.nexmark.generator import Batch, Generator
from headwater.bench.profile import Profile
from headwater.bench.recording import Recording
from headwater.bench.stopwatch import Stopwatch
from headwater.bench.tally import Tally
from headwater.clock import Clock, SystemClock
from headwater.engine.view import View

OUT_OF_ORDER = timedelta(seconds=4)
"""How far the watermark stays behind the newest event, as upstream."""

_OF_FIRST = ("peak_bytes", "state_bytes")
"""Figures that later runs in the same process do not tell."""

_WARM_UP_EVENTS, _WARM_UP_BATCHES = 20_000, 2


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        events: of all kinds.
        batch: events of all kinds to a batch, which is one `apply`.
        threads: of the engine, of DuckDB beside it, and of Arrow.
        seed: of the generator.
        rate: events to a second of event time.
        verify: whether all changes are added up and compared with DuckDB's answer.
        without: fast paths that are switched off.
        profile: whether it is told where the engine's time goes, which makes it slower.
        warm_up: whether other rows go through the query first.
        runs: how often all rows go through it, each time in a new view; the quickest counts.
    """

    events: int
    batch: int = 100_000
    threads: int = 1
    seed: int = 1
    rate: float = 10_000
    verify: bool = False
    without: tuple[str, ...] = ()
    profile: bool = False
    warm_up: bool = True
    runs: int = 1


def run(name: str, **settings: Any) -> Figures:
    """Measures one query; arguments are those of `Settings`. Meant for `headwater.bench.child`."""
    chosen = Settings(**settings)
    pa.set_cpu_count(chosen.threads)
    query, clock = queries.query(name), SystemClock()
    if chosen.warm_up:
        _warm_up(query, chosen)
    settle()  # as `headwater run` does once it has opened all
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        recording = Recording(Path(folder) / "changes.arrow") if chosen.verify else None
        figures, arrivals = _incremental(query, chosen, clock, Path(folder) / "state", recording)
        for _ in range(1, chosen.runs):
            again, _ = _incremental(query, chosen, clock, None, None)
            if again["seconds"] < figures["seconds"]:
                figures = {**again, **{name: figures[name] for name in _OF_FIRST}}
        watch = Stopwatch(clock)
        feed = _arrived(query, _feed(query, chosen), arrivals)
        batch = answer(query, feed, chosen.threads, watch)
        best_s = min(watch.laps_s)
        figures |= {"duckdb_s": best_s, "of_duckdb": figures["seconds"] / best_s}
        figures |= {"duckdb_cpu_s": watch.cpu_s / len(watch.laps_s)}
        if recording is not None:
            figures["verified"] = differences(recording.batches(), batch) or "equal"
    return figures


def _incremental(
    query: queries.Query, settings: Settings, clock: Clock, state: Path | None, recording: Recording | None
) -> tuple[Figures, list[datetime]]:
    """The engine's part: only `apply` and `advance` are inside the clock. Also when each batch came in. What is kept is
    written to `state` and measured."""
    profile = Profile() if settings.profile else None
    clocked: AbstractContextManager[None] = profile or nullcontext()
    view, tally, watch = _view(query, settings), Tally(), Stopwatch(clock)
    memory.forget_peak()
    before, arrivals = memory.resident_bytes(), list[datetime]()
    for batch in _feed(query, settings):
        watermarks = {stream: _watermark(rows) for stream, rows in batch.items() if "dateTime" in rows.column_names}
        arrivals.append(datetime.fromtimestamp(clock.now_us() / 1e6, UTC))
        with watch, clocked:
            changes = [view.apply(batch, now=arrivals[-1]), *([view.advance(watermarks)] if watermarks else ())]
        for change in changes:
            tally.add(change)
            if recording is not None:
                recording.add(change)
        del change, changes
    peak = memory.peak_bytes() - before
    held = _state_bytes(view, state) if state is not None else 0
    view.close()
    seconds, laps = watch.seconds, watch.laps_s
    figures = {
        "query": query.name, "events_per_s": settings.events / seconds, "seconds": seconds,
        "cpu_s": watch.cpu_s, "cores": watch.cpu_s / seconds,
        "batch_ms_p50": median(laps) * 1e3, "batch_ms_max": max(laps) * 1e3, "peak_bytes": peak, "state_bytes": held,
        "rows": tally.rows, "changes": tally.changes, "checksum": tally.checksum,
        **({"profile": profile.functions()} if profile else {}),
    }  # fmt: skip
    return figures, arrivals


def _feed(query: queries.Query, settings: Settings) -> Iterator[Batch]:
    """What the query reads of each batch; a table to look values up in comes first, whole."""
    streams = _streams(query)
    if queries.SIDE_INPUT in streams:
        yield {queries.SIDE_INPUT: queries.side_input()}
    for batch in Generator(settings.seed, settings.rate).batches(settings.events, settings.batch):
        yield {stream: rows for stream, rows in batch.items() if stream in streams}


def _arrived(query: queries.Query, batches: Iterator[Batch], arrivals: list[datetime]) -> Iterator[Batch]:
    """Batches as DuckDB is given them: where the answer hangs on it, with a column that says when they came in."""
    for batch, arrival in zip(batches, arrivals, strict=True):
        if query.by_arrival:
            stamp = pa.scalar(arrival.replace(tzinfo=None), pa.timestamp("us"))
            batch = {s: rows.append_column(queries.ARRIVAL, pa.repeat(stamp, len(rows))) for s, rows in batch.items()}
        yield batch


@cache
def _streams(query: queries.Query) -> set[str]:
    view = View(query.sql, queries.INPUTS)
    view.close()
    return set(view.plan.scans())


def _view(query: queries.Query, settings: Settings) -> View:
    inputs = {stream: queries.INPUTS[stream] for stream in _streams(query)}
    append_only = [stream for stream in queries.APPEND_ONLY if stream in inputs]
    # A sink that takes changes needs no copy of the result in the engine.
    return View(
        query.sql, inputs, append_only=append_only, without=settings.without, name=query.name,
        threads=settings.threads, keep_result=False,
    )  # fmt: skip


def _warm_up(query: queries.Query, settings: Settings) -> None:
    """Loads kernels and DuckDB's code with other rows, in a view that is thrown away."""
    events = min(_WARM_UP_EVENTS, settings.batch)
    other = Settings(**{**asdict(settings), "seed": settings.seed + 1, "events": events * _WARM_UP_BATCHES,
                        "batch": events})  # fmt: skip
    view, tally = _view(query, settings), Tally()
    for batch in _feed(query, other):
        tally.add(view.apply(batch))
        view.advance({stream: _watermark(rows) for stream, rows in batch.items() if "dateTime" in rows.column_names})
    view.close()
    tally.close()


def _watermark(rows: pa.Table) -> datetime:
    newest = pc.max(rows.column("dateTime")).as_py() if rows.num_rows else datetime.fromtimestamp(0)
    return newest.replace(tzinfo=UTC) - OUT_OF_ORDER


def _state_bytes(view: View, folder: Path) -> int:
    """Bytes of a whole checkpoint."""
    view.checkpoint(folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
