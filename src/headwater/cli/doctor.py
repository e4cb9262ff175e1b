"""`headwater doctor`: looks at everything a project's capture depends on, and says how to mend what is not right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headwater.capture.finding import Finding
    from headwater.clock import Clock
    from headwater.position import Resume
    from headwater.project import Project
    from headwater.project.definition import SourceDefinition


def doctor(folder: Path = Path(), /, *, source: str = "", json: bool = False) -> int:
    """Look at this machine and at every source: versions, settings, rights, slots, log kept, TLS, clocks, disks.

    Nothing is made or changed. Each finding is ok, warn (it works, and may not for ever or not safely) or fail, with
    what mends it. The exit code is 0 without a fail, 4 when a source cannot be reached, else 1.

    Args:
        folder: The project's folder.
        source: Look at this source only.
        json: Print one JSON object.
    """
    from headwater.cli.opening import open_project
    from headwater.clock import SystemClock
    from headwater.runtime.local_findings import local_findings

    project, clock = open_project(folder), SystemClock()
    found = [("", finding) for finding in (local_findings(project, clock) if not source else ())]
    code = output.OK
    for definition in _wanted(project, source):
        of_source, unreachable = _look(project, definition, clock)
        found += [(definition.name, finding) for finding in of_source]
        code = output.UNREACHABLE if unreachable else code
    failed = sum(finding.level == "fail" for _, finding in found)
    if json:
        output.print_json({"ok": not failed, "findings": [{"source": name, **vars(each)} for name, each in found]})
    else:
        _say(found)
    return code or (output.FAILED if failed else output.OK)


def _wanted(project: Project, source: str) -> Sequence[SourceDefinition]:
    from headwater.errors import UserError

    chosen = [definition for definition in project.sources if source in ("", definition.name)]
    if not chosen:
        names = ", ".join(definition.name for definition in project.sources)
        raise UserError(f"the project has no source {source!r}", hint=f"its sources: {names or '-'}")
    return chosen


def _look(project: Project, definition: SourceDefinition, clock: Clock) -> tuple[Sequence[Finding], bool]:
    """What a source is like, and whether it could not be reached."""
    from headwater.capture.finding import Diagnosable, Finding
    from headwater.errors import HeadwaterError
    from headwater.project.connectors import make_source
    from headwater.project.discovery import state_identity

    made = make_source(definition, project.name, state_identity(project.state), clock)
    try:
        if isinstance(made, Diagnosable):
            return made.diagnose(_resume(project, definition.name)), False
        return [Finding("check", "ok", sentence) for sentence in made.check()], False
    except HeadwaterError as error:
        return [Finding("connection", "fail", error.message, error.hint)], True


def _resume(project: Project, source: str) -> Resume | None:
    from headwater.log.view import open_for_reading

    folder = project.state / "log" / source
    view = open_for_reading(folder) if folder.is_dir() else None
    return view.boundary_at(view.head).resume if view is not None and view.head else None


def _say(found: Sequence[tuple[str, Finding]]) -> None:
    wide = max((len(finding.check) for _, finding in found), default=0)
    before = None
    for name, finding in found:
        if name != before:
            output.print_data(f"source {name}" if name else "this machine")
            before = name
        output.print_data(f"  {finding.level:4}  {finding.check.ljust(wide)}  {finding.message}")
        if finding.mend:
            output.print_data(f"        {' ' * wide}  mend: {finding.mend}")
    counts = {level: sum(each.level == level for _, each in found) for level in ("ok", "warn", "fail")}
    output.note(", ".join(f"{count} {level}" for level, count in counts.items()))
