"""The outboxes of a running project: one more "table" of its model for each sync, which takes every epoch once.

An outbox is committed before the tables are, so that a model that is built anew can be compared with what its table
held until then: only the difference is handed over. After a crash an outbox says which epoch it holds, as a table does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.clock import Clock
from headwater.deliver.changes import Changes, aligned, all_rows, changes_of, difference
from headwater.deliver.outbox import Outbox, current
from headwater.errors import UserError
from headwater.project.definition import Project, SyncDefinition
from headwater.project.destinations import make_destination
from headwater.runtime.journal import Journal
from headwater.runtime.nodes import Output
from headwater.runtime.state_store import EpochPlan

FOLDER = "syncs"
RESYNC = "resync"
"""File that asks for everything to be sent again; its text is an id, and "anew" after it begins another outbox."""

Former = Callable[[str, int | None], pa.Table | None]
"""The rows of a model as its table has them, at the end of an epoch or now; None if the table cannot say."""


def sync_folder(state: Path, name: str) -> Path:
    """The folder of a sync's outbox and delivery table."""
    return state / FOLDER / name


@dataclass
class _Held:
    """An outbox that is kept up to date."""

    outbox: Outbox
    staged: bool = False


class Outboxes:
    """The outboxes of a project. The epochs' thread writes; the delivery jobs ask for them.

    Args:
        project: whose syncs.
        journal: where it is told what had to be sent again.
        clock: time.
    """

    def __init__(self, project: Project, journal: Journal, clock: Clock) -> None:
        self._project, self._journal, self._clock = project, journal, clock
        self._syncs = {sync.name: sync for sync in project.syncs}
        self._held: dict[str, _Held] = {}
        self._lapsed: dict[str, Outbox] = {}
        self._lost: set[str] = set()
        self._before = {name: make_destination(sync).wants_before for name, sync in self._syncs.items()}

    def get(self, name: str) -> Outbox | None:
        """A sync's outbox, if it has begun; asked by its delivery job."""
        held = self._held.get(name)
        return held.outbox if held is not None else None

    def open(self, recorded: Mapping[str, str] | None, epoch: int) -> None:
        """Opens the outboxes that there are, or those that failed anew.

        Args:
            recorded: by sync, what the checkpoint says of its outbox; None without a checkpoint.
            epoch: of the checkpoint.
        """
        for held in self._held.values():
            held.outbox.reopen()
            held.staged = False
        for name in self._syncs.keys() - self._held.keys() - self._lapsed.keys():
            found = current(sync_folder(self._project.state, name))
            told = (recorded or {}).get(name, "")
            if found is None:
                self._lost |= {name} if told else set()
                continue
            outbox = Outbox(sync_folder(self._project.state, name), found, self._segment, self._clock)
            identity, _, at_least = told.partition(":")
            # one that took another's place since the checkpoint began at its epoch or later
            behind = bool(told) and outbox.committed < (int(at_least) if identity == found.id else epoch)
            if not self._fits(outbox, self._syncs[name]) or behind:
                self._lost |= {name} if behind else set()
                outbox.close()
            elif recorded is not None and not told and outbox.committed < epoch:
                self._lapsed[name] = outbox
            else:
                self._held[name] = _Held(outbox)

    def take(
        self, plan: EpochPlan, handed: Mapping[str, Output], former: Former, sources: Callable[[str], Collection[str]],
        *, last: bool,
    ) -> None:  # fmt: skip
        """Takes in what an epoch, or a slice of it, changes in the models; with the last it becomes durable.

        Args:
            plan: the epoch's.
            handed: by model, what changes.
            former: rows as tables have them.
            sources: by model, the sources that feed it.

        Raises:
            StorageFailed: `open` again, and begin the epoch again.
        """
        for name, sync in self._syncs.items():
            output = handed.get(sync.model)
            if output is None or name in self._lapsed:
                continue
            held = self._held_for(sync, output, plan.epoch)
            if held is None or held.outbox.committed >= plan.epoch:
                continue
            held.outbox.columns = _columns(output)
            if held.outbox.expects == "start":
                if last and not set(plan.snapshotting).intersection(sources(sync.model)):
                    held.outbox.commit(plan.epoch, _nothing(output))
                continue
            self._take(held, sync, plan.epoch, output, former, last=last)

    def begin(
        self, epoch: int, specs: Mapping[str, Output], former: Former, sources: Callable[[str], Collection[str]],
        snapshotting: Collection[str],
    ) -> None:  # fmt: skip
        """Begins the outboxes of new syncs, and brings those up to date that were left out for a while.

        Args:
            epoch: the last epoch, which the tables hold.
            specs: of the models that are up to date, an empty output.
            former, sources: as in `take`.
            snapshotting: sources in their first snapshot.
        """
        for name, sync in self._syncs.items():
            spec = specs.get(sync.model)
            if spec is None or name in self._held:
                continue
            lapsed = self._lapsed.pop(name, None)
            if lapsed is not None:
                self._catch_up(lapsed, sync, spec, epoch, former)
            elif sync.settings.start == "changes" and name not in self._lost:
                waits = not set(snapshotting).isdisjoint(sources(sync.model))
                self._new(sync, spec, epoch, waits=waits)
            else:
                self._fill(sync, spec, epoch, former)

    def resync(self, epoch: int, specs: Mapping[str, Output], former: Former) -> None:
        """Hands everything over again where it was asked for."""
        for name, sync in self._syncs.items():
            path = sync_folder(self._project.state, name) / RESYNC
            held, spec = self._held.get(name), specs.get(sync.model)
            if held is None or spec is None or not path.exists():
                continue
            identity, _, anew = path.read_text(encoding="utf-8").partition(" ")
            rows = former(sync.model, None)
            if held.outbox.resynced != identity and rows is not None:
                if anew:
                    self._held.pop(name)
                    held.outbox.close()
                    self._fill(sync, spec, epoch, former, resync=identity)
                else:
                    held.outbox.commit(epoch, all_rows(aligned(rows, _columns(spec)), held.outbox.of.key),
                                       resync=identity)  # fmt: skip
                self._journal.write("sync.resync", sync=name, records=rows.num_rows)
            if rows is not None:
                path.unlink(missing_ok=True)

    def record(self) -> dict[str, str]:
        """What a checkpoint says of the outboxes."""
        return {name: f"{held.outbox.of.id}:{held.outbox.committed}" for name, held in self._held.items()}

    def close(self) -> None:
        """Lets go of the files."""
        for outbox in (*(held.outbox for held in self._held.values()), *self._lapsed.values()):
            outbox.close()

    @property
    def _segment(self) -> int:
        return int(self._project.run.log_segment)

    def _held_for(self, sync: SyncDefinition, output: Output, epoch: int) -> _Held | None:
        """The outbox that is to take an output. One that does not exist yet begins with a model that is built; before,
        it would lack what the model has already."""
        held = self._held.get(sync.name)
        due = held is not None and output.replace and held.outbox.committed < epoch
        if held is not None and due and held.outbox.of.key != key_of(sync, output):
            self._journal.write("sync.anew", "warning", sync=sync.name, hint="its model has another key from now on")
            self._held.pop(sync.name).outbox.close()
            held = None
        return held or (self._new(sync, output, epoch - 1) if output.replace else None)

    def _take(
        self, held: _Held, sync: SyncDefinition, epoch: int, output: Output, former: Former, *, last: bool
    ) -> None:
        outbox = held.outbox
        changes = self._changes(outbox, sync, output, former)
        if changes.retracted:
            self._journal.write(
                "sync.retracted", "warning", sync=sync.name, rows=changes.retracted,
                hint="rows went from a model without a key, which cannot be sent: give the model a key",
            )  # fmt: skip
        if not last:
            outbox.stage(epoch, changes)
            held.staged = True
        elif len(changes) or held.staged or outbox.expects != "nothing":
            outbox.commit(epoch, changes)
            held.staged = False

    def _changes(self, outbox: Outbox, sync: SyncDefinition, output: Output, former: Former) -> Changes:
        """What an output comes to in records."""
        key, before = outbox.of.key, self._before[sync.name]
        if not output.replace:
            return changes_of(output.delta, key, with_before=before)
        rows = _rows(output.rows())
        if outbox.expects == "whole":
            return all_rows(rows, key)
        there = former(sync.model, None)
        if there is not None:
            return difference(there, rows, key, with_before=before)
        self._journal.write(
            "sync.whole", "warning", sync=sync.name, rows=rows.num_rows,
            hint="its model was built anew, and what it was before is not known"
            + ("" if key else f": nothing is sent, as rows would be there twice: headwater syncs resync {sync.name}"),
        )  # fmt: skip
        return all_rows(rows if key else rows.slice(0, 0), key)

    def _new(self, sync: SyncDefinition, output: Output, epoch: int, *, waits: bool = True) -> _Held:
        """An empty outbox, which nothing was handed to yet."""
        outbox = self._anew(sync, output)
        changes = sync.settings.start == "changes" and sync.name not in self._lost
        outbox.commit(epoch, _nothing(output), expects="whole" if not changes else "start" if waits else "nothing")
        outbox.takes_over()
        self._held[sync.name] = _Held(outbox)
        return self._held[sync.name]

    def _fill(
        self, sync: SyncDefinition, spec: Output, epoch: int, former: Former, *, resync: str | None = None
    ) -> None:
        """An outbox that begins with all rows that the model has."""
        rows = former(sync.model, None)
        if rows is None:
            self._new(sync, spec, epoch)
            return
        outbox = self._anew(sync, spec)
        outbox.commit(epoch, all_rows(aligned(rows, _columns(spec)), outbox.of.key), resync=resync)
        outbox.takes_over()
        self._held[sync.name] = _Held(outbox)
        self._journal.write("sync.begun", sync=sync.name, records=rows.num_rows, lost=sync.name in self._lost)
        self._lost.discard(sync.name)

    def _catch_up(self, outbox: Outbox, sync: SyncDefinition, spec: Output, epoch: int, former: Former) -> None:
        """Hands over what changed while the sync was not in the settings."""
        there, rows = former(sync.model, outbox.committed), former(sync.model, None)
        if rows is None:
            outbox.close()
            self._new(sync, spec, epoch)
            return
        now = aligned(rows, _columns(spec))
        key = outbox.of.key
        if there is not None:
            changes = difference(there, now, key, with_before=self._before[sync.name])
        else:
            changes = all_rows(now if key else now.slice(0, 0), key)
        outbox.commit(epoch, changes)
        self._held[sync.name] = _Held(outbox)
        self._journal.write("sync.caught_up", sync=sync.name, records=len(changes), known=there is not None)

    def _anew(self, sync: SyncDefinition, output: Output) -> Outbox:
        folder = sync_folder(self._project.state, sync.name)
        return Outbox.anew(folder, sync.model, key_of(sync, output), _columns(output), self._segment, self._clock)

    def _fits(self, outbox: Outbox, sync: SyncDefinition) -> bool:
        """Whether an outbox is still what the settings want."""
        same = outbox.of.model == sync.model
        return same and (not sync.settings.key or sync.settings.key == outbox.of.key)


def key_of(sync: SyncDefinition, output: Output) -> tuple[str, ...]:
    """The sync's key.

    Raises:
        UserError: it does not identify the model's rows.
    """
    assert output.spec is not None
    model = output.spec.key
    wanted = sync.settings.key or model
    if not set(model).issubset(wanted) or not set(wanted).issubset(output.spec.columns.names) or (wanted and not model):
        raise UserError(
            f"sync {sync.name!r}: its key {list(wanted)} does not identify the rows of {sync.model!r},"
            f" whose key is {list(model)}",
            hint="leave `key` out, or set the model's `key` in its front matter",
            place=sync.place,
        )
    return wanted


def _columns(output: Output) -> pa.Schema:
    assert output.spec is not None
    return output.spec.columns


def _nothing(output: Output) -> Changes:
    return Changes(_columns(output).empty_table(), np.zeros(0, np.uint8))


def _rows(delta: pa.Table) -> pa.Table:
    """The rows that a delta from nothing leads to."""
    return changes_of(delta, ()).rows
