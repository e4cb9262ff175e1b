"""The thread that keeps a running project's tables small and healthy, beside the epochs and behind them.

It looks at each table now and then and does one task of bounded size at a time. It takes at most a share of the time,
starts nothing while the epochs are behind, and stops at the next task when the project does. When a table is out of
bounds all the same, it says so (an alarm in the status), works whether the epochs are behind or not, and has them wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.lake.maintenance import TableHealth
from headwater.lake.table_format import Table
from headwater.project.definition import Project
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal
from headwater.runtime.maintenance_runs import MaintenanceRecord, Run
from headwater.runtime.upkeep import ORPHANS, REWRITES, Upkeep, policy_of

TICK_S = 0.25
"""Time between two looks for something to do."""

FAILED_WAIT_S = 60.0
"""How long a table is left alone after a task of its that failed."""

ORPHANS_EVERY = 0.25
"""Time between two looks for orphan files, in the shorter of the times that they are kept."""
ORPHANS_LEAST_S, ORPHANS_MOST_S = 30.0, 3600.0


@dataclass(frozen=True)
class Alarm:
    """A table that is out of bounds, or one that cannot be kept."""

    table: str
    message: str
    hint: str


@dataclass(frozen=True)
class MaintenanceState:
    """What the status says of maintenance; replaced whole.

    Attributes:
        tables: what each table consisted of at the last look.
        alarms: what is wrong.
        wait_s: how long each epoch waits for maintenance.
        last: the last task.
    """

    tables: Mapping[str, TableHealth] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()
    wait_s: float = 0.0
    last: Run | None = None


class MaintenanceJob(Job):
    """Keeps the tables of a running project.

    Args:
        project: whose tables.
        tables: says which are open now.
        behind: says whether the epochs are behind.

    Attributes:
        picture: for the status.
    """

    def __init__(
        self,
        project: Project,
        tables: Callable[[], Mapping[str, Table]],
        behind: Callable[[], bool],
        journal: Journal,
        clock: Clock,
    ) -> None:
        super().__init__("maintenance", journal, clock)
        self.picture = MaintenanceState()
        self._settings = project.maintenance
        self._interval_s = project.run.epoch_interval.total_seconds()
        self._tables, self._behind = tables, behind
        self._record = MaintenanceRecord(project.state)
        self._upkeep = Upkeep(self._record, policy_of(project.maintenance), clock, journal)
        self._due: dict[str, float] = {}
        self._orphans_due: dict[str, float] = {}
        self._unkept: dict[str, Alarm] = {}

    def wait_s(self) -> float:
        """How long the next epoch is to wait on top of its interval; asked by the epoch thread."""
        return self.picture.wait_s

    def body(self) -> None:
        """Looks, works and rests until it is told to stop."""
        self.healthy()
        while not self.clock.wait(self.stopping, TICK_S):
            names = self._upkeep.open(self._tables())
            self._answer(names)
            if not self._settings.enabled:
                continue
            for name in names:
                if self.stopping.is_set() or self._record.asked():
                    break
                if self.clock.monotonic_s() >= self._due.get(name, 0.0):
                    self._visit(name)

    def _visit(self, name: str) -> None:
        """Looks at a table, and does the first of what there is to do."""
        began_s, moved = self.clock.monotonic_s(), 0
        wait_s = self._settings.interval.total_seconds()
        try:
            health = self._upkeep.health(name)
            self._unkept.pop(name, None)
            self._picture({**self.picture.tables, name: health})
            if not self._behind() or self._excess(health) > 1.0:
                run, more = self._work(name)
                moved = run.bytes_read + run.bytes_written if run else 0
                wait_s = 0.0 if more and run is not None and run.done else wait_s
        except HeadwaterError as error:
            wait_s = FAILED_WAIT_S
            self._fail(name, str(error), error.hint)
        self._due[name] = self.clock.monotonic_s() + wait_s
        self._rest(self.clock.monotonic_s() - began_s, moved)

    def _work(self, name: str) -> tuple[Run | None, bool]:
        """Does the first task of a table; says whether there are more."""
        tasks = self._upkeep.plan(name, (*REWRITES, "expire"))
        if not tasks and self.clock.monotonic_s() >= self._orphans_due.get(name, 0.0):
            tasks = self._upkeep.plan(name, ORPHANS)
            self._upkeep.remember(name)
            self._orphans_due[name] = self.clock.monotonic_s() + self._orphans_every_s()
        if not tasks:
            return None, False
        run = self._upkeep.carry_out(name, tasks[0])
        self._picture({**self.picture.tables, name: self._upkeep.health(name)}, run)
        return run, len(tasks) > 1

    def _orphans_every_s(self) -> float:
        shortest = min(self._settings.orphan_age, self._settings.longest_query).total_seconds()
        return min(max(ORPHANS_EVERY * shortest, ORPHANS_LEAST_S), ORPHANS_MOST_S)

    def _rest(self, took_s: float, moved: int) -> None:
        """Leaves the rest of the time to the epochs, unless a table is out of bounds."""
        rest_s = took_s * (1.0 / self._settings.share - 1.0)
        if self._settings.bytes_per_second is not None:
            rest_s = max(rest_s, moved / int(self._settings.bytes_per_second) - took_s)
        if rest_s > 0 and not self.picture.wait_s:
            self.clock.wait(self.stopping, rest_s)

    def _excess(self, health: TableHealth) -> float:
        """How far a table is out of bounds; up to 1 it is not."""
        files = (health.small_files + health.delete_files) / self._settings.alarm_files
        return max(files, health.deleted_share / self._settings.alarm_deleted)

    def _picture(self, tables: Mapping[str, TableHealth], run: Run | None = None) -> None:
        over = {name: self._excess(health) for name, health in tables.items()}
        over = {name: excess for name, excess in over.items() if excess > 1.0}
        longest_s = self._settings.longest_wait.total_seconds()
        wait_s = min(longest_s, self._interval_s * max(over.values())) if over else 0.0
        alarms = (*(self._out_of_bounds(name, tables[name], wait_s) for name in over), *self._unkept.values())
        before, self.picture = self.picture, MaintenanceState(tables, alarms, wait_s, run or self.picture.last)
        for alarm in alarms:
            if alarm.table not in {known.table for known in before.alarms}:
                self.journal.write("maintenance.alarm", "warning", **vars(alarm))

    def _out_of_bounds(self, name: str, health: TableHealth, wait_s: float) -> Alarm:
        files = health.small_files + health.delete_files
        return Alarm(
            name,
            f"{files:,} small files and files of deletes, {health.deleted_share:.0%} of the rows in files deleted:"
            f" maintenance cannot keep up, each epoch waits {wait_s:.1f} s for it",
            "give it more of the time (maintenance: share), or longer epochs (run: epoch_interval)",
        )

    def _fail(self, name: str, message: str, hint: str) -> None:
        self._unkept[name] = Alarm(name, message, hint)
        self._picture({other: health for other, health in self.picture.tables.items() if other != name})

    def _answer(self, names: Sequence[str]) -> None:
        """Does what users have asked for, all of it and at once."""
        for identifier, wanted in self._record.asked():
            missing = sorted(set(wanted) - set(names))
            if missing:
                told = f"there is no table {missing[0]!r} that can be kept; there are: {', '.join(names) or 'none yet'}"
                self._record.answer(identifier, [], told)
                continue
            runs: list[Run] = []
            error = ""
            try:
                for name in wanted or names:
                    runs += self._upkeep.all_of(name)
            except HeadwaterError as failure:
                error = str(failure)
            self._record.answer(identifier, runs, error)
