"""All queries one after the other, each in a process of its own, and what they come to together."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from math import exp, log

import duckdb

from headwater import __version__
from headwater.bench.child import Figures, measure
from headwater.bench.nexmark import timeline
from headwater.bench.nexmark.run import Settings

HEADER = ("query", "events/s", "seconds", "cores", "duckdb s", "of duckdb", "peak MB", "state MB", "rows", "changes",
          "checksum", "verified")  # fmt: skip
PROFILE_HEADER = ("own ms", "all ms", "calls", "function")
_ERROR_WIDTH = 100


def suite(names: Iterable[str], settings: Settings, timeout_s: float, told: Callable[[Figures], None]) -> Figures:
    """Measures queries.

    Args:
        names: which.
        settings: how.
        timeout_s: how long one query may take.
        told: called with the figures of each query when it is done.

    Returns:
        The settings, `queries` with the figures of each (or its `error`), and the geometric means.
    """
    found: list[Figures] = []
    for name in names:
        figures = measure("headwater.bench.nexmark.run:run", {"name": name, **asdict(settings)}, timeout_s)
        found.append({"query": name, **figures})
        told(found[-1])
    return {
        **asdict(settings),
        "event_time_s": timeline.span(settings.events, settings.rate).total_seconds(),
        "headwater": __version__,
        "duckdb": duckdb.__version__,
        "python": platform.python_version(),
        "machine_cores": os.cpu_count(),
        "queries": found,
        "events_per_s_mean": _mean(found, "events_per_s"),
        "of_duckdb_mean": _mean(found, "of_duckdb"),
    }


def lines(queries: Sequence[Figures]) -> list[list[str]]:
    """The figures of queries under `HEADER`."""
    return [_line(figures) for figures in queries]


def failed(queries: Sequence[Figures]) -> list[str]:
    """Queries that are not what DuckDB says, or that did not run."""
    return [str(figures["query"]) for figures in queries if figures.get("verified", "equal") != "equal" or
            "error" in figures]  # fmt: skip


def summary(result: Figures) -> str:
    """In words what the table of a suite does not say."""
    means = [result["events_per_s_mean"], result["of_duckdb_mean"]]
    told = "; geometric means {:,.0f} events/s and {:.2f} of DuckDB's time".format(*means) if all(means) else ""
    return (
        f"{result['events']:,} events over {result['event_time_s']:,.1f} s of event time, in batches of "
        f"{result['batch']:,}, {result['threads']} thread(s){told}; of duckdb: seconds over those of DuckDB with all "
        "rows at once, 1 is as fast; generating rows and counting results are not timed"
    )


def profiles(queries: Sequence[Figures]) -> list[tuple[str, list[list[str]]]]:
    """Per profiled query where its time went, under `PROFILE_HEADER`."""
    return [(figures["query"], list(map(_profiled, figures["profile"]))) for figures in queries if "profile" in figures]


def _profiled(line: Figures) -> list[str]:
    return [f"{line['own_ms']:,.0f}", f"{line['all_ms']:,.0f}", f"{line['calls']:,}", line["function"]]


def _line(figures: Figures) -> list[str]:
    if "error" in figures:
        return [str(figures["query"]), "-", str(figures["error"])[:_ERROR_WIDTH]]
    number = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    return [
        str(figures["query"]), f"{number['events_per_s']:,.0f}", f"{number['seconds']:.3f}", f"{number['cores']:.2f}",
        f"{number['duckdb_s']:.3f}", f"{number['of_duckdb']:.2f}", f"{number['peak_bytes'] / 1e6:,.0f}",
        f"{number['state_bytes'] / 1e6:,.0f}", f"{number['rows']:,}", f"{number['changes']:,}",
        str(figures["checksum"]), str(figures.get("verified", "-")),
    ]  # fmt: skip


def _mean(queries: Sequence[Figures], name: str) -> float | None:
    """The geometric mean of a figure over the queries that have it."""
    values = [value for figures in queries if isinstance(value := figures.get(name), float)]
    return exp(sum(map(log, values)) / len(values)) if values else None
