"""`headwater snapshot`: read tables again while their changes are followed, and steer what is being read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.capture.request import Action
    from headwater.project import Project

ANSWER_S = 5.0
"""How long a project that runs is waited for."""


def snapshot(
    *tables: str,
    folder: Path = Path(),
    where: str = "",
    pause: bool = False,
    resume: bool = False,
    stop: bool = False,
    status: bool = False,
    json: bool = False,
) -> int:
    """Read tables again, while their changes are followed; afterwards they equal the source, and rows that it no longer
    has are gone. A project that runs begins at once, one that is stopped when it runs next.

    Args:
        tables: Which, as SOURCE.TABLE or SOURCE.SCHEMA.TABLE, * and ? allowed. With --pause, --resume and --stop all of
            a source if only SOURCE is given, and all of the project if nothing is.
        folder: The project's folder.
        where: Read only rows that meet this condition, in the source's SQL; no row goes then.
        pause: Pause the snapshots that wait or run.
        resume: Go on with paused ones.
        stop: Give them up.
        status: Show the snapshots and how far they are.
        json: With --status, print one JSON object.
    """
    from headwater.cli.opening import read_project
    from headwater.errors import UserError

    chosen: dict[Action, bool] = {"pause": pause, "resume": resume, "stop": stop}
    actions = [action for action, wanted in chosen.items() if wanted]
    if len(actions) + status > 1 or (where and (actions or status)):
        raise UserError("--pause, --resume, --stop, --status and --where exclude one another")
    project = read_project(folder)
    if status or not (tables or actions):
        return _show(project, json=json)
    wanted = _by_source(project, tables, whole=bool(actions))
    return _submit(project, actions[0] if actions else "snapshot", wanted, where)


def _by_source(project: Project, tables: Sequence[str], *, whole: bool) -> dict[str, list[str]]:
    """Tables by source. `whole`: a source alone means all its tables, and nothing means all sources.

    Raises:
        UserError: a name leads to no source.
    """
    from headwater.errors import UserError

    names = [definition.name for definition in project.sources]
    wanted: dict[str, list[str]] = {name: [] for name in names} if not tables else {}
    for given in tables:
        source, _, table = given.partition(".")
        if source not in names and len(names) == 1:
            source, table = names[0], given
        if source not in names:
            raise UserError(f"the project has no source {source!r}", hint=f"its sources: {', '.join(names) or '-'}")
        if not table and not whole:
            raise UserError(f"which table of {source}?", hint=f"headwater snapshot '{source}.*' reads all of them")
        wanted.setdefault(source, []).extend([table] if table else [])
    return wanted


def _submit(project: Project, action: Action, wanted: Mapping[str, Sequence[str]], where: str) -> int:
    from headwater.capture.request import Request
    from headwater.clock import SystemClock
    from headwater.runtime.requests import Requests, new_id
    from headwater.runtime.status import is_running

    clock, code = SystemClock(), output.OK
    for source, tables in wanted.items():
        requests = Requests(project.state, source)
        request = Request(new_id(clock.now_us()), action, tuple(tables), where)
        requests.submit(request)
        if not is_running(project.state):
            output.note(f"{action} of {', '.join(tables) or source}: when the project runs next")
            continue
        deadline = clock.monotonic_s() + ANSWER_S
        while requests.waits(request.id) and clock.monotonic_s() < deadline:
            clock.wait(threading.Event(), 0.05)
        refusal = requests.refusal(request.id)
        if refusal is not None:
            output.warn(f"{source}: {refusal}")
            code = output.FAILED
        else:
            later = " (not taken up yet)" if requests.waits(request.id) else ""
            output.note(f"{action} of {', '.join(tables) or source}: asked for{later}; headwater snapshot --status")
    return code


def _show(project: Project, *, json: bool) -> int:
    from headwater.runtime.requests import Requests
    from headwater.runtime.status import read_status

    current = read_status(project.state)
    shown = []
    for source in cast(Sequence[Mapping[str, object]], current["sources"]):
        name = str(source["name"])
        for entry in cast(Sequence[Mapping[str, object]], source.get("snapshots") or ()):
            shown.append({"source": name, **entry})
        for request in Requests(project.state, name).pending():
            if request.action in ("snapshot", "pause", "resume", "stop"):
                asked = ", ".join(request.tables) or "all"
                shown.append({"source": name, "table": asked, "state": f"{request.action} asked for"})
    if json:
        output.print_json({"snapshots": shown})
        return output.OK
    output.print_table(["source", "table", "state", "rows", "of about", ""], [_line(entry) for entry in shown])
    return output.OK


def _line(entry: Mapping[str, object]) -> list[str]:
    rows, expected = (entry.get(name) for name in ("rows", "expected"))
    amounts = ("" if rows is None else f"{rows:,}", "" if expected is None else f"{expected:,}")
    return [str(entry["source"]), str(entry["table"]), str(entry["state"]), *amounts, str(entry.get("message") or "")]
