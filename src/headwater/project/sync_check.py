"""Holds syncs against their models: the key, rows that go, and the table that a model built anew is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from headwater.project.definition import Model, Project, SyncDefinition
from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.schema import StreamSchema
from headwater.sql import check as sql_check
from headwater.sql.check import Analysis
from headwater.sql.fast_paths import Options


def check_syncs(
    project: Project, streams: Sequence[StreamSchema], analyses: Mapping[str, Analysis], mistakes: Mistakes
) -> None:
    """Checks every sync whose model is sound."""
    models = {model.name: model for model in project.models}
    appending = _Appending({stream.name: stream for stream in streams}, models, analyses)
    for sync in project.syncs:
        analysis = analyses.get(sync.model)
        if analysis is None or analysis.columns is None or sync.model not in models:
            continue
        _check_key(project, sync, models[sync.model], analysis, mistakes)
        if (
            not key_of(models[sync.model], analysis)
            and sync.settings.retractions == "refuse"
            and not appending.appends(sync.model)
        ):
            hint = "set the model's `key` in its front matter, or `retractions: ignore` in the sync"
            mistakes.add(
                f"rows may go from {sync.model!r}, which has no key: nothing could be said of them",
                place=project.place("syncs", sync.name, "model"), hint=hint,
            )  # fmt: skip
        if not any(table.kind_text == "mirror" for table in models[sync.model].tables):
            hint = f"add one to the model's front matter, tables: {{{sync.model}_now: {{kind: mirror}}}}"
            mistakes.add(
                f"no table of {sync.model!r} is a mirror: what the model held before could not be told",
                place=project.place("syncs", sync.name, "model"), hint=hint,
            )  # fmt: skip


def key_of(model: Model, analysis: Analysis) -> tuple[str, ...]:
    """The key of a model: the one that it says, else the one found from its SQL."""
    return model.settings.key or analysis.key


def _check_key(project: Project, sync: SyncDefinition, model: Model, analysis: Analysis, mistakes: Mistakes) -> None:
    wanted, columns = sync.settings.key, analysis.columns.names if analysis.columns is not None else []
    place, key = project.place("syncs", sync.name, "key"), key_of(model, analysis)
    for name in wanted:
        if name not in columns:
            mistakes.add(f"the model {model.name!r} has no column {name!r}", place=place,
                         hint=did_you_mean(name, columns))  # fmt: skip
            return
    if wanted and not set(key).issubset(wanted):
        hint = "name all of them, or leave `key` out"
        mistakes.add(f"the key of {model.name!r} is {list(key)}", place=place, hint=hint)
    elif wanted and not key:
        hint = f"say in its front matter what identifies a row: /* key: [{', '.join(wanted)}] */"
        mistakes.add(f"the model {model.name!r} has no key", place=place, hint=hint)


class _Appending:
    """Of which models rows never go."""

    def __init__(
        self, streams: Mapping[str, StreamSchema], models: Mapping[str, Model], analyses: Mapping[str, Analysis]
    ) -> None:
        self._streams, self._models, self._analyses = streams, models, analyses

    def appends(self, name: str) -> bool:
        if name in self._streams:
            return self._streams[name].changelog == "append"
        model = self._models.get(name)
        if model is None:
            return False
        columns = {one: self._columns(one) for one in model.inputs}
        if any(found is None for found in columns.values()):
            return False
        only = frozenset(one for one in model.inputs if self.appends(one))
        analysis = sql_check.check(
            model.sql, {one: found for one, found in columns.items() if found is not None},
            options=Options(model.settings.emit, append_only=only, recompute=model.settings.recompute),
            functions=model.functions, file=model.file, first_line=model.first_line,
        )  # fmt: skip
        return analysis.plan is not None and analysis.plan.root.appends

    def _columns(self, name: str) -> pa.Schema | None:
        if name in self._streams:
            return self._streams[name].columns
        found = self._analyses.get(name)
        return found.columns if found is not None else None
