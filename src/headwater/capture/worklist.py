"""The snapshots that are to be taken of a source's tables while it is followed, one after the other; every connector
keeps its list in its resume points, so that it outlives a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from headwater.capture.incremental import FIRST, PART, WHOLE
from headwater.capture.request import Progress, Request, State
from headwater.errors import InvariantBroken, UserError

ASKED_KEPT = 64
"""So many requests are remembered after they were carried out, should they be handed over again."""

ENDED: tuple[State, ...] = ("done", "stopped")


@dataclass(frozen=True)
class Task:
    """The snapshot of one table.

    Attributes:
        table: schema.table, or database.table.
        aim: `FIRST`, `PART` or `WHOLE` of `headwater.capture.incremental`.
        where: condition on the rows; empty for all.
        state: see `State`.
        begun: SNAPSHOT_BEGIN is in the log, and SNAPSHOT_END is not.
        after: texts of the last key read, as the source wrote them, perhaps of its first columns only; empty at first.
        upto: texts of the last key that there was when the reading began, beyond which the stream brings all there is;
            empty if it is not known (yet).
        again: texts of keys before `after` that must be read once more.
        rows: read so far.
        expected: how many there may be; None if unknown.
        initial: part of the initial snapshot, which is not complete before.
        unknown: what the rows hold that are there is not known, since the table's definition changed.
        note: what the connector must remember besides; JSON.
        message: what people should know of it, for instance why it was stopped.
    """

    table: str
    aim: int = WHOLE
    where: str = ""
    state: State = "waiting"
    begun: bool = False
    after: tuple[str, ...] = ()
    upto: tuple[str, ...] = ()
    again: tuple[tuple[str, ...], ...] = ()
    rows: int = 0
    expected: int | None = None
    initial: bool = False
    unknown: bool = False
    note: str = ""
    message: str = ""

    @property
    def progress(self) -> Progress:
        """As people see it."""
        return Progress(self.table, self.state, self.rows, self.expected, self.message)


class Worklist:
    """Tasks in the order they were asked for, at most one of a table."""

    def __init__(self, tasks: Sequence[Task] = (), asked: Sequence[str] = ()) -> None:
        self._tasks = {task.table: task for task in tasks}
        self._asked = list(asked)
        self._text: str | None = None

    @classmethod
    def from_text(cls, text: object) -> Worklist:
        """The list that `text` was made from, without what had ended; an empty one from nothing.

        Raises:
            InvariantBroken: it is not one of ours.
        """
        if not text:
            return cls()
        try:
            body = json.loads(str(text))
            return cls([_task(entry) for entry in body["tasks"]], body["asked"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvariantBroken(f"the snapshots in a resume point cannot be read: {error}") from error

    def text(self) -> str:
        """The list as JSON, for a resume point; "" if there is nothing to remember."""
        if self._text is None:
            kept = [task for task in self._tasks.values() if task.state not in ENDED or task.begun or task.note]
            body = {"asked": self._asked, "tasks": [_brief(task) for task in kept]}
            self._text = json.dumps(body, separators=(",", ":")) if kept or self._asked else ""
        return self._text

    def ask(self, request: Request, tables: Sequence[str]) -> bool:
        """Takes a request; whether it is a new one.

        Args:
            request: what is wanted.
            tables: the tables that a snapshot is wanted of, by their full names.

        Raises:
            UserError: there is no such snapshot to pause, resume or stop.
        """
        if request.id in self._asked:
            return False
        if request.action == "snapshot":
            for table in tables:
                self.add(Task(table, PART if request.where else WHOLE, request.where))
        else:
            self._steer(request)
        self._asked = [*self._asked, request.id][-ASKED_KEPT:]
        self._text = None
        return True

    def refuse(self, request: Request, why: str) -> bool:
        """Takes note of a request that cannot be carried out, when whoever asked is told later; whether it is new."""
        if request.id in self._asked:
            return False
        name = ", ".join(request.tables)
        self._tasks.setdefault(name, Task(name, state="stopped", message=why))
        self._asked = [*self._asked, request.id][-ASKED_KEPT:]
        self._text = None
        return True

    def add(self, task: Task) -> None:
        """Puts a task last. An unfinished one of the same table makes room; if that was to fill the table, so is this
        one, with all of its rows."""
        former = self._tasks.pop(task.table, None)
        if former is not None and former.state not in ENDED and former.aim == FIRST:
            task = replace(task, aim=FIRST, where="", initial=former.initial)
        if former is not None and former.state not in ENDED and former.unknown:
            task = replace(task, unknown=True)
        if former is not None and former.begun:
            task = replace(task, begun=former.aim == task.aim == FIRST)
        self._tasks[task.table] = replace(task, note=former.note) if former is not None else task
        self._text = None

    def _steer(self, request: Request) -> None:
        found = [task for task in self._tasks.values() if not request.tables or task.table in request.tables]
        moves: dict[str, tuple[tuple[State, ...], State]] = {
            "pause": (("waiting", "running"), "paused"),
            "resume": (("paused",), "waiting"),
            "stop": (("waiting", "running", "paused"), "stopped"),
        }
        if request.action not in moves:
            raise UserError(f"{request.action} is nothing that can be done with snapshots")
        before, after = moves[request.action]
        chosen = [task for task in found if task.state in before]
        if not chosen:
            named = f" of {', '.join(request.tables)}" if request.tables else ""
            raise UserError(
                f"there is no snapshot{named} to {request.action}", hint="headwater snapshot --status shows them"
            )
        for task in chosen:
            self.put(replace(task, state=after))

    def put(self, task: Task) -> None:
        """Replaces the task of the same table, in its place."""
        self._tasks[task.table] = task
        self._text = None

    def drop(self, unwanted: Callable[[Task], bool]) -> None:
        """Takes tasks off the list."""
        self._tasks = {name: task for name, task in self._tasks.items() if not unwanted(task)}
        self._text = None

    def get(self, table: str) -> Task | None:
        """The task of a table; None if there is none."""
        return self._tasks.get(table)

    def next(self) -> Task | None:
        """The task to go on with; None if none waits or runs."""
        running = [task for task in self._tasks.values() if task.state == "running"]
        return next((task for task in (*running, *self._tasks.values()) if task.state in ("running", "waiting")), None)

    def unfinished(self) -> list[Task]:
        """Tasks that wait, run or are paused."""
        return [task for task in self._tasks.values() if task.state not in ENDED]

    def distrust(self, tables: Sequence[str]) -> None:
        """Takes down of tables that wait to be read that what their rows hold is not known."""
        for task in self.unfinished():
            if task.table in tables:
                self.put(replace(task, unknown=True))

    def to_close(self) -> list[Task]:
        """Tasks that were stopped and whose SNAPSHOT_END is not in the log."""
        return [task for task in self._tasks.values() if task.state == "stopped" and task.begun]

    def tasks(self) -> list[Task]:
        """All tasks."""
        return list(self._tasks.values())

    def noted(self) -> list[Task]:
        """Tasks of which the connector must remember something, whatever their state."""
        return [task for task in self._tasks.values() if task.note]

    def progress(self) -> list[Progress]:
        """All tasks as people see them."""
        return [task.progress for task in self._tasks.values()]


def is_taken(text: object, request: str) -> bool:
    """Whether a resume point's list knows a request, which need then not be kept elsewhere."""
    return bool(text) and request in json.loads(str(text))["asked"]


_PLAIN = Task("")


def _task(entry: dict[str, Any]) -> Task:
    again = tuple(tuple(key) for key in entry.get("again", ()))
    return Task(
        **{**entry, "after": tuple(entry.get("after", ())), "upto": tuple(entry.get("upto", ())), "again": again}
    )


def _brief(task: Task) -> dict[str, Any]:
    """The task without what is as in every other."""
    return {name: value for name, value in asdict(task).items() if value != getattr(_PLAIN, name)}
