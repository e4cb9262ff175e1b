"""Asks for a changed project to be applied, and for a model's version before to be brought back; from any process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.durable import replace_file
from headwater.errors import StorageFailed, UserError
from headwater.project.definition import Model, Project
from headwater.project.recorded import load_recorded, source_fingerprint
from headwater.project.versions import Version, Versions, models_digest
from headwater.runtime.requests import new_id
from headwater.runtime.swap.requests import Applies, ApplyRequest


def ask(
    project: Project, now_us: int, *, canary_s: float | None = None, tolerance: float | None = None, show: bool = False
) -> ApplyRequest:
    """Asks the process that runs the project to apply its models as they are in `project`.

    Args:
        project: as its files are now, without mistakes.
        now_us: microseconds since 1970 UTC.
        canary_s, tolerance, show: see `ApplyRequest`.

    Raises:
        UserError: another request is not done.
        StorageFailed: it could not be written.
    """
    request = ApplyRequest(new_id(now_us), models_digest(project.models), canary_s, tolerance, show)
    Applies(project.state).submit(request)
    return request


def needs_restart(project: Project) -> list[str]:
    """Names of sources whose settings are others than those that ran last, which models cannot be swapped with."""
    recorded = load_recorded(project.state)
    before = recorded.sources if recorded is not None else {}
    now = {source.name: source_fingerprint(source) for source in project.sources}
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def version_before(project: Project, model: str) -> Version:
    """The version of a model that ran before the one that ran last.

    Raises:
        UserError: there is none.
    """
    recorded = load_recorded(project.state)
    ran = recorded.models.get(model) if recorded is not None else None
    if ran is None:
        names = ", ".join(sorted(recorded.models)) if recorded is not None else "none yet"
        raise UserError(f"no model {model!r} has run", hint=f"there are: {names}")
    return Versions(project.state).before(model, ran.fingerprint)


def restore_file(
    folder: Path, state: Path, model: str, version: Version, models: Sequence[Model], *, force: bool
) -> Path:
    """Puts a version of a model back into the project's folder.

    Args:
        folder: the project's.
        state: the state folder.
        model: its name.
        version: which.
        models: the project's models as its files are now.
        force: also if the file has changes that never ran.

    Returns:
        The file.

    Raises:
        UserError: the file has such changes.
        StorageFailed: it could not be written.
    """
    recorded = load_recorded(state)
    ran = recorded.models.get(model) if recorded is not None else None
    now = next((one for one in models if one.name == model), None)
    if now is not None and ran is not None and now.fingerprint != ran.fingerprint and not force:
        raise UserError(
            f"{now.file} has changes that never ran, which would be lost",
            hint="headwater rollback --force overwrites them",
        )
    path = Path(now.file) if now is not None else folder / "models" / f"{model}.sql"
    try:
        replace_file(path, Versions(state).text(model, version))
    except OSError as error:
        raise StorageFailed(f"{path} could not be written: {error.strerror}") from error
    return path
