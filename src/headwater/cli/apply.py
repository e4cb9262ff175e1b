"""`headwater apply`: puts changed models into a running project without stopping the rest."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.project import Project
    from headwater.project.plan import Plan
    from headwater.runtime.swap.requests import ApplyStatus

TICK_S = 0.1
_WORDS = {
    "asked": "waits for the running project",
    "building": "builds",
    "following": "catches up",
    "canary": "runs beside the old version",
    "differs": "differs: a decision is waited for",
    "swapping": "is swapped in",
}


def apply(
    directory: Path = Path(),
    /,
    *,
    yes: bool = False,
    canary: str = "",
    tolerance: float | None = None,
    cancel: bool = False,
    status: bool = False,
    json: bool = False,
) -> int:
    """Bring the changed models of a project into force, without stopping the rest.

    Shows the plan, asks, and has the running project build the new versions beside the old ones and swap them in at an
    epoch. When nothing runs, the project is run once instead, which builds them first.

    Args:
        directory: The project's folder.
        yes: Do not ask. Needed where there is no terminal.
        canary: Keep both versions up to date for so long (10 min) and compare them before the swap.
        tolerance: With --canary, share of rows in percent that may differ; if more do, you are asked, or without a
            terminal the swap is refused.
        cancel: Give up the change that is under way; the old versions go on.
        status: Show how the change under way, or the last one, stands.
        json: Print one JSON object.
    """
    from headwater.cli.opening import open_project, read_project
    from headwater.clock import SystemClock
    from headwater.runtime.status import is_running
    from headwater.runtime.swap.asking import ask

    if cancel or status:
        return _cancel(read_project(directory), json) if cancel else _show(read_project(directory), json)
    canary_s = _seconds(canary)
    project = open_project(directory)
    running = is_running(project.state)
    if not _plan(project, running=running, json=json):
        return output.OK
    if not yes and not agreed("Apply this?"):
        output.note("nothing was changed" if sys.stdin.isatty() else "nothing was changed: --yes applies it")
        return output.OK if sys.stdin.isatty() else output.USAGE
    if not running:
        return _run_once(project, json)
    share = None if tolerance is None else tolerance / 100
    asked = ask(project, SystemClock().now_us(), canary_s=canary_s, tolerance=share)
    return _follow(project, asked.id, json)


def _seconds(canary: str) -> float | None:
    from headwater.errors import UserError
    from headwater.project.quantity import parse_duration

    try:
        return parse_duration(canary).total_seconds() if canary else None
    except ValueError as error:
        raise UserError(f"--canary {canary}: {error}", hint="headwater apply --canary '10 min'") from error


def _plan(project: Project, *, running: bool, json: bool) -> bool:
    """Shows what will be done; whether there is something to do."""
    from headwater.cli.plan import show_plan
    from headwater.errors import UserError
    from headwater.project.check import check
    from headwater.project.discovery import load_streams
    from headwater.project.plan import plan
    from headwater.project.recorded import load_recorded
    from headwater.runtime.swap.asking import needs_restart

    streams = load_streams(project.state)
    if streams:
        check(project, streams)
    made = plan(project, load_recorded(project.state), streams)
    restart = needs_restart(project) if running else []
    if restart:
        raise UserError(
            f"the settings of {', '.join(restart)} changed, which takes a restart",
            hint="stop headwater run and start it again: it does all of this",
        )
    if running:
        _say_left_out(made)
    changes = [item for item in made.changes if running is False or item.kind in ("model", "table")]
    if not changes:
        output.note("no model has changed" if made.changes else "nothing has changed")
        if json:
            output.print_json({"state": "done", "models": {}})
        return False
    if not json:
        show_plan(project, made, all=False)
    return True


def _say_left_out(made: Plan) -> None:
    """Says what has changed in headwater.yml that a project which runs does not take over."""
    settings = [item.name for item in made.changes if item.consequence == "restart"]
    if settings:
        output.warn(
            f"takes a restart, and is not applied: {', '.join(settings)}", "stop headwater run and start it again"
        )


def agreed(question: str) -> bool:
    """Asks the person at the terminal; no without one."""
    if not sys.stdin.isatty():
        return False
    output.note(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _run_once(project: Project, json: bool) -> int:
    """Runs the project until what its sources hold is in the tables, which builds what has changed."""
    from headwater.runtime.journal import Journal
    from headwater.runtime.supervisor import Supervisor

    output.note("nothing runs: the project is run once")
    supervisor = Supervisor(project, Journal(as_json=json), once=True)
    supervisor.stop_on_signals()
    error = supervisor.run()
    if error is not None:
        output.print_error(error)
        return output.exit_code(error)
    if json:
        output.print_json({"state": "done", "models": {}})
    return output.OK


def _follow(project: Project, identifier: str, json: bool) -> int:
    """Follows an apply to its end, and tells how it goes."""
    from headwater.clock import SystemClock
    from headwater.runtime.status import is_running
    from headwater.runtime.swap.requests import Applies

    applies, clock, never, told = Applies(project.state), SystemClock(), threading.Event(), ""
    while True:
        status = applies.status()
        if status is None or status.id != identifier:
            output.warn("another change has taken this one's place", "headwater apply --status")
            return output.FAILED
        line = _line(status)
        if line != told and not json and not status.is_over:
            output.note(line)
            told = line
        if status.is_over:
            return _told(status, json)
        if status.state == "differs" and not _decide(applies, status):
            applies.answer(identifier, go=False)
        if not is_running(project.state):
            output.warn("the project has stopped meanwhile: its next start builds the new versions", "headwater run")
            return output.FAILED
        clock.wait(never, TICK_S)


def _decide(applies: object, status: ApplyStatus) -> bool:
    from headwater.runtime.swap.requests import Applies

    assert isinstance(applies, Applies)
    for line in difference_lines(status):
        output.note(line)
    if agreed("Swap all the same?"):
        applies.answer(status.id, go=True)
        return True
    return False


def _line(status: ApplyStatus) -> str:
    words = _WORDS.get(status.state, status.state)
    names = ", ".join(status.models) or "the models"
    if status.state == "building" and status.rows_total:
        words += f": {100 * status.rows // status.rows_total} % of {output.counted(status.rows_total, 'row')}"
    if status.again:
        words += f" (begun again {output.counted(status.again, 'time')}: an input's columns changed)"
    return f"{names}: {words}"


def _told(status: ApplyStatus, json: bool) -> int:
    """Says how it ended; the exit code."""
    codes = {"done": output.OK, "cancelled": output.WRONG_DATA if status.compared else output.FAILED}
    code = codes.get(status.state, output.FAILED)
    if json:
        output.print_json(vars(status))
        return code
    if status.state == "done":
        for line in difference_lines(status):
            output.note(line)
        names = ", ".join([*status.models, *status.leave]) or "nothing to build"
        output.note(f"done: {names}; epoch {status.epoch}; epochs waited {status.pause_ms:.0f} ms for it at most")
    else:
        output.warn(f"{status.state}: {status.error or 'the old versions go on'}", status.hint)
    return code


def difference_lines(status: ApplyStatus) -> list[str]:
    """What differs between the versions, for people."""
    lines = []
    for one in status.compared:
        counts = ", ".join(f"{one[what]} {what}" for what in ("came", "gone", "changed") if one[what])
        lines.append(f"{one['model']}: {one['before']} rows before, {one['after']} now; {counts or 'no row differs'}")
        for name, what in (("columns_came", "new"), ("columns_gone", "dropped")):
            names = one[name]
            if isinstance(names, list | tuple) and names:
                lines.append(f"  {what} columns: {', '.join(map(str, names))}")
        sample = one["sample"]
        for row in sample[:5] if isinstance(sample, list | tuple) else ():
            mark = {"came": "+", "gone": "-", "changed": "~"}[row["what"]]
            was = "".join(f"  ({name} was {value})" for name, value in row.get("before", {}).items())
            lines.append(f"  {mark} " + ", ".join(f"{name}={value}" for name, value in row["row"].items()) + was)
    return lines


def _show(project: Project, json: bool) -> int:
    from headwater.runtime.swap.requests import Applies

    status = Applies(project.state).status()
    if status is None:
        output.note("no change of the models was asked for yet")
        if json:
            output.print_json({"state": "none"})
        return output.OK
    if json:
        output.print_json(vars(status))
    elif status.is_over:
        _told(status, json=False)
    else:
        output.note(_line(status))
    return output.OK


def _cancel(project: Project, json: bool) -> int:
    from headwater.runtime.swap.requests import Applies

    applies = Applies(project.state)
    request = applies.pending()
    if request is None:
        output.note("no change is under way")
    else:
        applies.answer(request.id, go=False)
        output.note("it is given up; the old versions go on")
    if json:
        output.print_json({"cancelled": request.id if request is not None else None})
    return output.OK
