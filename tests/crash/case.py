"""One case: a fresh shop under traffic, a project killed once or more, run to the end, and judged."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tests.crash.evidence import BROKEN, LOST, SOURCE, Fault, whole_log

from headwater.capture.request import Request
from headwater.clock import SystemClock
from headwater.demo.child import Status, last_status
from headwater.demo.example import URL_VARIABLE
from headwater.runtime.requests import Requests

READY_DEADLINE_S = 180.0
REACH_FIRST_S = 120.0
REACH_AGAIN_S = 8.0
FINISH_DEADLINE_S = 420.0
STOP_DEADLINE_S = 120.0
POLL_S = 0.01
NO_BUG = ""
EXEC, STARTING, RUNNING = "", "project.starting", "epochs.running"


class Traffic(Protocol):
    """Writes to a source until it is stopped."""

    def stop(self) -> str:
        """Ends it; returns what went wrong with it, "" if nothing did."""

    def kill(self) -> None:
        """Makes sure that it is gone."""


class Scene(Protocol):
    """A server with a source for each case; used by one worker at a time."""

    everything: str
    """Pattern of all captured tables."""

    def open(self, name: str) -> str:
        """Makes a fresh source and returns its URL."""

    def prepare(self, folder: Path, settings: str) -> None:
        """Makes a project in `folder` that reads it, with `settings` at the end of its file."""

    def traffic(self, url: str, rate: float, seed: int) -> Traffic:
        """Begins to write, about `rate` transactions a second."""

    def written(self, name: str) -> dict[int, int]:
        """Rows written since `open`, by commit, by the server's own account."""

    def judge(self, folder: Path, url: str, status: Status, written: Mapping[int, int]) -> list[Fault]:
        """All faults of a project that has caught up, its source at rest."""

    def drop(self, name: str) -> None:
        """Removes the source."""

    def stop(self) -> None:
        """Stops the server and removes its folder."""


@runtime_checkable
class Suspicious(Protocol):
    """A scene that looks at what a kill has left behind."""

    def after_kill(self, folder: Path) -> list[Fault]:
        """What is wrong already, before the project in `folder` is started again."""


@dataclass(frozen=True)
class Kill:
    """When one process of a case dies.

    Attributes:
        failpoint: it kills itself at the passing-th time it comes here; "" for a kill from outside. With a bug of
            `seeded_bug.py` put in, passings count from when the bug has done its deed.
        passing: from 1.
        seconds: the instant of a kill from outside, or if `failpoint` is not reached by then.
        since: the event in the project's journal from which `seconds` counts; "" for exec, imports and all.
    """

    failpoint: str = ""
    passing: int = 1
    seconds: float = REACH_FIRST_S
    since: str = STARTING

    def __str__(self) -> str:
        if self.failpoint:
            return f"{self.failpoint}:{self.passing}"
        return f"{self.since or 'exec'} + {self.seconds:.2f} s"


@dataclass(frozen=True)
class Plan:
    """A case before it is run; everything about it follows from its name and the campaign's seed."""

    name: str
    kills: tuple[Kill, ...]
    settings: str
    rate: float
    seed: int


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        died: failpoints at which a process killed itself.
        epochs: for each process killed, from within or without, the epoch that the status spoke of last.
        faults: what was not as it must be; empty if all was.
        changes: changes that PostgreSQL says were committed during the case.
        odd: warnings and errors in the project's journal.
        passings: by failpoint, how often an uninterrupted run passed it (traced cases only).
    """

    plan: Plan
    died: list[str] = field(default_factory=list)
    epochs: list[object] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    changes: int = 0
    seconds: float = 0.0
    odd: list[str] = field(default_factory=list)
    passings: dict[str, int] = field(default_factory=dict)


def settings_for(chance: random.Random, *, retire: bool, slices: bool = False) -> str:
    """Run settings under which everything happens often.

    Args:
        chance: of what is left open.
        retire: the log lets segments go.
        slices: an epoch takes few records, so that a large transaction is taken in slices.
    """
    retention = f", log_retention: {{max_bytes: {chance.choice([1, 20_000])}}}" if retire else ""
    return (
        f"\nrun: {{epoch_interval: {chance.choice([20, 50, 100])} ms,"
        f" checkpoint_interval: {chance.choice([150, 300, 700])} ms,"
        f" epoch_max_records: {chance.choice([150, 1000] if slices else [150, 1000, 100_000])},"
        f" log_segment: {chance.choice([16, 32, 64])} KiB{retention}}}\n"
    )


def run_case(
    plan: Plan, server: Scene, folder: Path, *, bug: str = NO_BUG, trace: bool = False, keep: bool = False
) -> Outcome:
    """Runs one case in `folder`, which is removed if all was well, unless it is to be kept."""
    clock = SystemClock()
    began = clock.monotonic_s()
    outcome = Outcome(plan)
    database = "case_" + "".join(letter if letter.isalnum() else "_" for letter in plan.name).lower()
    url = server.open(database)
    traffic = server.traffic(url, plan.rate, plan.seed)
    case = _Case(plan, folder, server, url, bug, outcome)
    try:
        case.begin(trace=trace)
        if complaint := traffic.stop():
            outcome.faults.append(Fault(BROKEN, f"traffic: {complaint}"))
        written = server.written(database)
        outcome.changes = sum(written.values())
        if case.finish():
            status = last_status(case.project) or {}
            outcome.faults += server.judge(case.project, url, status, written)
    finally:
        traffic.kill()
        case.stop()
        server.drop(database)
    outcome.odd = case.journal_warnings()
    if not outcome.faults and not keep:
        shutil.rmtree(folder)
    outcome.seconds = clock.monotonic_s() - began
    return outcome


class _Case:
    """The processes of a case."""

    def __init__(self, plan: Plan, folder: Path, server: Scene, url: str, bug: str, outcome: Outcome) -> None:
        self.project = folder / "project"
        self._plan, self._folder, self._url, self._bug, self._outcome = plan, folder, url, bug, outcome
        self._server = server
        self._clock = SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0
        server.prepare(self.project, plan.settings)
        asked = Request("0", "snapshot", (server.everything,))
        Requests(self.project / ".headwater", SOURCE).submit(asked)

    @property
    def _said(self) -> Path:
        return self._folder / f"run-{self._started}.log"

    def begin(self, *, trace: bool) -> None:
        """Runs and kills as planned; a traced case is stopped gently once the time of its only kill has come."""
        for number, kill in enumerate(self._plan.kills):
            environment = {"HEADWATER_FAILPOINT": f"{kill.failpoint}:{kill.passing}"} if kill.failpoint else {}
            if trace:
                environment = {"HEADWATER_FAILPOINT_TRACE": str(self._folder / "trace")}
            process = self._start(environment)
            ended = self._await_instant(process, kill)
            if ended is not None and (ended != -signal.SIGKILL or not kill.failpoint):
                self._ended_by_itself(ended)
                return
            if trace:
                self._stop_traced(process)
                return
            self._kill(process, kill if ended is not None else None, required=number == 0 and bool(kill.failpoint))
            self._outcome.faults += whole_log(self.project / ".headwater")
            if isinstance(self._server, Suspicious):
                self._outcome.faults += self._server.after_kill(self.project)

    def finish(self) -> bool:
        """Runs to the end of the source; whether it came there."""
        if any(fault.kind == LOST for fault in self._outcome.faults):
            return False
        process = self._start({}, "--once")
        try:
            code = process.wait(FINISH_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.stop()
            self._outcome.faults.append(Fault(BROKEN, f"did not catch up in {FINISH_DEADLINE_S:.0f} s: {self._tail()}"))
            return False
        if code:
            self._ended_by_itself(code)
        return code == 0

    def stop(self) -> None:
        """Makes sure that nothing runs."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def journal_warnings(self) -> list[str]:
        """Events above `info`, and lines that are none (a traceback)."""
        found = []
        for path in sorted(self._folder.glob("run-*.log")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                event = json.loads(line) if line.startswith("{") and line.endswith("}") else None
                if event is None:
                    found.append(line)
                elif event["level"] != "info":
                    found.append(f"{event['event']}: {event.get('error')}")
        return found

    def _start(self, environment: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
        self._started += 1
        program = ["-m", "headwater.cli.app", "run", "--json-log"]
        if self._bug:
            program = [str(Path(__file__).with_name("seeded_bug.py")), self._bug]
        with open(self._said, "wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, *program, str(self.project), *options],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", URL_VARIABLE: self._url, **environment},
            )  # fmt: skip
        return self._process

    def _await_instant(self, process: subprocess.Popen[bytes], kill: Kill) -> int | None:
        """Waits for the kill's instant; the exit code if the process ended before it."""
        end = self._clock.monotonic_s() + READY_DEADLINE_S
        while kill.since.encode() not in self._said.read_bytes() and self._clock.monotonic_s() < end:
            if _wait(process, POLL_S) is not None:
                break
        return _wait(process, kill.seconds)

    def _kill(self, process: subprocess.Popen[bytes], at: Kill | None, *, required: bool) -> None:
        self._outcome.epochs.append((last_status(self.project) or {}).get("epoch"))
        if at is not None:
            self._outcome.died.append(at.failpoint)
            return
        self.stop()
        if required:
            self._outcome.faults.append(Fault(BROKEN, f"{self._plan.kills[0]} was not reached"))

    def _stop_traced(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        code = _wait(process, STOP_DEADLINE_S)
        if code:
            self._ended_by_itself(code)
        for name in (self._folder / "trace").read_text(encoding="utf-8").split():
            self._outcome.passings[name] = self._outcome.passings.get(name, 0) + 1

    def _ended_by_itself(self, code: int) -> None:
        tail = self._tail()
        kind = LOST if "ahead of the log" in tail else BROKEN
        self._outcome.faults.append(Fault(kind, f"run {self._started} ended with exit code {code}: {tail}"))

    def _tail(self) -> str:
        return self._said.read_text(encoding="utf-8", errors="replace")[-1200:].strip()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
