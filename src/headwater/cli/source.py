"""`headwater source`: how the sources fare, and what to do when a source's position is lost."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cyclopts import App

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from headwater.capture.request import Action
    from headwater.errors import PositionLost
    from headwater.position import Boundary
    from headwater.project import Project

app = App(name="source", help="Show how the sources fare, and decide what to do when one has lost its position.")


@app.command
def ls(folder: Path = Path(), /, *, json: bool = False) -> int:
    """List the sources: state, how much each makes its server keep, alarms, gaps, and decisions that wait.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.runtime.requests import Requests
    from headwater.runtime.status import read_status

    state = read_project(folder).state
    current = read_status(state)
    sources = [dict(source) for source in cast(Sequence[Mapping[str, object]], current["sources"])]
    for source in sources:
        waiting = Requests(state, str(source["name"])).decision()
        source["decision"] = waiting.action if waiting else None
        source["state"] = source["state"] if current["running"] or source["state"] == "stopped" else "not running"
    if json:
        output.print_json({"sources": sources})
        return output.OK
    output.print_table(
        ["source", "state", "lag", "server keeps", "budget", "gaps", "decision"], [_line(source) for source in sources]
    )
    for source in sources:
        if source["error"]:
            output.warn(f"{source['name']}: {source['error']}")
        for alarm in cast(Sequence[Mapping[str, str]], source["alarms"]):
            output.warn(f"{source['name']}: {alarm['message']}", alarm["hint"])
    return output.OK


@app.command
@as_json
def resnapshot(source: str, folder: Path = Path(), /, *, because: str = "") -> int:
    """Read all tables of a source again, from a new position; they are whole afterwards, and gaps are closed.

    The tables are emptied and filled again. A project that runs does it at once, one that is stopped when it runs next.

    Args:
        source: The source's name.
        folder: The project's folder.
        because: Why, for the record.
    """
    from headwater.cli.opening import read_project

    project = read_project(folder)
    _require_known(project, source)
    _submit(project, source, "resnapshot", because=because)
    return output.OK


@app.command
@as_json
def accept_gap(source: str, folder: Path = Path(), /, *, yes: bool = False, because: str = "") -> int:
    """Go on without what a source can no longer send. Shows what is lost, and asks.

    The gap becomes an entry of the ledger of rejects, and stays open there until a later snapshot closes it.

    Args:
        source: The source's name.
        folder: The project's folder.
        yes: Do not ask.
        because: Why, for the record.
    """
    from headwater.cli.opening import open_project

    project = open_project(folder)
    _require_known(project, source)
    boundary = _log_end(project, source)
    lost = _examine(project, source, boundary)
    if lost is None:
        output.note(f"nothing of {source} is lost: it can go on from where the log ends")
        return output.OK
    _show(source, lost, boundary)
    if not yes and not _agreed():
        return output.FAILED
    _submit(project, source, "accept_gap", cause=lost.cause, because=because)
    return output.OK


@app.command
@as_json
def accept_change(source: str, table: str, folder: Path = Path(), /, *, because: str = "") -> int:
    """Go on with a table whose definition has changed in a way that the source stopped at.

    Its columns are followed; where its rows are not known after the change, it is read anew. Other tables and later
    changes are not meant.

    Args:
        source: The source's name.
        table: The table, schema.table.
        folder: The project's folder.
        because: Why, for the record.
    """
    from headwater.cli.opening import read_project

    project = read_project(folder)
    _require_known(project, source)
    _submit(project, source, "accept_change", tables=(table,), because=because)
    return output.OK


def _line(source: Mapping[str, object]) -> list[str]:
    health = cast(Mapping[str, object], source.get("health") or {})
    counted = source.get("lag_unit") == "messages" and source["lag_bytes"] is not None
    amounts = (source["lag_bytes"], health.get("wal_kept_bytes"), health.get("wal_budget_bytes"))
    lag, kept, budget = ("-" if amount is None else output.size(cast(int, amount)) for amount in amounts)
    lag = f"{source['lag_bytes']:,} messages" if counted else lag
    decision = str(source["decision"] or "").replace("_", "-")
    return [str(source["name"]), str(source["state"]), lag, kept, budget, str(source.get("gaps", 0)), decision]


def _require_known(project: Project, source: str) -> None:
    from headwater.errors import UserError

    names = [definition.name for definition in project.sources]
    if source not in names:
        raise UserError(f"the project has no source {source!r}", hint=f"its sources: {', '.join(names) or '-'}")


def _log_end(project: Project, source: str) -> Boundary:
    from headwater.errors import UserError
    from headwater.log.view import open_for_reading

    folder = project.state / "log" / source
    view = open_for_reading(folder) if folder.is_dir() else None
    if view is None or not view.head:
        raise UserError(f"nothing of {source} has been captured yet", hint="headwater run")
    return view.boundary_at(view.head)


def _examine(project: Project, source: str, boundary: Boundary) -> PositionLost | None:
    from headwater.clock import SystemClock
    from headwater.project.connectors import make_source
    from headwater.runtime.identity import state_identity

    definition = next(one for one in project.sources if one.name == source)
    made = make_source(definition, project.name, state_identity(project.state), SystemClock())
    return made.examine(boundary.resume)


def _show(source: str, lost: PositionLost, boundary: Boundary) -> None:
    from datetime import UTC, datetime

    at = boundary.commit_time_us
    last = f", the last of them committed {datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""
    told = [
        ("cause", f"{lost.cause}: {lost.message}"),
        ("from", f"{lost.since}: the log holds everything before{last}"),
        ("to", lost.until or "where the source can begin; not known before it does"),
        ("lost", "unknown" if lost.lost_bytes is None else f"up to {output.size(lost.lost_bytes)} of the source's log"),
    ]
    output.note(f"{source} would go on without changes that it may have missed:")
    for name, value in told:
        output.note(f"  {name:6} {value}")
    output.note(f"To lose nothing, use `headwater source resnapshot {source}` instead.")


def _agreed() -> bool:
    from headwater.errors import UserError

    if not sys.stdin.isatty():
        raise UserError("nobody is there to be asked", hint="add --yes to accept what is shown above")
    return input("Accept the gap? [y/N] ").strip().lower() in ("y", "yes")


def _submit(
    project: Project,
    source: str,
    action: Action,
    *,
    tables: tuple[str, ...] = (),
    cause: str = "",
    because: str = "",
) -> None:
    from headwater.capture.request import Request
    from headwater.clock import SystemClock
    from headwater.runtime.requests import Requests, new_id
    from headwater.runtime.status import is_running

    request = Request(new_id(SystemClock().now_us()), action, tables, cause=cause, reason=because)
    Requests(project.state, source).submit(request)
    when = "the running project does it now" if is_running(project.state) else "the next `headwater run` does it"
    output.note(f"{action.replace('_', '-')} of {source} is noted: {when}")
