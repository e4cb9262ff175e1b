"""`headwater plan`: shows what the next run will do, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.project import Project
    from headwater.project.plan import Plan


def plan(directory: Path = Path(), /, *, connect: bool = True, json: bool = False, all: bool = False) -> int:
    """Show what the next run will do, and why.

    Compares the project with what ran last: which sources, streams, models and tables are new, changed or gone, and
    what must be read, built or rebuilt. Nothing is made or changed anywhere.

    Args:
        directory: The project's folder.
        connect: Ask the sources which tables they have; without it those that they had last are taken.
        json: Print one JSON object to stdout.
        all: Show what stays as it is, too.
    """
    from headwater.cli.check import known_streams
    from headwater.clock import SystemClock
    from headwater.project import load
    from headwater.project.discovery import ask_sources
    from headwater.project.plan import plan as make_plan
    from headwater.project.recorded import load_recorded

    project = load(directory, environment=os.environ)
    answers = ask_sources(project, SystemClock()) if connect else None
    made = make_plan(project, load_recorded(project.state), known_streams(project, answers))
    errors = answers.errors if answers else {}
    for name, error in errors.items():
        output.warn(f"the source {name!r} did not answer: {error.message}", error.hint)
    if json:
        output.print_json({**made.to_json(), **_needs_json(project, made), "unreachable": sorted(errors)})
    else:
        show_plan(project, made, all=all)
    return next((output.exit_code(error) for error in errors.values()), output.OK)


def show_plan(project: Project, made: Plan, *, all: bool) -> None:
    """Prints a plan, and what it takes."""
    shown = made.items if all else made.changes
    if shown or not made.streams_known:
        output.print_table(
            ("WHAT", "NAME", "STATE", "NEXT RUN", "WHY"),
            [(item.kind, item.name, item.state, item.consequence, item.reason) for item in shown],
        )
    else:
        output.note("nothing has changed: the next run goes on where the last one stopped")
    _say_needs(project, made)
    _say(len(made.items) - len(made.changes), made.streams_known)


def _needs_json(project: Project, made: Plan) -> dict[str, object]:
    from headwater.runtime.swap.needs import needs

    wanted, kept = needs(project, made)
    return {"needs": [one.to_json() for one in wanted], "kept": [vars(one) for one in kept]}


def _say_needs(project: Project, made: Plan) -> None:
    """Says from how much history models are built, and which state is kept."""
    from headwater.runtime.swap.needs import needs

    wanted, kept = needs(project, made)
    for need in wanted:
        inputs = ", ".join(f"{one.name} ({_amount(one.rows, one.bytes)} of the {one.where})" for one in need.inputs)
        output.note(f"{need.model} is built from {inputs or 'models that are built too'}")
    state = sum(one.bytes or 0 for one in kept)
    if wanted and kept:
        output.note(f"the state of {output.counted(len(kept), 'model')} is kept ({output.size(state)})")


def _amount(rows: int | None, size: int | None) -> str:
    found = [output.counted(rows, "row")] if rows is not None else []
    found += [output.size(size)] if size is not None else []
    return ", ".join(found) or "as much as there is"


def _say(unchanged: int, streams_known: bool) -> None:
    if unchanged:
        output.note(f"{unchanged} more stay as they are (--all shows them)")
    if not streams_known:
        output.warn("streams and their tables are missing here: it is not known which tables the sources have")
