"""Keeps open tables, a task at a time, and records it: what `headwater run` and `headwater maintain` share."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.lake.maintenance import KINDS, Maintained, Maintenance, Outcome, Policy, TableHealth, Task, TaskKind
from headwater.lake.table_format import Table
from headwater.project.settings import MaintenanceSettings
from headwater.runtime.journal import Journal
from headwater.runtime.maintenance_runs import MaintenanceRecord, Run

REWRITES: tuple[TaskKind, ...] = ("compact", "deletes", "manifests")
ORPHANS: tuple[TaskKind, ...] = ("orphans",)
STAGES: tuple[tuple[TaskKind, ...], ...] = (REWRITES, ("expire",), ORPHANS)
"""Kinds of tasks in the order that makes each find what those before it leave."""

MOST_TASKS = 10_000
"""Tasks that one request may lead to, so that it comes to an end beside a busy writer."""


def policy_of(settings: MaintenanceSettings) -> Policy:
    """What a project's settings mean for its tables."""
    return Policy(
        target_file_bytes=int(settings.target_file_size),
        fanout=settings.merge_files,
        most_deleted=settings.most_deleted,
        keep_snapshots=settings.keep_snapshots,
        keep_snapshots_s=settings.keep_snapshots_for.total_seconds(),
        orphan_age_s=settings.orphan_age.total_seconds(),
        reader_grace_s=settings.longest_query.total_seconds(),
    )


@dataclass(frozen=True)
class _Kept:
    """An open table and what keeps it."""

    table: Table
    maintenance: Maintenance


@dataclass
class Upkeep:
    """The tables that are kept. Used by one thread.

    Attributes:
        record: where runs go.
        policy: how tables are to be kept.
        clock: time.
        journal: where is told what was done; nowhere if None.
    """

    record: MaintenanceRecord
    policy: Policy
    clock: Clock
    journal: Journal | None = None
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def open(self, tables: Mapping[str, Table]) -> Sequence[str]:
        """Takes the tables as they are open now; returns the names of those that can be kept."""
        self._kept = {name: self._of(name, table) for name, table in tables.items() if isinstance(table, Maintained)}
        return sorted(self._kept)

    def _of(self, name: str, table: Table) -> _Kept:
        before = self._kept.get(name)
        if before is not None and before.table is table:
            return before
        assert isinstance(table, Maintained)
        kept = _Kept(table, table.maintenance())
        kept.maintenance.suspects = before.maintenance.suspects if before is not None else self.record.suspects(name)
        return kept

    def health(self, name: str) -> TableHealth:
        """What a table consists of.

        Raises:
            HeadwaterError: it cannot be read.
        """
        return self._kept[name].maintenance.health()

    def plan(self, name: str, kinds: Collection[TaskKind] = KINDS) -> Sequence[Task]:
        """What is worth doing to a table.

        Raises:
            HeadwaterError: it cannot be read.
        """
        return self._kept[name].maintenance.plan(self.policy, kinds)

    def carry_out(self, name: str, task: Task) -> Run:
        """Does a task and records it; what fails is recorded too.

        Raises:
            StorageFailed: the record could not be written.
        """
        began_us, began_s, cpu_s = self.clock.now_us(), self.clock.monotonic_s(), time.thread_time()
        failed = False
        try:
            outcome = self._kept[name].maintenance.carry_out(task, self.policy)
        except HeadwaterError as error:
            failed, outcome = True, Outcome(False, f"failed: {error}")
        took_s = self.clock.monotonic_s() - began_s
        run = Run.of(name, task, outcome, began_us, took_s, time.thread_time() - cpu_s)
        self.record.add(run)
        self.remember(name)
        if self.journal is not None:
            files = f"{task.files} -> {outcome.files_added}"
            event = "maintenance.failed" if failed else f"maintenance.{'done' if outcome.done else 'put_off'}"
            self.journal.write(
                event,
                "warning" if failed else "info",
                table=name,
                task=task.kind,
                files=files,
                took_s=run.took_s,
                note=outcome.note,
            )
        return run

    def remember(self, name: str) -> None:
        """Keeps what is known of a table's files for the next start.

        Raises:
            StorageFailed: it could not be written.
        """
        self.record.keep_suspects(name, self._kept[name].maintenance.suspects)

    def all_of(self, name: str) -> list[Run]:
        """Does all that there is to do to a table, one task after the other.

        Raises:
            HeadwaterError: the table cannot be read.
        """
        runs: list[Run] = []
        for kinds in STAGES:
            while len(runs) < MOST_TASKS:
                tasks = self.plan(name, kinds)
                if not tasks:
                    break
                runs.append(self.carry_out(name, tasks[0]))
                if not runs[-1].done:
                    break
        self.remember(name)
        return runs
