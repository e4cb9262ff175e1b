"""Maintenance that is asked for: by the process that runs the project, or here where none does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headwater.clock import Clock
from headwater.errors import HeadwaterError, UserError
from headwater.lake.maintenance import Task
from headwater.lake.opening import make_lake
from headwater.lake.table_format import Lake
from headwater.project.definition import Project
from headwater.runtime.maintenance_runs import MaintenanceRecord, Run
from headwater.runtime.requests import new_id
from headwater.runtime.status import is_running, take_lock
from headwater.runtime.upkeep import STAGES, Upkeep, policy_of

ANSWER_EVERY_S = 0.1


def planned(project: Project, tables: Sequence[str], clock: Clock) -> list[tuple[str, Task]]:
    """What maintenance would do to the tables, all if none is named; changes nothing.

    Tasks that only come up once others are done, such as the removal of files that a compaction leaves, are not told.

    Raises:
        UserError: there is no lake, or no such table.
    """
    with _lake(project, clock, read_only=True) as lake:
        upkeep = Upkeep(MaintenanceRecord(project.state), policy_of(project.maintenance), clock)
        names = upkeep.open({name: lake.open_table(name) for name in _chosen(lake, tables)})
        return [(name, task) for name in names for kinds in STAGES for task in upkeep.plan(name, kinds)]


def maintain(project: Project, tables: Sequence[str], clock: Clock) -> list[Run]:
    """Does all that there is to do, in the process that runs the project, or here.

    Raises:
        UserError: there is no lake, or no such table.
        HeadwaterError: a table cannot be read, or the process ended before it answered.
    """
    if is_running(project.state):
        return _ask(project, tables, clock)
    lock = take_lock(project.state, clock)
    try:
        with _lake(project, clock, read_only=False) as lake:
            upkeep = Upkeep(MaintenanceRecord(project.state), policy_of(project.maintenance), clock)
            specs = {name: lake.open_table(name).spec for name in _chosen(lake, tables)}
            names = upkeep.open({name: lake.table(spec, as_held=True) for name, spec in specs.items()})
            return [run for name in names for run in upkeep.all_of(name)]
    finally:
        os.close(lock)


def _ask(project: Project, tables: Sequence[str], clock: Clock) -> list[Run]:
    record, identifier = MaintenanceRecord(project.state), new_id(clock.now_us())
    record.ask(identifier, tables)
    try:
        while (answer := record.answered(identifier)) is None:
            if not is_running(project.state):
                raise HeadwaterError(
                    "the project stopped before it was through with this", hint="ask again: headwater maintain"
                )
            clock.wait(threading.Event(), ANSWER_EVERY_S)
    finally:
        record.take_back(identifier)
    runs, error = answer
    if error:
        raise UserError(error, hint="headwater tables lists the tables; headwater maintain --runs what was done")
    return runs


@contextmanager
def _lake(project: Project, clock: Clock, *, read_only: bool) -> Iterator[Lake]:
    if not read_only:
        make_lake(project.lake, project.folder, project=project.name, read_only=True).close()  # there is one
    lake = make_lake(project.lake, project.folder, project=project.name, read_only=read_only, clock=clock)
    try:
        yield lake
    finally:
        lake.close()


def _chosen(lake: Lake, tables: Sequence[str]) -> Sequence[str]:
    there = lake.names()
    missing = sorted(set(tables) - set(there))
    if missing:
        raise UserError(f"there is no table {missing[0]!r}", hint=f"there are: {', '.join(there) or 'none yet'}")
    return tables or there
