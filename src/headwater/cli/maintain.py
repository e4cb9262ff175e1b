"""`headwater maintain`: keep the tables small and healthy, now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.lake.maintenance import Task
    from headwater.runtime.maintenance_runs import Run

SHOWN = 20
"""Runs that --runs shows."""


def maintain(*tables: str, folder: Path = Path(), dry_run: bool = False, runs: bool = False, json: bool = False) -> int:
    """Merge small files and deletes, let old table snapshots go, and remove files that nothing needs. A running project
    does so by itself all the time, and is asked to do it at once; of a stopped one it is done here.

    Args:
        tables: Which tables; all if none is named.
        folder: The project's folder.
        dry_run: Only show what would be done.
        runs: Only show what was done last.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.cli.progress_bar import progress
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.runtime import maintain as upkeep
    from headwater.runtime.maintenance_runs import MaintenanceRecord

    if dry_run and runs:
        raise UserError("--dry-run and --runs exclude one another")
    project = read_project(folder)
    if dry_run:
        return _show_plan(upkeep.planned(project, tables, SystemClock()), json=json)
    if runs:
        known = MaintenanceRecord(project.state).runs(SHOWN)
        return _show_runs([run for run in known if not tables or run.table in tables], json=json)
    with progress("maintaining", shown=not json):
        made = upkeep.maintain(project, tables, SystemClock())
    return _show_runs(made, json=json)


def _show_plan(tasks: Sequence[tuple[str, Task]], *, json: bool) -> int:
    told = [
        {"table": name, "kind": task.kind, "reason": task.reason, "files": task.files, "bytes": task.bytes}
        for name, task in tasks
    ]
    if json:
        output.print_json({"tasks": told})
    elif not told:
        output.note("there is nothing to do")
    else:
        lines = [[name, task.kind, f"{task.files:,}", f"{task.bytes:,}", task.reason] for name, task in tasks]
        output.print_table(["table", "would do", "files", "bytes", "because"], lines)
    return output.OK


def _show_runs(runs: Sequence[Run], *, json: bool) -> int:
    if json:
        output.print_json({"runs": [asdict(run) for run in runs]})
    elif not runs:
        output.note("there was nothing to do")
    else:
        output.print_table(
            ["time (UTC)", "table", "did", "files", "rows", "read", "written", "took", ""], [_line(run) for run in runs]
        )
    return output.FAILED if any(run.note.startswith("failed") for run in runs) else output.OK


def _line(run: Run) -> list[str]:
    began = datetime.fromtimestamp(run.began_us / 1e6, UTC)
    files = f"{run.files_removed:,} -> {run.files_added:,}"
    amounts = [f"{amount:,}" for amount in (run.rows, run.bytes_read, run.bytes_written)]
    did = run.kind if run.done else f"{run.kind}: not done"
    return [f"{began:%m-%d %H:%M:%S}", run.table, did, files, *amounts, f"{run.took_s:.2f} s", run.note or run.reason]
