"""`headwater checks`: how the quality checks stand, running or stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from headwater.cli import output
from headwater.cli.opening import read_project

if TYPE_CHECKING:
    from headwater.quality.check_results import Row

_WORDS = {"ok": "ok", "warn": "warn", "fail": "FAIL", "unknown": "-"}


def checks(
    directory: Path = Path(), /, *, model: str | None = None, failing: bool = False, history: int = 0,
    json: bool = False,
) -> int:  # fmt: skip
    """Show how the quality checks stand.

    What is shown was true at the end of the last epoch; the results are kept with the state, so that the project need
    not run. The exit code is 5 if a check of severity reject or stop fails.

    Args:
        directory: The project's folder.
        model: Only checks of this stream or model.
        failing: Only checks that fail.
        history: So many past results of each check too, the newest first.
        json: Print one JSON object to stdout.
    """
    from headwater.quality.check_results import read_results

    project = read_project(directory)
    known = {check.id for check in project.checks}
    found = [one for one in read_results(project.state, history=history) if f"{one['model']}.{one['name']}" in known]
    judged = {f"{one['model']}.{one['name']}" for one in found}
    if model is not None:
        found = [one for one in found if one["model"] == model]
    if failing:
        found = [one for one in found if one["state"] in ("warn", "fail")]
    code = output.WRONG_DATA if any(one["state"] == "fail" for one in found) else output.OK
    if json:
        output.print_json({"checks": found, "unjudged": sorted(known - judged)})
        return code
    _print(found)
    waiting = sorted(known - judged)
    if waiting and model is None and not failing:
        output.note(f"not judged yet: {', '.join(waiting)}; headwater run")
    if not known:
        output.note("this project has no checks: docs/checks.md")
    return code


def _past(then: Row) -> list[str]:
    told = then["failing"] if then["failing"] is not None else then["value"]
    return ["", f"  epoch {then['epoch']}", "", "" if told is None else f"{told:g}", _WORDS[str(then["state"])]]


def _print(found: list[Row]) -> None:
    rows: list[list[str]] = []
    for one in found:
        example = f" (e.g. {one['example']})" if one["example"] else ""
        failing = "" if one["failing"] is None else str(one["failing"])
        state = _WORDS[str(one["state"])]
        rows.append(
            [state, f"{one['model']}.{one['name']}", str(one["severity"]), failing, f"{one['message']}{example}"]
        )
        rows += [_past(then) for then in cast("list[Row]", one.get("history") or [])]
    if rows:
        output.print_table(("state", "check", "severity", "failing", "what"), rows)
