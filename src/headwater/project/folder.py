"""Reads a project's folder: `headwater.yml` and `models/*.sql`, every mistake reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from headwater.errors import InvariantBroken, Place
from headwater.lake.connection import is_remote
from headwater.project.checks import read_checks, with_gates
from headwater.project.connectors import CONNECTORS, settings_class
from headwater.project.definition import Model, Project, SourceDefinition, SyncDefinition
from headwater.project.destinations import DESTINATIONS
from headwater.project.destinations import settings_class as sync_settings_class
from headwater.project.document import Document, NodePath, YamlValue, read_yaml
from headwater.project.functions import read_functions
from headwater.project.interpolation import Interpolator
from headwater.project.lake_settings import LakeSettings
from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.project.models import in_order, model_files, place_of_name, read_models, with_functions, with_watermarks
from headwater.project.settings import ProjectFile, SourceSection, StreamSettings, SyncSection
from headwater.project.validation import validate

FILE = "headwater.yml"
M = TypeVar("M", bound=BaseModel)
K = TypeVar("K")


def load(folder: Path, *, environment: Mapping[str, str]) -> Project:
    """Reads the project in `folder`. Nothing is connected or written.

    Which streams there are is not known yet: a name in a model's SQL that is no model's is taken for a stream's as long
    as there is a source. `headwater.project.check.check` settles it once the streams are known.

    Args:
        folder: holds `headwater.yml`.
        environment: what `${NAME}` is looked up in.

    Raises:
        ProjectError: with every mistake found, each with its place.
    """
    mistakes = Mistakes()
    project = read(folder, environment=environment, mistakes=mistakes)
    mistakes.raise_any()
    if project is None:
        raise InvariantBroken("a project file is not valid and no mistake was noted")
    return project


def read(folder: Path, *, environment: Mapping[str, str], mistakes: Mistakes) -> Project | None:
    """Reads the project as `load` does, notes what is wrong, and goes on with what is sound.

    Returns:
        The project without the models that have mistakes; None if `headwater.yml` itself has one.
    """
    document, substituted = _read_file(folder, environment, mistakes)
    reader = None if document is None else _Reader(document, substituted, mistakes)
    file, sources, syncs = (None, (), ()) if reader is None else (reader.file(), reader.sources(), reader.syncs())
    sound = not mistakes.found
    models = with_functions(read_models(folder, mistakes), read_functions(folder, mistakes))
    checks = read_checks(folder, models, mistakes)
    ordered = with_gates(in_order(models, mistakes), checks)
    if document is None:
        return None
    _check_names(sources, models, document, mistakes)
    if not document.data.get("sources"):
        _check_without_sources(models, {path.stem for path in model_files(folder)}, mistakes)
    _check_syncs(syncs, {path.stem for path in model_files(folder)}, document, mistakes)
    if file is None or not sound:
        return None
    return Project(
        name=file.name,
        folder=folder,
        state=folder / file.state,
        lake=_resolved(file.lake, folder, file.name),
        run=file.run,
        maintenance=file.maintenance,
        rejects=file.rejects,
        sources=sources,
        syncs=syncs,
        api=file.api,
        lineage=file.lineage,
        models=with_watermarks(ordered, sources),
        checks=checks,
        places={path: document.place(path) for path in document.places},
    )


def _read_file(
    folder: Path, environment: Mapping[str, str], mistakes: Mistakes
) -> tuple[Document | None, frozenset[str]]:
    """The document, and the values that came into it from outside."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        mistakes.add("this is not UTF-8 text", place=Place(str(path)), hint="save the file as UTF-8")
        return None, frozenset()
    except OSError as error:
        other = path.with_suffix(".yaml")
        hint = f"rename {other} to {FILE}" if other.exists() else _how_to_have_one(folder)
        mistakes.add(f"there is no project here: {error.strerror}", place=Place(str(path)), hint=hint)
        return None, frozenset()
    interpolator = Interpolator(environment, folder, mistakes)
    document = read_yaml(text, file=str(path), mistakes=mistakes, expand=interpolator.expand)
    return document, frozenset(interpolator.substituted)


def _how_to_have_one(folder: Path) -> str:
    """Names a project below or above `folder` if there is one, else how to write one."""
    around = [*sorted(folder.glob(f"*/{FILE}")), *(parent / FILE for parent in folder.absolute().parents)]
    found = next((file.parent for file in around if file.is_file()), None)
    return f"headwater init {folder}" if found is None else f"there is one in {found}: cd {found}"


class _Reader:
    """Makes definitions of a document."""

    def __init__(self, document: Document, substituted: frozenset[str], mistakes: Mistakes) -> None:
        self._document = document
        self._substituted = substituted
        self._mistakes = mistakes

    def file(self) -> ProjectFile | None:
        """The top of the file."""
        return validate(
            ProjectFile,
            self._document.data,
            document=self._document,
            path=(),
            mistakes=self._mistakes,
            substituted=self._substituted,
        )

    def sources(self) -> tuple[SourceDefinition, ...]:
        """The sources without mistakes; what is wrong with their names and kind is `file`'s to say."""
        sections = self._document.data.get("sources")
        if not isinstance(sections, dict):
            return ()
        made = [self._source(name, section) for name, section in sections.items() if isinstance(section, dict)]
        return tuple(source for source in made if source is not None)

    def _source(self, name: str, section: dict[str, YamlValue]) -> SourceDefinition | None:
        path: NodePath = ("sources", name)
        known = self._kind_of(path, section, "source", {one.type: one for one in CONNECTORS})
        wanted = settings_class(known) if known is not None else None
        common, settings = self._two(path, section, SourceSection, wanted)
        if known is None or common is None or settings is None:
            return None
        place = self._document.place(path, key=True)
        return SourceDefinition(
            name, known.type, settings, common.mirror, common.streams, audit=common.audit, place=place
        )

    def syncs(self) -> tuple[SyncDefinition, ...]:
        """The syncs without mistakes."""
        sections = self._document.data.get("syncs")
        if not isinstance(sections, dict):
            return ()
        made = [self._sync(name, section) for name, section in sections.items() if isinstance(section, dict)]
        return tuple(sync for sync in made if sync is not None)

    def _sync(self, name: str, section: dict[str, YamlValue]) -> SyncDefinition | None:
        path: NodePath = ("syncs", name)
        known = self._kind_of(path, section, "sync", {one.type: one for one in DESTINATIONS})
        wanted = sync_settings_class(known) if known is not None else None
        common, own = self._two(path, section, SyncSection, wanted)
        if common is None or own is None:
            return None
        return SyncDefinition(name, common, own, self._document.place(path, key=True))

    def _kind_of(self, path: NodePath, section: dict[str, YamlValue], what: str, kinds: Mapping[str, K]) -> K | None:
        """What the `type` of a section means; None if it means nothing, which is a mistake."""
        kind, place = section.get("type"), (*path, "type")
        known = kinds.get(kind) if isinstance(kind, str) else None
        if isinstance(kind, str) and known is None and place not in self._document.broken:
            hint = did_you_mean(kind, kinds)
            written = self._document.written[place]
            self._mistakes.add(f"unknown type of {what} {written!r}", place=self._document.place(place), hint=hint)
        return known

    def _two(
        self, path: NodePath, section: dict[str, YamlValue], common: type[M], own: type[BaseModel] | None
    ) -> tuple[M | None, BaseModel | None]:
        """The two parts of a section: what all of them have, and what those of its type have, if that is known."""
        generic = {key: value for key, value in section.items() if key in common.model_fields}
        more = {key: value for key, value in section.items() if own and (key not in generic or key in own.model_fields)}
        if "streams" in more and "streams" in generic:
            generic["streams"], more["streams"] = _divided(section["streams"])
        shared = validate(
            common, generic, document=self._document, path=path, mistakes=self._mistakes,
            substituted=self._substituted,
        )  # fmt: skip
        if own is None:
            return shared, None
        return shared, validate(
            own, more, document=self._document, path=path, mistakes=self._mistakes,
            substituted=self._substituted, also_known=tuple(common.model_fields),
        )  # fmt: skip


def _divided(streams: YamlValue) -> tuple[YamlValue, YamlValue]:
    """What `streams` of a source says that every source's may say, and what only those of its type may."""
    if not isinstance(streams, dict):
        return streams, streams
    given = {name: {} if settings is None else settings for name, settings in streams.items()}
    both = ({}, {})  # type: tuple[dict[str, YamlValue], dict[str, YamlValue]]
    for name, settings in given.items():
        for part, wanted in zip(both, (True, False), strict=True):
            part[name] = settings if not isinstance(settings, dict) else {
                key: value for key, value in settings.items() if (key in StreamSettings.model_fields) == wanted
            }  # fmt: skip
    return both


def _resolved(lake: LakeSettings, folder: Path, project: str) -> LakeSettings:
    warehouse = lake.warehouse if is_remote(lake.warehouse) else str((folder / lake.warehouse).absolute())
    return lake.model_copy(update={"warehouse": warehouse, "namespace": lake.namespace or project})


def _check_names(
    sources: tuple[SourceDefinition, ...], models: list[Model], document: Document, mistakes: Mistakes
) -> None:
    """One name, one thing: among streams that settings name, and models. Names differ by more than case."""
    taken: dict[str, str] = {}
    for source in sources:
        for stream in source.streams:
            place = document.place(("sources", source.name, "streams", stream), key=True)
            other = taken.setdefault(stream.casefold(), f"a stream of {source.name!r}")
            if other != f"a stream of {source.name!r}":
                mistakes.add(f"the stream {stream!r} is also {other}", place=place, hint="stream names must differ")
    for model in models:
        if model.name in taken:
            mistakes.add(
                f"the model {model.name!r} has the name of {taken[model.name]}",
                place=Place(model.file),
                hint="rename the model's file",
            )


def _check_syncs(syncs: tuple[SyncDefinition, ...], models: set[str], document: Document, mistakes: Mistakes) -> None:
    """A sync is of a model that there is."""
    for sync in syncs:
        if sync.model not in models:
            hint = did_you_mean(sync.model, models)
            if not hint.startswith("did"):
                hint = f"write models/{sync.model}.sql; for a stream as it is, all of its columns"
            place = document.place(("syncs", sync.name, "model"))
            mistakes.add(f"there is no model {sync.model!r}", place=place, hint=hint)


def _check_without_sources(models: list[Model], names: set[str], mistakes: Mistakes) -> None:
    """Without a source every name in a model must be a model's."""
    for model in models:
        for name in model.inputs:
            if name not in names:
                near = did_you_mean(name, names - {model.name})
                hint = near if near.startswith("did") else f"there are no sources; add one to {FILE}"
                mistakes.add(f"nothing is called {name!r}", place=place_of_name(model, name), hint=hint)
