"""Opens a project where it stood: the newest checkpoint that can be read, then the epochs planned above it, again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from headwater.allocators import settle
from headwater.capture.source import Source
from headwater.clock import Clock
from headwater.engine.evolution import evolution, promise
from headwater.errors import HeadwaterError, ProjectError, SourceStopped, SourceUnavailable, StorageFailed, UserError
from headwater.lake.opening import make_lake
from headwater.lake.table_format import Lake
from headwater.position import Boundary
from headwater.project.check import check
from headwater.project.connectors import streams_of
from headwater.project.definition import Project, SourceDefinition, TableDefinition, keeps_past
from headwater.project.discovery import load_streams, save_streams
from headwater.project.recorded import describe, load_recorded
from headwater.project.table_shape import KIND_PROPERTY
from headwater.quality.checks import gate_fingerprint
from headwater.runtime.capture_job import Partitions
from headwater.runtime.checkpoint import CheckpointFolder
from headwater.runtime.dataflow import Dataflow
from headwater.runtime.freshness import Freshness
from headwater.runtime.hand_over import hand_over
from headwater.runtime.identity import index_folder, state_identity
from headwater.runtime.journal import Journal
from headwater.runtime.memory_plan import MemoryPlan, plan_memory
from headwater.runtime.nodes import ModelNode, StreamNode
from headwater.runtime.outboxes import Outboxes
from headwater.runtime.pipeline import Pipeline
from headwater.runtime.sinks import Sinks
from headwater.runtime.state_store import CheckpointRecord, EpochPlan, StateStore
from headwater.schema import StreamSchema

NEWCOMERS = "their tables are published and read while their source is followed: headwater status"


def open_pipeline(
    project: Project,
    sources: Mapping[str, Source],
    partitions: Partitions,
    journal: Journal,
    clock: Clock,
    freshness: Freshness,
    outboxes: Outboxes | None = None,
) -> Pipeline:
    """Opens the project and runs again whatever a crash cut short; afterwards every table holds the last epoch planned.

    Raises:
        ProjectError: the models do not fit the streams.
        SourceUnavailable: the streams are not known yet and a source does not answer.
        HeadwaterError: there are checkpoints, none can be read, and the lake cannot take their place.
    """
    store = StateStore(project.state)
    memory = plan_memory(project)
    indexes = index_folder(project.state)
    lake = make_lake(project.lake, project.folder, project=project.name, memory=memory.state, index_folder=indexes)
    sinks = Sinks(lake)
    try:
        folder = CheckpointFolder(project.state / "checkpoints")
        streams = _find_streams(project, sources, partitions, journal)
        opened = _Opened(project, streams, store, partitions, lake, journal, memory)
        flow, record, from_lake = _restore(opened, folder)
        outboxes = outboxes or Outboxes(project, journal, clock)
        outboxes.open(record.syncs if record else None, record.epoch if record else 0)
        pipeline = Pipeline(project, store, partitions, flow, sinks, folder, clock, freshness, outboxes)
        pipeline.inspector.journal = journal
        pipeline.left_out, pipeline.journal, pipeline.slicing = streams.left_out, journal, memory.slicing
        _resume(pipeline, record, lake, streams.new)
        pipeline.begin_syncs()
        settle()
        if from_lake:
            pipeline.checkpointed = None
            pipeline.checkpoint()
    except BaseException:
        sinks.close()
        store.close()
        raise
    return pipeline


@dataclass(frozen=True)
class _Streams:
    """The streams that a run begins with.

    Attributes:
        fed: by stream, its schema and the source that feeds it.
        left_out: streams of which the log has changes and that the settings no longer name, with the end of its log.
        new: streams that were not known at the last start.
    """

    fed: Mapping[str, tuple[StreamSchema, SourceDefinition]]
    left_out: Mapping[str, int]
    new: frozenset[str]

    def nodes(self, memory: MemoryPlan) -> dict[str, StreamNode]:
        """Fresh nodes for them."""
        return {name: StreamNode.of(stream, source, memory.state) for name, (stream, source) in self.fed.items()}


@dataclass(frozen=True)
class _Opened:
    """What a dataflow is restored from, besides the checkpoints."""

    project: Project
    streams: _Streams
    store: StateStore
    partitions: Partitions
    lake: Lake
    journal: Journal
    memory: MemoryPlan

    def flow(self) -> Dataflow:
        """A dataflow without rows."""
        project = self.project
        nodes = self.streams.nodes(self.memory)
        return Dataflow(nodes, project.models, project.run.threads, self.memory, project.checks)


def _restore(opened: _Opened, folder: CheckpointFolder) -> tuple[Dataflow, CheckpointRecord | None, bool]:
    """The dataflow as of the newest checkpoint that can be read, else as the lake has its streams; that checkpoint, and
    whether it came from the lake."""
    damage: HeadwaterError | None = None
    for record in opened.store.checkpoints():
        flow = opened.flow()
        try:
            folder.restore(record, flow)
            opened.store.forget_checkpoints_after(record.epoch)
            return flow, record, False
        except StorageFailed:
            raise
        except HeadwaterError as error:
            damage = error
            opened.journal.write("checkpoint.damaged", "warning", epoch=record.epoch, error=str(error))
    trimmed = any(partition.base for _, partition in opened.partitions.items())
    if damage is None and (opened.store.plans_after(-1) or not trimmed):
        return opened.flow(), None, False
    return _from_lake(opened, damage)


def _from_lake(opened: _Opened, damage: HeadwaterError | None) -> tuple[Dataflow, CheckpointRecord, bool]:
    """Takes the streams over from their tables.

    Raises:
        HeadwaterError: that cannot be done, and the checkpoints cannot be read either.
    """
    flow = opened.flow()
    try:
        record = hand_over(flow, opened.partitions, opened.lake, opened.store, state_identity(opened.project.state))
    except UserError as error:
        why = f"no checkpoint can be read: {damage}; and the lake cannot take its place: " if damage else ""
        raise HeadwaterError(f"{why}{error.message}", hint=error.hint) from error
    opened.journal.write("state.from_lake", "warning", epoch=record.epoch)
    return flow, record, True


def _find_streams(
    project: Project, sources: Mapping[str, Source], partitions: Partitions, journal: Journal
) -> _Streams:
    """Asks the sources which streams there are, and holds the models against them.

    What a stream that is known looks like, its changes say and not the source: it may be far ahead of them.
    """
    known = load_streams(project.state)
    streams: dict[str, tuple[StreamSchema, SourceDefinition]] = {}
    found: list[StreamSchema] = []
    left_out: dict[str, int] = {}
    for definition in project.sources:
        before = {stream.name: stream for stream in known if _feeds(definition.name, stream, project, partitions)}
        partition = partitions[definition.name]
        head, seen = partition.head, set(partition.counts)  # before the question: what comes meanwhile is wanted
        now = _discover(definition, sources[definition.name], partition.boundary, before.values(), journal)
        if now is not None:
            left_out |= dict.fromkeys(seen - {stream.name for stream in now}, head)
        for stream in before.values() if now is None else now:
            then = before.get(stream.name, stream)
            streams[stream.name] = (promise(then, stream.columns), definition)
            found.append(StreamSchema(stream.name, evolution(then, stream).columns, stream.key, stream.changelog))
    _check_models(project, found, len(found) > len(streams), journal)
    save_streams(project.state, [before for before, _ in streams.values()])
    return _Streams(streams, left_out, frozenset(streams.keys() - {stream.name for stream in known}))


def _check_models(project: Project, found: Sequence[StreamSchema], clash: bool, journal: Journal) -> None:
    """Holds the models against the streams as the sources have them now.

    Raises:
        ProjectError: there are mistakes, and not only because a source has changed its tables under models that fitted
            them: such a model waits, and nothing else does.
    """
    recorded, now = load_recorded(project.state), describe(project, found)
    if not clash and recorded == now:
        return
    try:
        check(project, found)
    except ProjectError as error:
        if clash or recorded is None or (recorded.models, recorded.sources) != (now.models, now.sources):
            raise
        for mistake in error.mistakes:
            journal.write("model.misfit", "warning", error=str(mistake), hint=mistake.hint)


def _feeds(source: str, stream: StreamSchema, project: Project, partitions: Partitions) -> bool:
    return len(project.sources) == 1 or stream.name in partitions[source].counts


def _discover(
    definition: SourceDefinition,
    source: Source,
    boundary: Boundary | None,
    before: Collection[StreamSchema],
    journal: Journal,
) -> Sequence[StreamSchema] | None:
    """Asks the source; one that is away may be begun without (None), if its streams are known from before.

    What is new since reading began has no stream, and no empty table that looks as if it were all there is.
    """
    try:
        fed = streams_of(definition, source, boundary.resume if boundary else None)
        newcomers = sorted({stream.name for stream in streams_of(definition, source)} - {stream.name for stream in fed})
        if newcomers:
            journal.write("source.newcomers", source=source.name, streams=", ".join(newcomers), hint=NEWCOMERS)
        return fed
    except (SourceUnavailable, SourceStopped):
        if not before:
            raise
        return None


def _resume(pipeline: Pipeline, record: CheckpointRecord | None, lake: Lake, new: Collection[str]) -> None:
    flow, sinks = pipeline.flow, pipeline.sinks
    plans = pipeline.store.plans_after(record.epoch if record else -1)
    _open_tables(flow, sinks, lake, _unbuilt(flow, record, plans))
    pipeline.doubted |= _hold_back(flow, sinks, record, plans[0].epoch if plans else None)
    swapping = {name for name in (record.swapping if record else ()) if name in flow.nodes}
    fresh = record is None and not plans
    if not fresh:
        last = plans[-1].epoch if plans else record.epoch if record else 0
        for node in (flow.streams[name] for name in new):
            for table in node.tables:
                sinks.begin(node.spec(table), last + 1, again=False)
    pipeline.epoch = record.epoch if record else (plans[0].epoch - 1 if plans else sinks.last_epoch())
    taken_in = record.offsets if record else {}
    pipeline.offsets = {source: taken_in.get(source, 0) for source, _ in pipeline.partitions.items()}
    sinks.rows = dict(record.rows) if record else {}
    pipeline.checkpointed = record.epoch if record else None
    _refuse_gap(pipeline)
    if plans and pipeline.journal is not None:
        pipeline.journal.write("epoch.again", first=plans[0].epoch, last=plans[-1].epoch)
    unsure = _run_again(pipeline, plans, swapping)
    sinks.held |= _of_other_gates(flow, record) if not fresh else set()
    if not fresh and sinks.last_epoch() > pipeline.epoch:
        raise UserError(
            f"the tables hold epoch {sinks.last_epoch()}, the state only epoch {pipeline.epoch}: this state is older",
            hint="put back the newer state folder, or move this one away: the tables are then rebuilt",
        )
    unbuilt = (name for name in flow.models if name not in flow.nodes)
    pipeline.rebuild = (*sorted({*sinks.held, *unsure} - sinks.rolled_back.keys()), *unbuilt)
    pipeline.swapping = () if plans else tuple(name for name in flow.models if name in swapping)
    for name, why in sinks.rolled_back.items():
        if pipeline.journal is not None:
            pipeline.journal.write("table.held", "warning", table=name, why=why, hint=f"headwater tables resume {name}")


def _of_other_gates(flow: Dataflow, record: CheckpointRecord | None) -> set[str]:
    """Tables of streams whose checks set other rows aside than before."""
    told = record.gates if record is not None else {}
    found: set[str] = set()
    for name, node in flow.streams.items():
        checks = flow.checks.nodes[name].checks if name in flow.checks.nodes else ()
        if str(told.get(name, {}).get("fingerprint", "")) != gate_fingerprint(checks):
            found |= {table.name for table in node.tables}
    return found


def _run_again(pipeline: Pipeline, plans: Sequence[EpochPlan], swapping: Collection[str]) -> set[str]:
    """Runs epochs again; returns models that were swapped in one and had to be built anew for it, because the views
    that had been made for them are lost. Their tables may hold what came of those views, which late rows and sums of
    floats make differ from what came of the new ones: they take nothing more until all their rows are replaced."""
    unsure: set[str] = set()
    for plan in plans:
        pipeline.run(plan, again=True)
        lost = [name for name in plan.swapped if name not in swapping and name in pipeline.flow.nodes]
        pipeline.sinks.held |= {table.name for name in lost for table in pipeline.flow.models[name].tables}
        unsure |= set(lost)
    return unsure


def _unbuilt(flow: Dataflow, record: CheckpointRecord | None, plans: Sequence[EpochPlan]) -> set[str]:
    """Tables that will be built anew whatever they hold, so that one of another key may go."""
    nodes = flow.streams.values()
    unbuilt = {table.name for node in nodes for table in node.tables if not _is_kept(table, node, record)}
    anew = [model for name, model in flow.models.items() if name not in flow.nodes]
    anew += [m for m in flow.models.values() for p in plans if p.models.get(m.name) != m.fingerprint]
    return unbuilt | {table.name for model in anew for table in model.tables}


def _is_kept(table: TableDefinition, node: StreamNode, record: CheckpointRecord | None) -> bool:
    """Whether a stream's table was kept up to date until the checkpoint."""
    return record is not None and table.name in record.tables and record.sources.get(node.stream.name) == node.source


def _hold_back(flow: Dataflow, sinks: Sinks, record: CheckpointRecord | None, again: int | None) -> set[str]:
    """Tables that lack changes are built anew: they were not kept up to date until the checkpoint, or were dropped or
    replaced by an older copy since. One that has taken every change from the first lacks nothing.

    Args:
        again: the first epoch that is run again, from the very beginning if there is no checkpoint.
    """
    kept = record.tables if record else {}
    behind = {
        name for name, epoch in sinks.committed.items() if epoch < kept.get(name, 0) and name not in sinks.rolled_back
    }
    lacking = behind | (set(sinks.committed) - kept.keys() if record else set())
    swapping = {name for name in (record.swapping if record else ()) if name in flow.nodes}
    lacking -= {table.name for name in swapping for table in flow.models[name].tables}
    flow.forget({m.name for m in flow.models.values() if not lacking.isdisjoint(one.name for one in m.tables)})
    for node in flow.streams.values():
        for table in node.tables:
            held = sinks.committed[table.name]
            whole = table.traced and record is None and (not held or (again is not None and held >= again))
            if table.name in behind or not (whole or _is_kept(table, node, record)):
                sinks.held.add(table.name)
    return lacking


def _open_tables(flow: Dataflow, sinks: Sinks, lake: Lake, unbuilt: set[str]) -> None:
    specs = [node.spec(table) for node in flow.streams.values() for table in node.tables]
    for name, model in flow.models.items():
        try:
            specs += (flow.nodes.get(name) or ModelNode(model, flow.view_of(model))).specs
        except UserError:
            for table in model.tables:
                sinks.look(table.name)  # it does not fit what there is at the moment, and waits
    for spec in specs:
        try:
            sinks.open(spec)
        except UserError:
            if spec.name not in unbuilt or keeps_past(spec.properties.get(KIND_PROPERTY, "mirror")):
                raise
            lake.drop(spec.name)
            sinks.open(spec)


def _refuse_gap(pipeline: Pipeline) -> None:
    for source, partition in pipeline.partitions.items():
        if pipeline.offsets_of(source) < partition.base:
            raise UserError(
                f"the log of {source!r} begins at offset {partition.base}, the state needs it from"
                f" {pipeline.offsets_of(source)}",
                hint="move the state folder away and run again: the tables are then rebuilt from a new snapshot",
            )
