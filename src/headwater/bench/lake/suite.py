"""The benchmark of the lake: Headwater and its rivals, each in a process of its own, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headwater.bench.child import Figures, measure

HEADER = ("what", "figure")

_MODULE = "headwater.bench.lake"


def suite(
    rows: int,
    changes: int,
    upsert: tuple[int, int],
    merge: tuple[int, int],
    folder: str,
    budget_bytes: int,
    told: Callable[[str], None],
) -> Figures:
    """Measures all.

    Args:
        rows: of Headwater's table.
        changes: keys that are updated in it in one commit.
        upsert, merge: rows and changes of PyIceberg's and of delta-rs' table; no rows: left out.
        folder: where tables go; the system's folder for temporary files if empty.
        budget_bytes: of RAM for Headwater's index.
        told: called with what is being measured.
    """
    told(f"headwater: {changes:,} random keys of {rows:,}")
    ours = {"rows": rows, "changes": changes, "folder": folder}
    found: Figures = {"headwater": {**ours, **_run("headwater:measure", {**ours, "budget_bytes": budget_bytes})}}
    for name, function, (its_rows, its_changes) in (
        ("pyiceberg_upsert", "rivals:pyiceberg", upsert),
        ("delta_merge", "rivals:delta", merge),
    ):
        if its_rows:
            told(f"{name}: {its_changes:,} random keys of {its_rows:,}")
            found[name] = _run(function, {"rows": its_rows, "changes": its_changes, "folder": folder})
    return found


def _run(function: str, arguments: dict[str, Any]) -> Figures:
    return measure(f"{_MODULE}.{function}", arguments, timeout_s=3600)


def lines(found: Figures) -> Sequence[Sequence[str]]:
    """The figures as rows of a table."""
    return [
        [f"{who} {name}", f"{value:,.2f}" if isinstance(value, float) else str(value)]
        for who, figures in found.items()
        for name, value in figures.items()
        if name != "folder"
    ]
