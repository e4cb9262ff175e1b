"""What of a project is to be looked at: this machine, its sources, its lake, and the destinations of its syncs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from headwater.capture.diagnosable import Diagnosable
from headwater.clock import Clock
from headwater.deliver import diagnosable
from headwater.deliver.destination import Sync
from headwater.errors import HeadwaterError, ProjectError, UserError
from headwater.finding import Finding, sentences
from headwater.log.view import open_for_reading
from headwater.position import Resume
from headwater.project.check import check
from headwater.project.connectors import make_source
from headwater.project.definition import Project, SourceDefinition, SyncDefinition
from headwater.project.destinations import make_destination
from headwater.project.discovery import ask_sources, load_streams, state_identity
from headwater.runtime.doctor.lake import lake_findings
from headwater.runtime.doctor.looks import Look
from headwater.runtime.doctor.machine import machine_findings


def looks_at(project: Project, clock: Clock) -> list[Look]:
    """All there is to look at."""
    return [
        Look("this machine", "", lambda: machine_findings(project, clock)),
        *(look_at_source(project, source, clock) for source in project.sources),
        Look("lake", "", lambda: lake_findings(project, clock)),
        *(Look(f"sync {sync.name}", "", partial(_sync, project, sync, clock)) for sync in project.syncs),
    ]


def look_at_source(project: Project, source: SourceDefinition, clock: Clock) -> Look:
    """One source."""
    return Look(f"source {source.name}", source.name, lambda: _source(project, source, clock))


def _source(project: Project, definition: SourceDefinition, clock: Clock) -> Sequence[Finding]:
    made = make_source(definition, project.name, state_identity(project.state), clock)
    if isinstance(made, Diagnosable):
        return made.diagnose(_resume(project, definition.name))
    return [Finding("check", "ok", sentence) for sentence in made.check()]


def _resume(project: Project, source: str) -> Resume | None:
    folder = project.state / "log" / source
    view = open_for_reading(folder) if folder.is_dir() else None
    return view.boundary_at(view.head).resume if view is not None and view.head else None


def _sync(project: Project, definition: SyncDefinition, clock: Clock) -> Sequence[Finding]:
    """A destination is held against its model's columns, which are known once the sources' are."""
    keys: dict[str, tuple[str, ...]] = {}
    streams = load_streams(project.state) or ask_sources(project, clock).streams
    try:
        columns = check(project, streams, keys=keys).get(definition.model)
    except ProjectError as error:
        return [Finding("model", "fail", f"{definition.model}: {_first(error).message}", "headwater check")]
    if columns is None:
        told = f"the columns of {definition.model} are not known yet, so that nothing can be held against them"
        return [Finding("model", "warn", told, "headwater run, until its streams have been read once")]
    key = definition.settings.key or keys.get(definition.model, ())
    sync = Sync(project.name, definition.name, "", definition.model, columns, key, project.folder, clock)
    made = make_destination(definition)
    if isinstance(made, diagnosable.Diagnosable):
        return made.diagnose(sync)
    return sentences("check", lambda: made.check(sync))


def _first(error: ProjectError) -> HeadwaterError | UserError:
    return error.mistakes[0] if error.mistakes else error
