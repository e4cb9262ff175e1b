"""`headwater rollback`: brings back the version of a model that ran before."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headwater.cli import output
from headwater.cli.apply import agreed, apply


def rollback(
    model: str, directory: Path = Path(), /, *, yes: bool = False, force: bool = False, json: bool = False
) -> int:
    """Bring the version of a model back that ran before, its file included; a running project swaps it in.

    Args:
        model: The model's name.
        directory: The project's folder.
        yes: Do not ask. Needed where there is no terminal.
        force: Overwrite changes in the model's file that never ran.
        json: Print one JSON object.
    """
    from headwater.cli.opening import open_project
    from headwater.project.folder import read
    from headwater.project.mistakes import Mistakes
    from headwater.runtime.swap.asking import restore_file, version_before

    found = read(directory, environment=os.environ, mistakes=Mistakes())
    project = found if found is not None else open_project(directory)
    version = version_before(project, model)
    since = _time(version.since_us)
    output.note(f"{model}: version {version.number}, which ran from {since}, takes the place of the one that runs now")
    if not yes and not agreed("Go on?"):
        output.note("nothing was changed" if sys.stdin.isatty() else "nothing was changed: --yes does it")
        return output.OK if sys.stdin.isatty() else output.USAGE
    path = restore_file(directory, project.state, model, version, project.models, force=force)
    output.note(f"wrote {path}")
    return apply(directory, yes=True, json=json)


def _time(us: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
