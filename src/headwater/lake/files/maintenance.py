"""Keeps a table of files small: merges small files, drops deleted rows for good, forgets old versions, finds orphans.

See `headwater.lake.maintenance.Maintenance`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from headwater.clock import Clock
from headwater.lake.files.version import LiveFile, Version
from headwater.lake.maintenance import KINDS, Outcome, Policy, Suspects, TableHealth, Task, TaskKind

if TYPE_CHECKING:
    from headwater.lake.files.table import FileTable

_SMALL = 0.75


class FileMaintenance:
    """Keeps one table.

    Args:
        table: the open table.
        clock: for ages.
    """

    def __init__(self, table: FileTable, clock: Clock) -> None:
        self.suspects = Suspects()
        self._table, self._clock = table, clock

    def health(self) -> TableHealth:
        """What the table consists of now."""
        version = self._table.log.load()
        files = version.files.values()
        return TableHealth(
            rows=sum(file.live for file in files),
            deleted_rows=sum(len(file.deleted) for file in files),
            files=len(files),
            small_files=sum(len(tier) for tier in _tiers(version, Policy()).values()),
            bytes=sum(file.size for file in files),
            delete_files=sum(bool(len(file.deleted)) for file in files),
            snapshots=sum(1 for _ in self._table.log.heads()),
        )

    def plan(self, policy: Policy, kinds: Collection[TaskKind] = KINDS) -> Sequence[Task]:
        """What is worth doing now, most urgent first."""
        version = self._table.log.load()
        found: list[Task] = []
        if "compact" in kinds:
            for tier in _tiers(version, policy).values():
                if len(tier) >= policy.fanout:
                    found.append(_task("compact", f"{len(tier)} small files", tier))
        if "deletes" in kinds:
            holes = [f for f in version.files.values() if len(f.deleted) > policy.most_deleted * f.rows]
            found += [_task("deletes", "many of its rows are deleted", [file]) for file in holes]
        heads = [head.at_us for head in self._table.log.heads()] if "expire" in kinds else []
        old_us = self._clock.now_us() - int(policy.keep_snapshots_s * 1e6)
        many = len(heads) >= policy.keep_snapshots * 1.1 + 1
        if many or (len(heads) > 1 and heads[-2] < old_us):
            found.append(Task("expire", f"{len(heads)} versions", what=None))
        if "orphans" in kinds:
            orphans = self._table.log.orphans(self._clock.now_us() - int(policy.orphan_age_s * 1e6), remove=False)
            if orphans:
                found.append(Task("orphans", "files that no version has", len(orphans)))
        return found

    def carry_out(self, task: Task, policy: Policy) -> Outcome:
        """Does one task."""
        log, now_us = self._table.log, self._clock.now_us()
        if task.kind in ("compact", "deletes"):
            assert isinstance(task.what, tuple)
            return self._table.rewrite(task.what)
        with self._table.lock:
            if task.kind == "expire":
                heads = list(log.heads())
                young = sum(head.at_us >= now_us - int(policy.keep_snapshots_s * 1e6) for head in heads)
                grace_us = now_us - int(policy.reader_grace_s * 1e6)
                removed = log.expire(max(1, min(policy.keep_snapshots, young)), grace_us)
                return Outcome(bool(removed), files_removed=len(removed))
            gone = log.orphans(now_us - int(policy.orphan_age_s * 1e6), remove=True)
            return Outcome(bool(gone), files_removed=len(gone))


def _tiers(version: Version, policy: Policy) -> dict[int, list[LiveFile]]:
    """Small files by their size's order of magnitude, in powers of the fan-out."""
    tiers: dict[int, list[LiveFile]] = {}
    for file in version.files.values():
        if file.size < _SMALL * policy.target_file_bytes:
            tiers.setdefault(int(math.log(max(file.size, 4096), policy.fanout)), []).append(file)
    return tiers


def _task(kind: TaskKind, reason: str, files: Sequence[LiveFile]) -> Task:
    return Task(kind, reason, len(files), sum(file.size for file in files), tuple(file.name for file in files))
