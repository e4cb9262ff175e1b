"""The record of maintenance: what was done to which table, and what users have asked for. Files in the state folder.

    maintenance/runs.jsonl             a line per task carried out, oldest first
    maintenance/suspects/TABLE.json    files of a table that may go one day
    maintenance/requests/ID.json       what `headwater maintain` asks of a process that runs
    maintenance/answers/ID.json        what became of it

None of it matters to the tables: a lost record is a lost record, a lost suspect goes some days later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from headwater.errors import StorageFailed
from headwater.lake.maintenance import Outcome, Suspects, Task
from headwater.project.state_file import write_atomically

FOLDER = "maintenance"
KEPT = 1000
"""Runs kept; the file may hold twice as many."""


@dataclass(frozen=True)
class Run:
    """One task carried out, or one that failed.

    Attributes:
        table, kind, reason: what was done and why.
        began_us: microseconds since 1970 UTC.
        took_s, cpu_s: wall time, and CPU time of its thread.
        done: whether the table or its folder has changed.
        note: why not, or what else is to be said; the error, if it failed.
        files_removed, files_added, bytes_read, bytes_written, rows: as in `Outcome`.
    """

    table: str
    kind: str
    reason: str
    began_us: int
    took_s: float
    cpu_s: float
    done: bool
    note: str = ""
    files_removed: int = 0
    files_added: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    rows: int = 0

    @classmethod
    def of(cls, table: str, task: Task, outcome: Outcome, began_us: int, took_s: float, cpu_s: float) -> Run:
        """The record of a task."""
        times = (began_us, round(took_s, 4), round(cpu_s, 4))
        return cls(table, task.kind, task.reason, *times, **asdict(outcome))


class MaintenanceRecord:
    """The files. The process that keeps the tables writes them; anybody may read.

    Args:
        state: the state folder.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._lines: int | None = None

    def add(self, run: Run) -> None:
        """Records a run.

        Raises:
            StorageFailed: it could not be written.
        """
        path = self._folder / "runs.jsonl"
        if self._lines is None:
            self._lines = len(self.runs(2 * KEPT))
        if self._lines >= 2 * KEPT:
            kept = self.runs(KEPT)
            write_atomically(path, "".join(json.dumps(asdict(one)) + "\n" for one in kept))
            self._lines = len(kept)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(run)) + "\n")
        except OSError as error:
            raise StorageFailed(
                f"{path} could not be written: {error}", hint="look at the disk's free space"
            ) from error
        self._lines += 1

    def runs(self, most: int) -> list[Run]:
        """The newest runs, oldest first. A line that a crash cut off is left out."""
        path = self._folder / "runs.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = []
        for line in lines[-most:]:
            try:
                found.append(Run(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return found

    def suspects(self, table: str) -> Suspects:
        """What is remembered of a table's files."""
        path = self._suspects(table)
        try:
            return Suspects.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return Suspects()

    def keep_suspects(self, table: str, suspects: Suspects) -> None:
        """Remembers it.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self._suspects(table), json.dumps(suspects.to_json()))

    def _suspects(self, table: str) -> Path:
        return self._folder / "suspects" / f"{quote(table, safe='')}.json"

    def ask(self, identifier: str, tables: Sequence[str]) -> None:
        """Asks the running process to keep tables now, all if none is named.

        Raises:
            StorageFailed: it could not be written.
        """
        write_atomically(self._folder / "requests" / f"{identifier}.json", json.dumps(list(tables)))

    def asked(self) -> list[tuple[str, list[str]]]:
        """What is asked for and not answered, oldest first: ids and tables."""
        folder = self._folder / "requests"
        found = sorted(folder.glob("[!.]*.json")) if folder.is_dir() else []
        return [(path.stem, [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]) for path in found]

    def take_back(self, identifier: str) -> None:
        """Asks no more."""
        (self._folder / "requests" / f"{identifier}.json").unlink(missing_ok=True)

    def answer(self, identifier: str, runs: Sequence[Run], error: str = "") -> None:
        """Tells whoever asked what was done.

        Raises:
            StorageFailed: it could not be written.
        """
        told = {"runs": [asdict(run) for run in runs], "error": error}
        write_atomically(self._folder / "answers" / f"{identifier}.json", json.dumps(told))
        self.take_back(identifier)

    def answered(self, identifier: str, *, keep: bool = False) -> tuple[list[Run], str] | None:
        """The answer and the error, if any, told once unless it is to be kept; None if there is none yet."""
        path = self._folder / "answers" / f"{identifier}.json"
        if not path.exists():
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
        if not keep:
            path.unlink(missing_ok=True)
        return [Run(**run) for run in told["runs"]], str(told["error"])

    def forget_answers(self, before_us: int) -> None:
        """Removes answers to what was asked for before a time, which nobody has fetched."""
        folder = self._folder / "answers"
        for path in folder.glob("[!.]*.json") if folder.is_dir() else ():
            if path.stem < f"{before_us:016d}":
                path.unlink(missing_ok=True)
