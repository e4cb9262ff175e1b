"""`headwater doctor`: looks at everything that a project depends on, and says how to mend what is not right."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from headwater.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headwater.finding import Finding
    from headwater.project import Project
    from headwater.runtime.doctor.looks import Look, Looked


def doctor(folder: Path = Path(), /, *, source: str = "", timeout: float = 30.0, json: bool = False) -> int:
    """Look at this machine, the sources, the lake and the destinations: reach, rights, settings, room, clocks, TLS.

    Nothing is made or changed. Each finding is ok, warn (it works, and may not for ever or not safely) or fail, with
    what mends it. The exit code is 0 without a fail, 4 when something cannot be reached, else 1.

    Args:
        folder: The project's folder.
        source: Look at this source only.
        timeout: Seconds after which what has not answered is told to be away. Everything is looked at at once.
        json: Print one JSON object.
    """
    from headwater.cli.opening import open_project
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.runtime.doctor.looks import together
    from headwater.runtime.doctor.project import looks_at

    if not timeout > 0:
        raise UserError(f"--timeout {timeout:g} leaves no time to look", hint="--timeout 30")
    project = open_project(folder)
    looked = together(_wanted(project, source, looks_at(project, SystemClock())), timeout)
    failed = [finding for one in looked for finding in one.findings if finding.level == "fail"]
    if json:
        output.print_json({"ok": not failed, "findings": [entry for one in looked for entry in _as_json(one)]})
    else:
        _say(looked)
    code = output.FAILED if failed else output.OK
    code = output.UNREACHABLE if any(one.away for one in looked) else code
    if any(one.late for one in looked):
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """Ends the process without tidying up: clients of storage and brokers would wait there for who does not answer."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wanted(project: Project, source: str, looks: Sequence[Look]) -> Sequence[Look]:
    from headwater.errors import UserError

    chosen = [look for look in looks if source in ("", look.source)]
    if not chosen:
        names = ", ".join(definition.name for definition in project.sources)
        raise UserError(f"the project has no source {source!r}", hint=f"its sources: {names or '-'}")
    return chosen


def _as_json(looked: Looked) -> list[dict[str, object]]:
    return [{"of": looked.look.of, "source": looked.look.source, **vars(finding)} for finding in looked.findings]


def _say(looked: Sequence[Looked]) -> None:
    found: list[Finding] = [finding for one in looked for finding in one.findings]
    wide = max((len(finding.check) for finding in found), default=0)
    for one in looked:
        output.print_data(one.look.of)
        for finding in one.findings:
            output.print_data(f"  {finding.level:4}  {finding.check.ljust(wide)}  {finding.message}")
            if finding.mend:
                output.print_data(f"        {' ' * wide}  mend: {finding.mend}")
    counts = {level: sum(each.level == level for each in found) for level in ("ok", "warn", "fail")}
    output.note(", ".join(f"{count} {level}" for level, count in counts.items()))
