"""Which models a changed project builds anew while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headwater.project.definition import Model, Project, TableDefinition
from headwater.quality.checks import Check
from headwater.runtime.dataflow import Dataflow


@dataclass(frozen=True)
class Choice:
    """What becomes of the models when a project's files have changed.

    Attributes:
        models: all that there will be, in order of their dependencies.
        build: by model that is built, why.
        checks: what is stated of streams and models.
        leave: models that are there no more; their tables stay as they are.
        rename: models of which only prose or the layout of tables differs: nothing is computed.
        others: whether the checks are others than before.
    """

    models: tuple[Model, ...]
    build: Mapping[str, str]
    checks: tuple[Check, ...] = ()
    leave: tuple[str, ...] = ()
    rename: tuple[str, ...] = ()
    others: bool = False

    @property
    def nothing(self) -> bool:
        """Whether nothing differs."""
        return not (self.build or self.leave or self.rename or self.others)


def choose(flow: Dataflow, project: Project) -> Choice:
    """What is to be built for a project, given what runs."""
    wanted = project.models
    before, build = flow.models, dict[str, str]()
    for model in wanted:
        why = _why(before.get(model.name), model)
        if not why and model.name not in flow.nodes:
            why = "it waits for what it reads"
        if why:
            build[model.name] = why
    found = 0
    while found != len(build):
        found = len(build)
        build |= dict.fromkeys(_unkept(flow, wanted, build), "its rows are read from now on, and were not kept")
        for model in wanted:
            upstream = next((name for name in model.inputs if name in build), None)
            if model.name not in build and upstream is not None:
                build[model.name] = f"it reads {upstream!r}, which is built anew"
    names = {model.name for model in wanted}
    return Choice(
        wanted,
        {model.name: build[model.name] for model in wanted if model.name in build},
        project.checks,
        tuple(name for name in before if name not in names),
        tuple(m.name for m in wanted if m.name not in build and before[m.name].settings != m.settings),
        [one.fingerprint for one in project.checks] != [one.fingerprint for one in flow.checks.checks],
    )


def _why(before: Model | None, now: Model) -> str:
    if before is None:
        return "it is new"
    if before.fingerprint != now.fingerprint:
        return "its functions changed" if _same_text(before, now) else "its SQL or settings changed"
    if _content(before.tables) != _content(now.tables):
        return "its tables changed"
    return ""


def _same_text(before: Model, now: Model) -> bool:
    return (before.sql, before.settings) == (now.sql, now.settings)


def _content(tables: Sequence[TableDefinition]) -> list[TableDefinition]:
    """The tables but for their layout, which only new files follow."""
    plain = TableDefinition("")
    return [replace(table, layout=plain.layout) for table in tables]


def _unkept(flow: Dataflow, wanted: Sequence[Model], build: Mapping[str, str]) -> list[str]:
    """Running models that something to be built reads and that keep no rows of their result."""
    read = {name for model in wanted if model.name in build for name in model.inputs}
    return [name for name in read if name not in build and name in flow.nodes and not flow.nodes[name].view.keeps]
