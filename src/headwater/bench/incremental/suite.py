"""Every construct at two sizes, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headwater.bench.child import Figures, measure
from headwater.bench.incremental.run import CHANGES

HEADER = (
    "construct",
    "ms small",
    "ms large",
    "ratio",
    "cpu ms small",
    "cpu ms large",
    "ratio",
    "changes out",
    "load rows/s",
    "peak MB",
    "",
)
ALLOWED = 3.0
"""How many times slower a change may be with a hundred times the rows."""


def suite(
    names: Iterable[str],
    rows: tuple[int, int],
    limits: tuple[float, int],
    verify: bool,
    told: Callable[[Figures], None],
) -> Figures:
    """Measures constructs.

    Args:
        names: which.
        rows: how many rows are there, few and many.
        limits: seconds and bytes of memory that a construct may take at one size.
        verify: whether the changes are added up and compared with DuckDB's answer.
        told: called with the figures of each when it is done.

    Returns:
        `constructs`, per construct: small and large (`ms` and what else `run`
        gives, or its error), ratio of `ms`, cpu_ratio of `cpu_ms`, last_resort.
    """
    found: list[Figures] = []
    for name in names:
        sizes = [_measured(name, count, verify, *limits) for count in rows]
        found.append(_compared(name, *sizes))
        told(found[-1])
    return {"rows": list(rows), "changes": CHANGES, "constructs": found}


def _measured(name: str, rows: int, verify: bool, timeout_s: float, memory_bytes: int) -> Figures:
    arguments = {"name": name, "rows": rows, "memory_bytes": memory_bytes, "verify": verify}
    return measure("headwater.bench.incremental.run:run", arguments, timeout_s)


def _compared(name: str, small: Figures, large: Figures) -> Figures:
    ratio, cpu_ratio = (
        large[figure] / small[figure] if figure in small and figure in large else None for figure in ("ms", "cpu_ms")
    )
    return {
        "construct": name, "small": small, "large": large, "ratio": ratio, "cpu_ratio": cpu_ratio,
        "last_resort": small.get("last_resort", ""),
    }  # fmt: skip


def slow(constructs: Sequence[Figures]) -> list[str]:
    """Constructs whose cost follows the history, or that did not run, though they are no last resort."""
    return [c["construct"] for c in constructs if not c["last_resort"] and (c["ratio"] is None or c["ratio"] > ALLOWED)]


def wrong(constructs: Sequence[Figures]) -> list[str]:
    """Constructs that are not what DuckDB says."""
    sizes = ("small", "large")
    return [c["construct"] for c in constructs if any(c[size].get("verified", "equal") != "equal" for size in sizes)]


def lines(constructs: Sequence[Figures], rows: Sequence[int]) -> list[list[str]]:
    """The figures of constructs under `HEADER`."""
    return [_line(figures, rows[1]) for figures in constructs]


def _line(figures: Figures, rows: int) -> list[str]:
    small, large = figures["small"], figures["large"]
    note = f"last resort: {figures['last_resort']}" if figures["last_resort"] else ""
    grown = large.get("changes", 0) / max(small.get("changes", 0), 1)
    if grown > ALLOWED:
        note = f"{note}; the result itself changes {grown:.0f} times as much".removeprefix("; ")
    unequal = (one["verified"] for one in (small, large) if one.get("verified", "equal") != "equal")
    error = small.get("error") or large.get("error") or next(unequal, "")
    ratio = f"{figures['ratio']:.1f}" if figures["ratio"] else "-"
    cpu_ratio = f"{figures['cpu_ratio']:.1f}" if figures["cpu_ratio"] else "-"
    return [
        figures["construct"], _shown(small, "ms", 1), _shown(large, "ms", 1), ratio,
        _shown(small, "cpu_ms", 1), _shown(large, "cpu_ms", 1), cpu_ratio, _shown(large, "changes", 1),
        f"{rows / large['load_s']:,.0f}" if "load_s" in large else "-", _shown(large, "peak_bytes", 1e6), error or note,
    ]  # fmt: skip


def _shown(figures: dict[str, Any], name: str, unit: float) -> str:
    return f"{figures[name] / unit:,.1f}" if name in figures else "-"
