"""An opened project: its state, models and tables, run an epoch at a time.

The order of writes is the exactly-once protocol (`docs/decisions/2026-11-21-epochs.md`):

1. the plan of an epoch (log ranges, rebuilds, replays) becomes durable in the state store;
2. the models step, each table commits the epoch, tagged with its number, and says so itself when asked;
3. rejects and "done" become durable in one transaction;
4. now and then a checkpoint; epochs above the last checkpoint are run again after a crash, with the same plans, and
   tables that hold them already are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater import failpoint
from headwater.allocators import give_back
from headwater.capture.gap import gap_stream
from headwater.clock import Clock
from headwater.engine.evolution import is_promised
from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.project.definition import Project, SourceDefinition
from headwater.project.discovery import load_streams, save_streams
from headwater.project.recorded import source_fingerprint
from headwater.quality.accounting import Account
from headwater.runtime import checkpoint_history, schema_changes
from headwater.runtime.capture_job import Partitions
from headwater.runtime.checkpoint import CheckpointFolder
from headwater.runtime.checkpoint_history import measured
from headwater.runtime.checks.inspector import Inspector
from headwater.runtime.dataflow import Dataflow, Step
from headwater.runtime.freshness import KEPT, Freshness
from headwater.runtime.hand_over import OFFSET
from headwater.runtime.identity import state_identity
from headwater.runtime.intake import Intake, Slicing, boundaries_after, boundary_after, take_in
from headwater.runtime.journal import Journal
from headwater.runtime.nodes import Output, StreamNode
from headwater.runtime.outboxes import Outboxes
from headwater.runtime.replay import superseded
from headwater.runtime.silence import Silence
from headwater.runtime.sinks import Sinks
from headwater.runtime.state_store import CheckpointRecord, EpochPlan, Replay, StateStore
from headwater.schema import StreamSchema, column_id
from headwater.sqlite_file import storage_errors

CHECKPOINTS_KEPT = 2


@dataclass
class _Taken:
    """What is remembered of an epoch's slices, besides what the state and the tables keep.

    Attributes:
        seen: streams that had changes.
        rejects: rejected at decode.
        step: what could not go on, and what was built anew; the outputs are only the last slice's.
        commit_times: of the newest changes; see `Freshness`.
        whole: all that was taken in, if it was one slice.
    """

    seen: set[str] = field(default_factory=set)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    step: Step = field(default_factory=Step)
    commit_times: list[NDArray[np.int64]] = field(default_factory=list)
    whole: Intake | None = None

    def add(self, intake: Intake, step: Step) -> None:
        """Takes note of the next slice."""
        step.follows(self.step)
        self.seen, self.step = intake.seen, step
        self.rejects += intake.rejects
        self.commit_times += intake.commit_times
        if not intake.first:
            self.commit_times = [np.concatenate([*self.commit_times, np.zeros(0, np.int64)])[-KEPT:]]
        self.whole = intake if intake.first and intake.last else None


@dataclass
class Pipeline:
    """The parts of an open project and where it stands. Used by one thread; made by `recovery.open_pipeline`.

    Attributes:
        epoch: the last epoch run.
        offsets: by source, the log offset the next epoch begins at.
        rebuild: tables that the next epoch builds anew.
        checkpointed: epoch of the last checkpoint.
        slicing: how large a slice of an epoch may be.
        doubted: tables that lacked something when the project was opened, until all their rows are replaced.
        left_out: by stream, the log offset before which its changes are not wanted.
        inspector: judges the checks.
        swapping: models whose views are new: in the next epoch their rows take the place of what their tables hold.
    """

    project: Project
    store: StateStore
    partitions: Partitions
    flow: Dataflow
    sinks: Sinks
    folder: CheckpointFolder
    clock: Clock
    freshness: Freshness
    outboxes: Outboxes
    epoch: int = 0
    offsets: dict[str, int] | None = None
    rebuild: tuple[str, ...] = ()
    swapping: tuple[str, ...] = ()
    checkpointed: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    journal: Journal | None = None
    slicing: Slicing | None = None
    silence: Silence = field(default_factory=Silence)
    doubted: set[str] = field(default_factory=set)
    inspector: Inspector = field(init=False)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.inspector = Inspector(self.store, self.flow)

    def next_plan(self, replays: tuple[Replay, ...], *, force: bool = False) -> EpochPlan | None:
        """Plans what is in the log now, at most `epoch_max_records` per source; None if there is nothing to do.

        Args:
            replays: rejects to be taken in again.
            force: plan an epoch even then.

        Raises:
            UserError: the ledger of rejects is full, and none of them is to be taken in again.
        """
        assert self.offsets is not None
        ranges = {}
        for source, partition in self.partitions.items():
            start = self.offsets[source]
            ranges[source] = (start, partition.close_epoch_at(start, self.project.run.epoch_max_records))
        quiet = self.silence.of(self.flow.streams, self.clock.monotonic_s())
        snapshotting = tuple(source for source, (_, end) in ranges.items() if self._in_snapshot(source, end))
        postponed = self.flow.past_of(snapshotting).intersection(self.rebuild)
        rebuild = tuple(name for name in self.rebuild if name not in postponed)
        nothing = all(start == end for start, end in ranges.values()) and quiet == self.silence.told
        if nothing and not replays and not (rebuild and self._has_begun()) and not (self.swapping or force):
            return None
        if not replays:
            self._require_room()
        replays = tuple(one for one in replays if one.stage == "decode" or not self._is_swapping(one.stream))
        plan = EpochPlan(
            self.epoch + 1,
            ranges,
            models={name: model.fingerprint for name, model in self.flow.models.items()},
            rebuild=(*(name for name in rebuild if name not in self.swapping), *self.swapping),
            snapshotting=snapshotting,
            replays=replays,
            idle=quiet,
            swapped=self.swapping,
        )
        failpoint.reach("epoch.plan.before")
        self.store.plan(plan)
        failpoint.reach("epoch.plan.after")
        self.rebuild = tuple(name for name in self.rebuild if name in postponed)
        self.swapping = ()
        return plan

    def _is_swapping(self, entry: str) -> bool:
        return entry.partition("/")[0] in self.swapping

    def run(self, plan: EpochPlan, *, again: bool = False) -> None:
        """Takes an epoch all the way.

        Args:
            plan: what it takes in.
            again: the epoch is run again after a crash; most of its rows have been visible before.
        """
        taken = _Taken()
        for intake in self._slices(plan):
            self._take(plan, intake, taken, again=again)
        visible_us = self.clock.now_us()
        failpoint.reach("epoch.done.before")
        self._finish(plan, taken)
        failpoint.reach("epoch.done.after")
        self.silence.observe(taken.seen, plan, self.clock.monotonic_s())
        self.epoch = plan.epoch
        self.offsets = {source: plan.ranges.get(source, (0, at))[1] for source, at in (self.offsets or {}).items()}
        if not again:
            self.freshness.observe(taken.commit_times, visible_us)

    def _slices(self, plan: EpochPlan) -> Iterator[Intake]:
        return take_in(plan, self.partitions.as_mapping(), self.left_out, self.slicing)

    def _take(self, plan: EpochPlan, intake: Intake, taken: _Taken, *, again: bool) -> None:
        """Takes one slice of an epoch; with the last all of it becomes visible."""
        self._meet(plan, intake, again=again)
        step = self.flow.step(plan, intake)
        self._remember(step.evolved)
        self._tell_waiting()
        if intake.last:
            self._inspect(plan, intake, again=again)
        self.outboxes.take(plan, step.handed, self.former_rows, self.sources_of, last=intake.last)
        step.handed.clear()
        if intake.last:
            self.sinks.commit(plan.epoch, step.outputs, self._properties(plan))
            self.doubted -= {name for name, output in step.outputs.items() if output.replace}
            self.flow.let_go(step.swapped)
        else:
            self.sinks.stage(plan.epoch, step.outputs)
            step.outputs.clear()
            give_back()
        taken.add(intake, step)

    def _inspect(self, plan: EpochPlan, intake: Intake, *, again: bool) -> None:
        """Asks the checks whether the epoch may be. One that a table holds already may: it passed then."""
        held = self.store.is_done(plan.epoch) or any(e >= plan.epoch for e in self.sinks.committed.values())
        free = not self.project.syncs or (intake.first and not again)
        self.inspector.inspect(plan.epoch, self.clock.now_us(), enforced=not held, free=free)

    def checkpoint(self) -> None:
        """Writes a checkpoint of the last epoch and lets the log go that no kept checkpoint needs.

        Raises:
            StorageFailed: it could not be written; the former one stands.
        """
        if self.checkpointed == self.epoch or self.offsets is None:
            return
        began_s = self.clock.monotonic_s()
        self.folder.write(self.epoch, self.flow, self.checkpointed)
        kept = self.store.add_checkpoint(self._record(self.offsets), keep=CHECKPOINTS_KEPT, now_us=self.clock.now_us())
        failpoint.reach("checkpoint.after_catalog")
        self.checkpointed = self.epoch
        took_s, state = self.clock.monotonic_s() - began_s, self.project.state
        with suppress(StorageFailed, OSError):  # a record for people: the checkpoint stands without it
            made = measured(state / "checkpoints" / str(self.epoch), self.epoch, self.clock.now_us(), took_s)
            checkpoint_history.note(state, made)
        self.folder.clean(record.epoch for record in kept)
        self.sinks.keep_indexes()
        retention = self.project.run.log_retention
        for source, partition in self.partitions.items():
            partition.retain(
                before=min(record.offsets.get(source, 0) for record in kept),
                min_age_s=retention.max_age.total_seconds(),
                max_bytes=int(retention.max_bytes),
            )
        self._forget_settled()

    def begin_syncs(self) -> None:
        """Begins the outboxes of syncs that are new."""
        snapshotting = [
            source for source in self.partitions.as_mapping() if self._in_snapshot(source, self.offsets_of(source))
        ]
        self.outboxes.begin(self.epoch, self._specs(), self.former_rows, self.sources_of, snapshotting)

    def resync(self) -> None:
        """Hands over everything again where a user wants it."""
        self.outboxes.resync(self.epoch, self._specs(), self.former_rows)

    def sources_of(self, model: str) -> set[str]:
        """The sources whose streams a model reads, itself or by way of others."""
        flow, found = self.flow, set[str]()
        for name in flow.models[model].inputs if model in flow.models else ():
            found |= {flow.streams[name].source} if name in flow.streams else self.sources_of(name)
        return found

    def former_rows(self, model: str, epoch: int | None) -> pa.Table | None:
        """The rows of a model as a table of it has them, at the end of an epoch or now; None if none can say."""
        for table in self.flow.models[model].tables if model in self.flow.models else ():
            lacking = table.name in self.doubted or table.name in self.sinks.rolled_back
            found = self.sinks.open_tables().get(table.name)
            if table.kind_text == "mirror" and not lacking and found is not None:
                with suppress(UserError):
                    return found.read(epoch)
        return None

    def _specs(self) -> dict[str, Output]:
        """Of the models that are up to date, what their rows look like."""
        nodes = self.flow.nodes.items()
        return {name: Output(node.view.schema.empty_table(), spec=node.spec) for name, node in nodes}

    def stream_accounts(self) -> dict[str, Account]:
        """The account of every stream, each side counted where it happens."""
        rejected = self.store.ledger.totals()
        accounts = {}
        for name, node in self.flow.streams.items():
            partition = self.partitions[node.source]
            head, here = partition.counts.get(name), partition.counts_at(self.offsets_of(node.source)).get(name)
            read = head.changes + head.rejects + head.filtered if head else 0
            taken = here.changes + here.rejects + here.filtered if here else 0
            accounts[name] = Account(
                read=read,
                landed=node.landed,
                rejected=rejected.get((name, "decode"), 0),
                filtered=here.filtered if here else 0,
                in_flight=read - taken,
            )
        return accounts

    def model_accounts(self) -> dict[str, Account]:
        """The account of every model over what its inputs offered it."""
        accounts = {}
        for name, node in self.flow.nodes.items():
            counts = node.view.counts
            accounts[name] = Account(
                read=counts.read - node.refed,
                landed=counts.landed,
                rejected=counts.rejected - node.refed,
                filtered=counts.filtered,
                late=counts.late,
            )
        return accounts

    def offsets_of(self, source: str) -> int:
        """The log offset up to which a source is taken in."""
        return (self.offsets or {}).get(source, 0)

    def close(self) -> None:
        """Lets go of tables and state store; the log stays open."""
        for node in self.flow.nodes.values():
            node.discard_prepared()
        self.sinks.close()
        self.flow.checks.close()
        self.store.close()

    def _meet(self, plan: EpochPlan, intake: Intake, *, again: bool) -> None:
        """Makes room for streams that are seen for the first time, and remembers them for the next start.

        Raises:
            UserError: one has a name that is taken.
        """
        new = [name for name in intake.batches if name not in self.flow.streams]
        if not new:
            return
        for name in new:
            source = intake.sources[name]
            self._require_free_name(name, source)
            node = StreamNode.of(intake.batches[name][0].stream, self._definition(source), self.flow.kept_in)
            node.landed = self._landed_before(plan, name, source)
            self.flow.adopt(node)
            for table in node.tables:
                self.sinks.begin(node.spec(table), plan.epoch, again=again)
        known = load_streams(self.project.state)
        save_streams(self.project.state, [*known, *(self.flow.streams[name].stream for name in new)])

    def _landed_before(self, plan: EpochPlan, name: str, source: str) -> int:
        """Changes of a stream up to the end of the epoch, less those that it takes in."""
        wanted = sum(intake.changes(name) for intake in self._slices(plan))
        return self.partitions[source].counts_at(plan.ranges[source][1])[name].changes - wanted

    def _definition(self, source: str) -> SourceDefinition:
        return next(definition for definition in self.project.sources if definition.name == source)

    def _require_free_name(self, name: str, source: str) -> None:
        taken = {**dict.fromkeys(self.flow.streams, "a stream"), **dict.fromkeys(self.flow.models, "a model")}
        for other, what in taken.items():
            if other.casefold() == name.casefold():
                raise UserError(
                    f"source {source!r} has a new stream {name!r}, and {what} is called {other!r} already",
                    hint=f"leave the table out (sources: {source}: tables: [..., '!...']), or rename the other",
                )

    def _remember(self, evolved: Sequence[str]) -> None:
        """Notes the columns of streams as they are now for the next start, and tells of those that are other ones: what
        a source says of a column besides (its default, its type's text) may come and go as it is read anew."""
        if not evolved:
            return
        state = self.project.state
        now = {name: self.flow.streams[name].stream for name in evolved}
        known = load_streams(state)
        save_streams(state, [now.get(stream.name, stream) for stream in known])
        for stream in known:
            other = now.get(stream.name, stream)
            if self.journal is not None and _shape(other) != _shape(stream):
                self.journal.write("stream.changed", stream=stream.name, columns=", ".join(other.columns.names))
            if _shape(other) != _shape(stream):
                with suppress(StorageFailed):  # as above
                    schema_changes.note(state, self.clock.now_us(), self.epoch + 1, stream, other)

    def _tell_waiting(self) -> None:
        """Tells of models that have begun to wait."""
        for name in self.flow.waiting.keys() - self._told:
            mistake = self.flow.waiting[name]
            if self.journal is not None:
                self.journal.write("model.waiting", "warning", model=name, error=str(mistake), hint=mistake.hint)
        self._told = set(self.flow.waiting)

    def _has_begun(self) -> bool:
        """Whether some source is past its initial snapshot: before, there is nothing worth building from."""
        return any(not self._in_snapshot(source, partition.head) for source, partition in self.partitions.items())

    def _require_room(self) -> None:
        """Asks whether the ledger can take more; settled entries make room for others."""
        with storage_errors("write the state store"):
            full = self.store.ledger.full(int(self.project.rejects.max_bytes), "the log")
        if full is not None:
            raise full

    def _forget_settled(self) -> None:
        kept_us = int(self.project.rejects.keep_settled.total_seconds() * 1e6)
        with self.store.transaction():
            self.store.ledger.forget(self.clock.now_us() - kept_us)

    def _versions(self, plan: EpochPlan) -> dict[str, str]:
        """Fingerprints of the models, and by stream of its source's settings."""
        sources = {source.name: source_fingerprint(source) for source in self.project.sources}
        return {name: sources.get(node.source, "") for name, node in self.flow.streams.items()} | dict(plan.models)

    def _in_snapshot(self, source: str, offset: int) -> bool:
        """Whether more of the initial snapshot lies beyond the offset."""
        boundary = boundary_after(self.partitions[source], offset)
        return boundary is None or boundary.snapshot

    def _finish(self, plan: EpochPlan, taken: _Taken) -> None:
        """Writes the epoch's rejects and that it is done, at once; an epoch that was done before it was run again has
        them in the ledger, with what was decided about them since."""
        if self.store.is_done(plan.epoch):
            self.flow.checks.forget_epoch()
            return
        now_us, first, step = self.clock.now_us(), 0, taken.step
        ledger = self.store.ledger
        with self.store.transaction():
            for model in dict.fromkeys((*plan.rebuild, *step.rebuilt)):
                ledger.supersede_model(model)
            entered = [*taken.rejects, *step.rejects, *self.inspector.settle(plan.epoch, now_us)]
            versions = self._versions(plan) if entered else {}
            for rejects in entered:
                name = self.project.name
                ledger.record(rejects, epoch=plan.epoch, first=first, project=name, now_us=now_us, versions=versions)
                first += rejects.num_rows
            self.inspector.release()
            ledger.settle(step.replayed, step.failed_replays, now_us)
            intakes = [taken.whole] if taken.whole is not None else self._slices(plan)
            ledger.supersede(superseded(ledger, intakes, step.healed))
            for source, boundary in boundaries_after(plan, self.partitions.as_mapping()).items():
                if boundary.resume.get("decided") and not boundary.snapshot:
                    ledger.close_gaps(gap_stream(source), str(boundary.resume["decided"]))
            self.store.mark_done(plan.epoch, now_us)

    def check_accounts(self) -> None:
        """Checks the identity of every stream and model.

        Raises:
            InvariantBroken: one does not hold.
        """
        for name, gate in self.flow.checks.nodes.items():
            if not gate.account.holds:
                raise InvariantBroken(f"the checks of {name!r} lost rows: {gate.account}", hint="please report this")
        for name, account in {**self.stream_accounts(), **self.model_accounts()}.items():
            if not account.holds:
                raise InvariantBroken(
                    f"the accounting of {name!r} lacks {account.difference} records: {account.as_dict()}",
                    hint="headwater status --json; please report this with the state folder's log",
                )

    def _properties(self, plan: EpochPlan) -> dict[str, str]:
        properties = {"project": self.project.name, "state": state_identity(self.project.state)}
        for source, boundary in boundaries_after(plan, self.partitions.as_mapping()).items():
            properties[OFFSET.format(source=source)] = str(plan.ranges[source][1])
            properties[f"source.{source}.position"] = str(boundary.position.commit)
        return properties

    def _kept_up_to_date(self) -> dict[str, int]:
        """Tables with the epoch that they hold. One that was rolled back ought to hold the last one: it is behind, and
        is built anew, as soon as it is released."""
        anew = {*self.rebuild, *(t.name for name in self.swapping for t in self.flow.models[name].tables)}
        held = {name: epoch for name, epoch in self.sinks.committed.items() if name not in anew}
        return held | dict.fromkeys(self.sinks.rolled_back.keys() & held.keys(), self.epoch)

    def _record(self, offsets: Mapping[str, int]) -> CheckpointRecord:
        streams = self.flow.streams
        checks, gates = self.flow.checks.record()
        return CheckpointRecord(
            self.epoch,
            offsets=offsets,
            models={name: node.model.fingerprint for name, node in self.flow.nodes.items()},
            watermarks={name: node.watermark_us for name, node in streams.items() if node.watermark_us is not None},
            watermark_settings={name: str(node.watermark) for name, node in streams.items()},
            landed={name: node.landed for name, node in streams.items()},
            rows=dict(self.sinks.rows),
            refed={name: node.refed for name, node in self.flow.nodes.items()},
            sources={name: node.source for name, node in streams.items()},
            tables=self._kept_up_to_date(),
            syncs=self.outboxes.record(),
            checks=checks,
            gates=gates,
            swapping={name: self.flow.models[name].fingerprint for name in self.swapping},
        )


def _shape(stream: StreamSchema) -> object:
    """What people mean by a stream's columns: names, types, whose they are, and the key. One that the source has and
    that no change has brought is not among them yet."""
    columns = [(field.name, field.type, column_id(field)) for field in stream.columns if not is_promised(field)]
    return columns, stream.key, stream.changelog
