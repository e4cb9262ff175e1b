"""Which sources `headwater bench ingest` measures. A new one is one line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from headwater.errors import UserError

Measure = Callable[[int, Callable[[dict[str, Any]], None]], list[dict[str, Any]]]
"""Takes how many records, and what is told of each finding; returns the findings. A finding has `what`, `records`,
`seconds`, `cpu_s`, `per_s` and `per_core_s` (records to a second of processor time), or `what` and `error`."""

SOURCES: Mapping[str, str] = {
    "http": "headwater.bench.ingest.http:measure",
    "files": "headwater.bench.ingest.files:measure",
    "kafka": "headwater.bench.ingest.kafka:measure",
}

HEADER = ["what", "records", "seconds", "cpu_s", "per_s", "per_core_s"]


def ingest(source: str, records: int, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measures one source.

    Raises:
        UserError: there is no such source.
    """
    if source not in SOURCES:
        raise UserError(f"no source {source!r} is measured", hint=f"one of: {', '.join(sorted(SOURCES))}")
    module, _, name = SOURCES[source].partition(":")
    measure = cast(Measure, getattr(import_module(module), name))
    return {"v": 1, "source": source, "records": records, "readers": measure(records, tell)}


def finding(what: str, records: int, seconds: float, cpu_s: float) -> dict[str, Any]:
    """A finding."""
    return {
        "what": what,
        "records": records,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "per_s": records / seconds,
        "per_core_s": records / cpu_s,
    }


def line(found: Mapping[str, Any]) -> list[str]:
    """A finding as cells of a table."""
    if "error" in found:
        return [str(found["what"]), str(found["error"]), "", "", "", ""]
    shown = [
        f"{found['seconds']:.2f}",
        f"{found['cpu_s']:.2f}",
        f"{found['per_s']:,.0f}",
        f"{found['per_core_s']:,.0f}",
    ]
    return [str(found["what"]), f"{found['records']:,}", *shown]
