"""Models computed from their streams by DuckDB, as `--fresh` asks for: the very SELECT that the engine maintains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from headwater.errors import UserError
from headwater.project.definition import Model, Project


def models_behind(project: Project, names: Sequence[str]) -> list[Model]:
    """The models among `names` and those that they read, in the order of their dependencies.

    Raises:
        UserError: one's rows are not its SELECT's answer over all rows: what is late, or when it is told, is part of
            it.
    """
    by_name = {model.name: model for model in project.models}
    wanted = set(_reached(by_name, names))
    found = [model for model in project.models if model.name in wanted]
    for model in found:
        _require_plain(model)
        gated = project.gated.intersection((model.name, *model.inputs))
        if gated:
            raise UserError(
                f"model {model.name!r} cannot be computed afresh: checks set rows of {min(gated)!r} aside",
                hint="leave --fresh out: the model is then read as of the last epoch",
            )
    return found


def streams_behind(project: Project, names: Sequence[str]) -> list[str]:
    """What is to be read for `names`, models taken apart."""
    by_name = {model.name: model for model in project.models}
    return [name for name in dict.fromkeys(_reached(by_name, names)) if name not in by_name]


def _reached(by_name: dict[str, Model], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield name
        if name in by_name:
            yield from _reached(by_name, by_name[name].inputs)


def _require_plain(model: Model) -> None:
    settings = model.settings
    given = {
        "emit: final": settings.emit == "final",
        "late": settings.late in ("reject", "drop"),
        "lateness": settings.lateness > timedelta(0),
        "ttl": bool(settings.ttl),
    }
    said = next((name for name, is_given in given.items() if is_given), None)
    if said is not None:
        raise UserError(
            f"model {model.name!r} cannot be computed afresh: its rows depend on when others came ({said})",
            hint="leave --fresh out: the model is then read as of the last epoch",
        )
