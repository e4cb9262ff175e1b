"""The figures as tables: events a second of each engine, ratios and their mean, and what others have published."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
"""Of one query: `query`, and by engine the JSON of `Measured`, or `why_not`."""

PUBLISHED = {
    "flink_v1_ev_core_s": "Flink V1", "flink_v2_ev_core_s": "Flink V2",
    "feldera_ev_worker_s": "Feldera", "risingwave_ev_core_s": "RisingWave",
}  # fmt: skip
"""Columns of published.csv, thousand events a second per core, with their headings."""


def ratio(figures: Figures, engine: str, name: str = "seconds") -> float | None:
    """How many times what Headwater takes the other engine takes; None where one has no figure."""
    ours, theirs = figures["headwater"].get(name), figures[engine].get(name)
    return theirs / ours if ours and theirs else None


def mean(values: Sequence[float | None]) -> float | None:
    """The geometric mean of what there is."""
    found = [value for value in values if value]
    return exp(sum(map(log, found)) / len(found)) if found else None


def summary(queries: Sequence[Figures], engine: str) -> dict[str, float | int | None]:
    """What the ratios to an engine come to."""
    ratios = [ratio(figures, engine) for figures in queries]
    return {
        "queries": sum(value is not None for value in ratios),
        "ratio_mean": mean(ratios),
        "ratio_least": min((value for value in ratios if value), default=None),
        "cpu_ratio_mean": mean([ratio(figures, engine, "cpu_s") for figures in queries]),
    }


def header(engine: str) -> list[str]:
    """Headings of the table of one engine."""
    return ["query", "headwater ev/s", "workers", f"{engine} ev/s",
            "ratio", "ratio of cpu", "of duckdb", "rows", "same rows"]  # fmt: skip


def line(figures: Figures, engine: str, events: int) -> list[str]:
    """One query under `header`."""
    ours, theirs = figures["headwater"], figures[engine]
    return [
        figures["query"], _rate(ours, events), str(ours.get("workers") or "-"), _rate(theirs, events),
        _times(ratio(figures, engine)), _times(ratio(figures, engine, "cpu_s")), _of_duckdb(ours),
        f"{ours['rows']:,}" if "rows" in ours else "-",
        same_rows(figures, engine),
    ]  # fmt: skip


def same_rows(figures: Figures, engine: str) -> str:
    """Whether both engines' results have as many rows; "-" where one does not say."""
    counts = [figures[name].get("rows") for name in ("headwater", engine)]
    if None in counts:
        return "-"
    return "yes" if counts[0] == counts[1] else f"no: {counts[1]:,}"


def last_line(queries: Sequence[Figures], engine: str) -> list[str]:
    """The geometric means under `header`."""
    found = summary(queries, engine)
    duckdb = mean([_duckdb(figures["headwater"]) for figures in queries])
    return ["mean", "", "", "", _times(found["ratio_mean"]), _times(found["cpu_ratio_mean"]),
            f"{duckdb:.2f}" if duckdb else "-", "", ""]  # fmt: skip


def markdown(result: Figures, engine: str) -> str:
    """The page that is kept in bench/results."""
    queries, events = result["queries"], result["events"]
    rows = [line(figures, engine, events) for figures in queries]
    lines = [f"# Headwater beside {engine}", "", *_told(result, engine), ""]
    lines += _table(header(engine), [*rows, last_line(queries, engine)])
    refused = [
        f"- {figures['query']}, {name}: {figures[name]['why_not']}"
        for figures in queries
        for name in ("headwater", engine)
        if "why_not" in figures[name]
    ]
    lines += ["", "No figure:", "", *refused] if refused else []
    return "\n".join([*lines, "", *_published(result, engine)]) + "\n"


def _published(result: Figures, engine: str) -> list[str]:
    events, cores = result["events"], len(result["pinned"])
    with (Path(__file__).parents[1] / "published.csv").open(encoding="utf-8") as file:
        published = {row["query"]: row for row in csv.DictReader(file)}
    rows = []
    for figures in result["queries"]:
        theirs = published.get(figures["query"], {})
        here = [_per_core(figures[name], events, cores) for name in ("headwater", engine)]
        rows.append([figures["query"], *here, *(_thousands(theirs.get(column)) for column in PUBLISHED)])
    return [
        "## Beside published figures",
        "",
        "Thousand events a second and core. Other machines, other sources: orders of magnitude, not ratios.",
        "",
        *_table(["query", "headwater here", f"{engine} here", *PUBLISHED.values()], rows),
    ]


def _told(result: Figures, engine: str) -> list[str]:
    engines = result["engines"]
    about = {**result["machine"], "cores used": result["pinned"], **engines["headwater"], **engines[engine]}
    return [
        f"{result['events']:,} Nexmark events (seed {result['seed']}, {result['rate']:g} to a second of event time), "
        f"the same rows for both, on the same {len(result['pinned'])} cores, one after the other, {result['date']}. "
        "Headwater runs with a worker on each core and with one; the better run counts.",
        "Ratio: seconds of the other engine over Headwater's. Of cpu: the same of processor seconds, which other load "
        "on the machine moves less. Of duckdb: Headwater's seconds over those of DuckDB's one-shot answer. "
        "Mean: geometric.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
    ]


def _table(heading: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in [heading, ["---"] * len(heading), *rows]]


def _rate(figures: Figures, events: int) -> str:
    if "seconds" not in figures:
        return "-"
    label = "" if figures["mode"] == "streaming" else f" ({figures['mode']})"
    return f"{events / figures['seconds']:,.0f}{label}"


def _per_core(figures: Figures, events: int, cores: int) -> str:
    return f"{events / figures['seconds'] / cores / 1e3:,.0f}" if "seconds" in figures else "-"


def _thousands(value: str | None) -> str:
    return f"{float(value) / 1e3:,.0f}" if value else "-"


def _times(value: float | None) -> str:
    return f"{value:.1f}x" if value else "-"


def _duckdb(ours: Figures) -> float | None:
    return ours["seconds"] / ours["duckdb_s"] if ours.get("duckdb_s") else None


def _of_duckdb(ours: Figures) -> str:
    value = _duckdb(ours)
    return f"{value:.2f}" if value else "-"
