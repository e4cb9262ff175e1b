"""`headwater dev`: runs a project, swaps in what is edited, and shows what changes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from headwater.project import Project
    from headwater.runtime.supervisor import Supervisor

TICK_S = 0.2

Seen = dict[Path, tuple[int, int]]
"""Modification time and size of the files that make a project."""


@as_json
def dev(directory: Path = Path(), /) -> int:
    """Run the project in DIRECTORY, reload models and functions as you edit them, and show which rows that changes.

    A mistake in a file is shown with its place; what ran before goes on. What only a start can change (sources, syncs,
    settings) restarts it. Ctrl-C ends it.

    Args:
        directory: The project's folder.
    """
    output.note(f"watching {directory.resolve()}; Ctrl-C ends it")
    while True:
        seen = look(directory)
        project = _sound(directory)
        if project is None:
            _wait_for_edit(directory, seen)
            continue
        watcher = _Watcher(directory, project, seen)
        if not watcher.run():
            return output.OK


def look(folder: Path) -> Seen:
    """The files of a project as they are now."""
    found: Seen = {}
    patterns = ("headwater.yml", "models/**/*.sql", "functions/*.py", "checks/*.yml")
    for path in (path for pattern in patterns for path in folder.glob(pattern)):
        try:
            stat = path.stat()
        except OSError:
            continue  # gone between the two looks
        if not path.name.startswith("."):
            found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


def _sound(folder: Path) -> Project | None:
    """The project, if it has no mistakes; they are shown."""
    from headwater.errors import HeadwaterError
    from headwater.project import load
    from headwater.project.check import check
    from headwater.project.discovery import load_streams

    try:
        project = load(folder, environment=os.environ)
        streams = load_streams(project.state)
        if streams:
            check(project, streams)
    except HeadwaterError as error:
        output.print_error(error)
        return None
    return project


def _wait_for_edit(folder: Path, seen: Seen) -> None:
    from headwater.clock import SystemClock

    clock, never = SystemClock(), threading.Event()
    while look(folder) == seen:
        clock.wait(never, TICK_S)


class _Watcher:
    """One run of the project, and a thread that watches its files.

    Args:
        folder: the project's.
        project: as read.
        seen: its files as they were then.
    """

    def __init__(self, folder: Path, project: Project, seen: Seen) -> None:
        self._folder, self._project, self._seen = folder, project, seen
        self._ended = threading.Event()
        self._restart = False
        self._supervisor: Supervisor | None = None

    def run(self) -> bool:
        """Runs until it is interrupted or has to start again; whether the latter."""
        from headwater.console.services import services
        from headwater.errors import HeadwaterError
        from headwater.runtime.journal import Journal
        from headwater.runtime.supervisor import Supervisor

        try:
            self._supervisor = Supervisor(self._project, Journal(), extend=services)
        except HeadwaterError as error:
            output.print_error(error)
            _wait_for_edit(self._folder, self._seen)
            return True
        self._supervisor.stop_on_signals()
        thread = threading.Thread(target=self._watch, name="dev", daemon=True)
        thread.start()
        stopped = self._supervisor.run()
        self._ended.set()
        thread.join()
        if stopped is not None and not self._restart:
            output.print_error(stopped)
            output.note("it stopped; it starts again when a file changes")
            _wait_for_edit(self._folder, self._seen)
            return True
        return self._restart

    def _watch(self) -> None:
        """The thread: looks at the files."""
        from headwater.clock import SystemClock

        clock = SystemClock()
        while not clock.wait(self._ended, TICK_S):
            now = look(self._folder)
            if now == self._seen:
                continue
            clock.wait(self._ended, TICK_S)  # an editor may be in the middle of writing
            settled = look(self._folder)
            if settled != now:
                continue
            edited = sorted(path for path in settled.keys() | self._seen.keys()
                            if settled.get(path) != self._seen.get(path))  # fmt: skip
            self._seen = settled
            output.note("edited: " + ", ".join(str(path.relative_to(self._folder)) for path in edited))
            self._reload()

    def _reload(self) -> None:
        """Swaps in what was edited, or shows what is wrong with it."""
        from headwater.errors import HeadwaterError
        from headwater.project.recorded import load_recorded
        from headwater.project.versions import models_digest

        project = _sound(self._folder)
        assert self._supervisor is not None
        if project is None:
            output.note("what ran before goes on")
            return
        if _frame(project) != _frame(self._project):
            output.note("headwater.yml changed: the project starts again")
            self._restart = True
            self._supervisor.stop()
            return
        same = models_digest(project.models) == models_digest(self._supervisor.project.models)
        if same or load_recorded(project.state) is None:
            output.note("no model is another one")
            return
        try:
            self._swap(project)
        except HeadwaterError as error:
            output.print_error(error)

    def _swap(self, project: Project) -> None:
        from headwater.cli.apply import difference_lines
        from headwater.cli.plan import show_plan
        from headwater.clock import SystemClock
        from headwater.project.discovery import load_streams
        from headwater.project.plan import plan
        from headwater.project.recorded import load_recorded
        from headwater.runtime.swap.asking import ask
        from headwater.runtime.swap.requests import Applies

        show_plan(project, plan(project, load_recorded(project.state), load_streams(project.state)), all=False)
        applies, clock = Applies(project.state), SystemClock()
        waiting = applies.pending()
        if waiting is not None:
            applies.answer(waiting.id, go=False)
            while applies.pending() is not None and not clock.wait(self._ended, TICK_S):
                pass
        asked = ask(project, clock.now_us(), show=True)
        while not clock.wait(self._ended, TICK_S):
            if look(self._folder) != self._seen:
                applies.answer(asked.id, go=False)  # edited again: that version is wanted
            status = applies.status()
            if status is None or status.id != asked.id or not status.is_over:
                continue
            for line in difference_lines(status) if status.state == "done" else ():
                output.note(line)
            said = f"epoch {status.epoch}" if status.state == "done" else status.error or "what ran before goes on"
            output.note(f"{status.state}: {said}")
            return


def _frame(project: Project) -> tuple[object, ...]:
    """All of a project but its models."""
    return (project.name, project.state, project.lake, project.run, project.sources, project.syncs, project.api,
            project.rejects, project.maintenance)  # fmt: skip
