"""The dataflow of a project: streams made whole, models kept up to date. It computes; committing is the sinks' work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.engine.delta import expanded, settled
from headwater.engine.evolution import gone
from headwater.engine.state.memory import Memory
from headwater.engine.view import View
from headwater.errors import UserError
from headwater.project.definition import Model
from headwater.project.models import times_to_live
from headwater.quality.checks import Check
from headwater.runtime.checks.board import CheckBoard
from headwater.runtime.intake import Intake
from headwater.runtime.memory_plan import MemoryPlan
from headwater.runtime.meter import Meter
from headwater.runtime.nodes import MICROSECOND, ModelNode, Output, StreamNode, weighted_rows
from headwater.runtime.replay_rows import changes_of, rows_of
from headwater.runtime.state_store import EpochPlan, Replay

EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Step:
    """What an epoch, or a slice of one, computed: outputs by table, the models that were built anew for it, those whose
    new versions took their place, the streams whose columns are others than before, what could not go on, and by stream
    the keys of rows whose rejects are moot, because later changes have made them whole; and what changes in the models
    themselves, by model, for syncs."""

    outputs: dict[str, Output] = field(default_factory=dict)
    rebuilt: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    evolved: list[str] = field(default_factory=list)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    replayed: list[int] = field(default_factory=list)
    failed_replays: dict[int, str] = field(default_factory=dict)
    healed: dict[str, list[str]] = field(default_factory=dict)
    handed: dict[str, Output] = field(default_factory=dict)

    def follows(self, earlier: Step) -> None:
        """Puts what the slices before said, but for their outputs, before what this one says."""
        self.rebuilt = [*earlier.rebuilt, *self.rebuilt]
        self.rejects = [*earlier.rejects, *self.rejects]
        self.replayed = [*earlier.replayed, *self.replayed]
        self.failed_replays = {**earlier.failed_replays, **self.failed_replays}
        for stream, keys in earlier.healed.items():
            self.healed[stream] = [*keys, *self.healed.get(stream, ())]


@dataclass(frozen=True)
class Taken:
    """What a slice of an epoch brought to some inputs.

    Attributes:
        deltas: by stream or model.
        marks: how far they are in event time, at an epoch's end.
        idle: streams that nothing comes from.
        over: whether the epoch ends with it.
        upset: inputs of which the deltas do not say it all: their columns changed, or they were built anew.
    """

    deltas: Mapping[str, pa.Table]
    marks: Mapping[str, datetime]
    idle: frozenset[str]
    over: bool
    upset: frozenset[str] = frozenset()


class Tap(Protocol):
    """Listens to a dataflow.

    Attributes:
        inputs: the streams and models that it wants to hear of.
    """

    inputs: frozenset[str]

    def take(self, taken: Taken) -> None:
        """Takes note of a slice of an epoch; called in the epochs' thread."""


class Dataflow:
    """All streams and models of a project, stepped an epoch at a time by one thread.

    Args:
        streams: by stream name.
        models: in dependency order; a model without a view yet must be in the first plan's `rebuild`.
        threads: how many share out the keys of each model.
        memory: how much of it models may take; as much as they need if not given.
        checks: what is stated of the streams and models.

    Attributes:
        checks: how they stand; what a stream or model computes goes through them before anybody reads it.
        waiting: models that do not fit what they read as it is now, with what is wrong. Their tables stay as they are;
            they are built anew, from all rows, as soon as they fit.
        tap: is handed what each epoch changes in some streams and models.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamNode],
        models: Sequence[Model],
        threads: int = 1,
        memory: MemoryPlan | None = None,
        checks: Sequence[Check] = (),
    ) -> None:
        self.streams, self.threads, self.memory = dict(streams), threads, memory
        self.checks = CheckBoard(checks)
        self._read = {name for model in models for name in model.inputs}
        self.models = {model.name: model for model in models}
        self.nodes: dict[str, ModelNode] = {}
        self.meter = Meter()
        self._idle: set[str] = set()
        self._newcomers: set[str] = set()
        self.waiting: dict[str, UserError] = {}
        self._time_us: int | None = None
        self.tap: Tap | None = None

    def step(self, plan: EpochPlan, intake: Intake) -> Step:
        """Takes an epoch in, or the next slice of one, and returns its effects on every table. Deterministic in the
        state, `plan` and `intake`. Event time moves on at the epoch's end."""
        step = Step()
        self._time_us = intake.latest_us
        self._idle = {name for name in plan.idle if name in self.streams and name not in intake.seen}
        self._idle -= {name for name, node in self.streams.items() if node.source in plan.snapshotting}
        columns = {name: node.stream.columns for name, node in self.streams.items()}
        deltas = {name: self._step_stream(node, plan, intake, step) for name, node in self.streams.items()}
        step.evolved = [name for name, node in self.streams.items() if self._is_other(node, columns[name])]
        for model in self.models.values():
            if not self._takes_part(model, plan, deltas, step):
                self.nodes.pop(model.name, None)
            elif model.name in plan.swapped and self._goes_on(model, deltas, step):
                deltas[model.name] = self._swap(self.nodes[model.name], deltas, plan, step, over=intake.last)
            elif self._is_due_anew(model, plan if intake.first else None, deltas, step):
                self._build(model, plan, deltas, step, over=intake.last)
            else:
                deltas[model.name] = self.meter.of(
                    model.name, self._step_model, self.nodes[model.name], deltas, plan, step, over=intake.last
                )
        refilled = {name for name, node in self.streams.items() if node.normaliser.refilled}
        self.checks.follow(self, deltas, {*step.rebuilt, *step.swapped, *self._newcomers, *refilled})
        if self.tap is not None:
            self.tap.take(self._taken(deltas, plan, step, over=intake.last))
        self._newcomers.clear()
        failpoint.reach("epoch.models.after")
        return step

    def become(self, models: Sequence[Model], nodes: Mapping[str, ModelNode], checks: Sequence[Check]) -> None:
        """Goes on with other models from the next epoch on.

        Args:
            models: all of them, in dependency order.
            nodes: of those that are new or others than before, up to date.
            checks: what is stated of streams and models from then on.
        """
        if [one.fingerprint for one in checks] != [one.fingerprint for one in self.checks.checks]:
            self.checks.close()
            self.checks = CheckBoard(checks)
        gone = [name for name in self.nodes if name in nodes or name not in {model.name for model in models}]
        for name in gone:
            self.nodes.pop(name).view.close()
        self.models = {model.name: model for model in models}
        self._read = {name for model in models for name in model.inputs}
        found = {**self.nodes, **nodes}
        for node in found.values():
            node.model = self.models[node.model.name]
        self.nodes = {name: found[name] for name in self.models if name in found}
        self.waiting = {name: why for name, why in self.waiting.items() if name in self.models and name not in nodes}

    def _taken(self, deltas: Mapping[str, pa.Table], plan: EpochPlan, step: Step, *, over: bool) -> Taken:
        """What a slice of an epoch brought to the inputs that are listened to."""
        assert self.tap is not None
        inputs = [name for name in self.tap.inputs if name in deltas]
        upset = {*step.rebuilt, *step.evolved, *self._newcomers}.intersection(self.tap.inputs)
        upset |= self.tap.inputs.difference(deltas)
        marks = self._watermarks(inputs, plan) if over else {}
        return Taken({name: deltas[name] for name in inputs}, marks, frozenset(self._idle), over, frozenset(upset))

    @property
    def kept_in(self) -> Memory | None:
        """Where streams keep their rows; the heap if None."""
        return self.memory.state if self.memory is not None else None

    def past_of(self, sources: Collection[str]) -> set[str]:
        """Tables of streams of some sources that keep the past: half a snapshot must not be taken for all there is."""
        nodes = [node for node in self.streams.values() if node.source in sources]
        return {table.name for node in nodes for table in node.tables if table.traced}

    def adopt(self, node: StreamNode) -> None:
        """Takes in a stream that was not known before: the next step has its first rows, which make its table."""
        self.streams[node.stream.name] = node
        self._newcomers.add(node.stream.name)

    def forget(self, names: Collection[str]) -> None:
        """Leaves these models, and all that read them, to be built anew."""
        for model in self.models.values():
            if model.name in names or any(name in self.models and name not in self.nodes for name in model.inputs):
                self.nodes.pop(model.name, None)

    def columns_of(self, name: str) -> pa.Schema | None:
        """Columns of a stream or model; None while it has no rows, or waits."""
        if name in self.streams:
            return self.streams[name].stream.columns
        return self.nodes[name].view.schema if name in self.nodes else None

    def key_of(self, name: str) -> Sequence[str]:
        """The key of a stream or model that has rows."""
        return self.streams[name].stream.key if name in self.streams else self.nodes[name].view.key

    def computed(self, name: str) -> pa.Table:
        """All rows of a stream or model, with weights, those that its checks set aside among them."""
        if name in self.streams:
            return self.streams[name].normaliser.rows()
        return weighted_rows(self.nodes[name].view.result())

    def view_of(self, model: Model, state: Path | None = None, *, keep: bool = False) -> View:
        """A view of `model` over the inputs' schemas as they are now: with no rows, or with those of a checkpoint.

        Args:
            keep: keep a copy of the result even if no other model reads it.
        """
        inputs = {name: self.input_schema(name) for name in model.inputs}
        only = [name for name in model.inputs if self._appends(name)]
        keep = keep or model.name in self._read or self.checks.wants_rows(model.name)
        ttl = times_to_live(model, {name: node.watermark for name, node in self.streams.items()})
        return view_of(
            model, inputs, state, append_only=only, ttl=ttl, threads=self.threads, keep_result=keep, memory=self.memory
        )

    def input_schema(self, name: str) -> pa.Schema:
        """Columns of a stream or model."""
        if name in self.streams:
            return self.streams[name].stream.columns
        if name in self.nodes:
            return self.nodes[name].view.schema
        if name not in self.models:
            raise UserError(f"nothing has come of the stream {name!r} yet", hint="headwater status shows its source")
        return self.view_of(self.models[name]).schema

    def _appends(self, name: str) -> bool:
        """Whether rows of a stream or model only ever appear, unless a stream is truncated."""
        if name in self.streams:
            return self.streams[name].stream.changelog == "append"
        return name in self.nodes and self.nodes[name].view.plan.root.appends

    def _undone(self, model: Model, deltas: Mapping[str, pa.Table], step: Step) -> bool:
        """Whether a model must be built anew because rows go that its view relies on to stay: a stream was truncated,
        or what it reads was built anew for that."""
        if not set(step.rebuilt).isdisjoint(model.inputs):
            return True
        scans = self.nodes[model.name].view.plan.scans()
        relied_on = [name for name, scan in scans.items() if scan.append_only and deltas[name].num_rows]
        return any(pc.min(deltas[name][WEIGHT]).as_py() < 0 for name in relied_on)

    def _takes_part(self, model: Model, plan: EpochPlan, deltas: Mapping[str, pa.Table], step: Step) -> bool:
        """An epoch that runs again leaves out a model that was another one then, or none, and what reads it. What they
        knew before lacks that epoch, so it is forgotten and they are built anew. A model that waits takes part when
        something that it reads is another than before."""
        if plan.models.get(model.name) != model.fingerprint:
            return False
        held_up = [name for name in model.inputs if name in self.waiting]
        if held_up:
            self.waiting[model.name] = UserError(f"it reads {held_up[0]!r}, which waits")
        if any(name not in deltas for name in model.inputs):
            return False
        moved = not {*step.evolved, *step.rebuilt, *self._newcomers}.isdisjoint(model.inputs)
        return model.name in plan.rebuild or model.name in self.nodes or (model.name in self.waiting and moved)

    def _goes_on(self, model: Model, deltas: Mapping[str, pa.Table], step: Step) -> bool:
        """Whether the view of a model goes on from what it knows."""
        return model.name in self.nodes and not (self._undone(model, deltas, step) or self._outgrown(model, step))

    def _is_due_anew(self, model: Model, plan: EpochPlan | None, deltas: Mapping[str, pa.Table], step: Step) -> bool:
        """Whether a model must be built from all rows: planned so for the slice that begins the epoch, which alone
        comes with its plan, or what it knows is no longer of its inputs."""
        if (plan is not None and model.name in plan.rebuild) or model.name not in self.nodes:
            return True
        return self._undone(model, deltas, step) or self._outgrown(model, step)

    def _is_other(self, node: StreamNode, before: pa.Schema) -> bool:
        """Whether a stream's columns, or values of which its delta says nothing, have changed in this epoch."""
        return node.normaliser.refilled or not node.stream.columns.equals(before, check_metadata=True)

    def _outgrown(self, model: Model, step: Step) -> bool:
        """Whether columns that a model reads have changed, or more columns make it another one (`SELECT *`)."""
        view = self.nodes[model.name].view
        evolved = [name for name in model.inputs if name in step.evolved]
        for name in evolved:
            now = self.streams[name].stream.columns
            if self.streams[name].normaliser.refilled:
                return True
            if any(f.name not in now.names or now.field(f.name).type != f.type for f in view.inputs[name]):
                return True
        return bool(evolved) and self._would_be_other(model, view)

    def _would_be_other(self, model: Model, view: View) -> bool:
        try:
            planned = self.view_of(model)
        except UserError:
            return False  # a new column's name is ambiguous in it, say: it goes on as it was bound
        planned.close()
        return bool(not planned.schema.equals(view.schema))

    def _build(self, model: Model, plan: EpochPlan, deltas: dict[str, pa.Table], step: Step, *, over: bool) -> None:
        """Builds a model anew; one that does not fit what it reads waits."""
        try:
            view = self.view_of(model)
        except UserError as mistake:
            self.nodes.pop(model.name, None)
            self.waiting[model.name] = mistake
            return
        self.waiting.pop(model.name, None)
        step.rebuilt.append(model.name)
        deltas[model.name] = self.meter.of(model.name, self._rebuild, model, view, plan, step, over=over)

    def _step_stream(self, node: StreamNode, plan: EpochPlan, intake: Intake, step: Step) -> pa.Table:
        name = node.stream.name
        wanted = plan.replays if intake.first else ()
        replays = [replay for replay in wanted if replay.stage == "decode" and replay.stream == name]
        again = [node.normaliser.merged(changes_of(replay, node.stream)) for replay in replays]
        step.replayed += [reject for replay in replays for reject in replay.rejects]
        node.landed += sum(len(replay.rejects) for replay in replays)
        node.normaliser.tracing = any(table.traced for table in node.tables)
        left = gone(node.stream.columns)
        delta = node.normaliser.apply([*again, *intake.batches.get(name, ())])
        node.landed += intake.changes(name)
        step.healed[name] = node.normaliser.take_healed()
        columns = node.stream.columns
        if node.normaliser.refilled:
            self.checks.recount(name)
        delta = self.checks.admit(name, delta, columns, node.stream.key, anew=False)
        node.observe(delta)
        replace = name in self._newcomers or node.normaliser.refilled
        rebuild = plan.rebuild_of_streams if intake.first else ()
        returned = not left <= gone(node.stream.columns)
        admitted = partial(self.checks.admitted, name, columns=columns)
        place = intake.last_place(name)
        step.outputs |= node.outputs(delta, place, rebuild, admitted, replace=replace, returned=returned)
        return delta

    def _rebuild(self, model: Model, view: View, plan: EpochPlan, step: Step, *, over: bool) -> pa.Table:
        """A new view fed with the whole current input; what its former self rejected is moot."""
        node = self.nodes[model.name] = ModelNode(model, view)
        applied = node.view.apply({name: self._whole(name) for name in model.inputs})
        parts = [node.view.initial, applied]
        if over:
            parts.append(node.view.advance(self._watermarks(model.inputs, plan), self._idle.intersection(model.inputs)))
        self._take_rejects(node, step)
        whole = settled(pa.concat_tables(parts))
        whole = weighted_rows(expanded(whole) if whole is not None else node.view.schema.empty_table())
        whole = self.checks.admit(model.name, whole, node.view.schema, node.view.key, anew=True)
        step.outputs |= node.outputs(whole, plan.epoch, self._time_us, replace=True)
        step.handed[model.name] = Output(whole, True, node.spec)
        return whole

    def _swap(
        self, node: ModelNode, deltas: Mapping[str, pa.Table], plan: EpochPlan, step: Step, *, over: bool
    ) -> pa.Table:
        """Steps a model whose view was made beside the former one: at the end of the epoch all its rows take the place
        of those that its tables hold."""
        name, view = node.model.name, node.view
        delta = self.checks.admitted(name, self._raw_step(node, deltas, plan, step, over=over), view.schema)
        step.swapped.append(name)
        for prepared in node.prepared.values():
            prepared.add(delta)
        if over:
            whole: Callable[[], pa.Table] = lambda: weighted_rows(view.result())  # noqa: E731 rarely asked for
            if name in self.checks.nodes:
                admitted = self.checks.admit(name, whole(), view.schema, view.key, anew=True)
                whole = lambda: admitted  # noqa: E731
            step.outputs |= node.swapped_outputs(whole, plan.epoch, self._time_us)
            step.handed[name] = Output(delta, True, node.spec, whole=whole)
        return delta

    def let_go(self, swapped: Collection[str]) -> None:
        """Forgets what models were given to be swapped in, once their tables have committed."""
        for name in swapped:
            node = self.nodes[name]
            node.discard_prepared()
            if name not in self._read and not self.checks.wants_rows(name):
                node.view.drop_result()

    def _step_model(
        self, node: ModelNode, deltas: Mapping[str, pa.Table], plan: EpochPlan, step: Step, *, over: bool
    ) -> pa.Table:
        changed = self._raw_step(node, deltas, plan, step, over=over)
        delta = self.checks.admit(node.model.name, changed, node.view.schema, node.view.key, anew=False)
        step.outputs |= node.outputs(delta, plan.epoch, self._time_us, replace=False)
        step.handed[node.model.name] = Output(delta, False, node.spec)
        return delta

    def _raw_step(
        self, node: ModelNode, deltas: Mapping[str, pa.Table], plan: EpochPlan, step: Step, *, over: bool
    ) -> pa.Table:
        """What a model computes of its inputs' changes, before its checks."""
        view, inputs = node.view, node.model.inputs
        out = [view.apply({name: _only(deltas[name], view.inputs[name]) for name in inputs})]
        self._take_rejects(node, step)
        for replay in plan.replays if over else ():
            model, _, entry = replay.stream.partition("/")
            if replay.stage != "decode" and model == node.model.name:
                out.append(self._refeed(node, entry, replay, step))
        if over:
            out.append(view.advance(self._watermarks(inputs, plan), self._idle.intersection(inputs)))
        return pa.concat_tables(out)

    def _refeed(self, node: ModelNode, entry: str, replay: Replay, step: Step) -> pa.Table:
        out = node.view.apply({entry: rows_of(replay)})
        node.refed += 1
        again = node.view.take_rejects()
        if again is None:
            step.replayed += replay.rejects
        else:
            step.failed_replays |= dict.fromkeys(replay.rejects, again.column("message")[0].as_py())
        return out

    def _take_rejects(self, node: ModelNode, step: Step) -> None:
        rejects = node.view.take_rejects()
        if rejects is not None:
            step.rejects.append(rejects)

    def _whole(self, name: str) -> pa.Table:
        columns = self.columns_of(name)
        return self.computed(name) if columns is None else self.checks.admitted(name, self.computed(name), columns)

    def _watermarks(self, inputs: Iterable[str], plan: EpochPlan) -> dict[str, datetime]:
        """How far the inputs that are not idle are in event time."""
        marks: dict[str, datetime] = {}
        for name in inputs:
            if name in self._idle:
                continue
            if name in self.streams:
                us = self.streams[name].watermark_us
                still = us is None or self.streams[name].source in plan.snapshotting
                mark = None if still or us is None else EPOCH_START + us * MICROSECOND
            else:
                mark = self.nodes[name].view.watermark
            if mark is not None:
                marks[name] = mark
        return marks


def view_of(
    model: Model,
    inputs: Mapping[str, pa.Schema],
    state: Path | None = None,
    *,
    append_only: Collection[str] = (),
    ttl: Mapping[str, tuple[str, timedelta]] | None = None,
    threads: int = 1,
    keep_result: bool = True,
    memory: MemoryPlan | None = None,
) -> View:
    """A view of `model` with its settings over inputs of these schemas: without rows, or with a checkpoint's.

    Args:
        append_only: inputs of which no row ever goes.
        ttl: see `headwater.engine.settings.Settings`; so is `threads`.
        keep_result: as well; other models that are built anew read the result.
        memory: how much of it the view's state may take.
    """
    settings = model.settings
    make = View if state is None else partial(View.restore, state)
    return make(
        model.sql,
        inputs,
        key=settings.key,
        emit=settings.emit,
        lateness=settings.lateness,
        late=settings.late,
        append_only=append_only,
        ttl=ttl or {},
        functions=model.functions,
        name=model.name,
        file=model.file,
        first_line=model.first_line,
        threads=threads,
        keep_result=keep_result,
        memory=memory.view_bytes if memory is not None else None,
        spill=memory.spill if memory is not None else None,
    )


def _only(delta: pa.Table, columns: pa.Schema) -> pa.Table:
    """The columns a model was bound with: a column that appeared since is not its input yet."""
    return delta.select([*columns.names, WEIGHT])
