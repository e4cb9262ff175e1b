"""The demo's story: a shop under traffic, a project that follows it, a kill -9 in the middle, the proof at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psycopg

from headwater.clock import Clock
from headwater.demo import shop
from headwater.demo.child import ProjectProcess, TrafficProcess, last_status
from headwater.demo.example import URL_VARIABLE, copy_example
from headwater.demo.live import Status
from headwater.demo.outside import IcebergFolder, SourceDatabase
from headwater.demo.verify import Mirror, ModelClaim, Verification, accounting_mismatches, verify
from headwater.errors import HeadwaterError
from headwater.project import Project, load
from headwater.testing.postgres import PostgresServer

LIVE_DEADLINE_S = 120.0
DRAIN_DEADLINE_S = 120.0
TICK_S = 0.25
STARTING: Status = {"project": "shop", "state": "starting"}


class Audience(Protocol):
    """Who watches."""

    def show(self, status: Status, note: str = "") -> None:
        """How things stand now; several times a second."""

    def say(self, sentence: str) -> None:
        """Something has happened."""


@dataclass(frozen=True)
class Outcome:
    """What a demonstration showed.

    Attributes:
        rows_written: changes that the shop committed, its rows at the start included.
        rows_captured: changes that arrived in the log; each must arrive once.
        epochs: epochs committed to the lake.
        freshness_ms: percentiles of source commit to visible in the lake, up to the kill.
        with_restart_ms: the same, or the restarted process's where that is worse: it counts the changes that waited for
            the restart.
        restart_s: from kill -9 to the first new epoch.
        traffic: what the traffic generator counted.
        verification: of mirrors, models, and accounting.
    """

    rows_written: int
    rows_captured: int
    epochs: int
    freshness_ms: Mapping[str, float | None]
    with_restart_ms: Mapping[str, float | None]
    restart_s: float | None
    traffic: Mapping[str, object]
    verification: Verification

    def as_json(self) -> dict[str, object]:
        """For `headwater demo --json`."""
        return {
            "rows_written": self.rows_written,
            "rows_captured": self.rows_captured,
            "epochs": self.epochs,
            "freshness_ms_p50": self.freshness_ms["p50"],
            "freshness_ms_p99": self.freshness_ms["p99"],
            "freshness_with_restart_ms_p50": self.with_restart_ms["p50"],
            "freshness_with_restart_ms_p99": self.with_restart_ms["p99"],
            "restart_s": self.restart_s,
            "traffic": dict(self.traffic),
            "rows_compared": dict(self.verification.checked),
            "verified": self.verification.verified,
            "mismatches": list(self.verification.mismatches),
        }


class Demonstration:
    """One run of the demo.

    Args:
        folder: where the project and its lake go; empty or not there yet.
        rate: transactions per second of the shop's traffic.
        seconds: how long the traffic lasts; halfway through, the project is killed.
        audience: who watches.
        clock: time.
    """

    def __init__(self, folder: Path, *, rate: float, seconds: float, audience: Audience, clock: Clock) -> None:
        self._folder = folder
        self._rate = rate
        self._seconds = seconds
        self._audience = audience
        self._clock = clock
        self._never = threading.Event()
        self._freshness: list[Mapping[str, float | None]] = []

    def run(self) -> Outcome:
        """Plays the whole story.

        Raises:
            UserError: the folder is not empty, or the embedded PostgreSQL is not installed.
            HeadwaterError: a process ended by itself, or the lake did not follow in time.
        """
        copy_example(self._folder)
        with ExitStack() as stack:
            url = self._open_shop(stack)
            project = ProjectProcess(self._folder, {URL_VARIABLE: url}, self._folder / "run.log")
            stack.callback(project.kill)
            rows_before = _rows(url)
            project.start()
            self._wait(lambda: self._is_live(project), LIVE_DEADLINE_S, "the project did not start")
            if console := (project.status() or {}).get("console"):
                self._audience.say(f"Look at it in a browser meanwhile: {console}")
            traffic, restart_s = self._play(stack, project, url)
            written = rows_before + changes(traffic) + self._drain(project, url)
            self._audience.say("Traffic has ended and every change is in the lake. Comparing it all, row by row …")
            self._audience.show(last_status(self._folder) or {}, "comparing every table and model with its source")
            self._remember_freshness()
            if code := project.stop():
                raise HeadwaterError(f"headwater run did not stop cleanly: exit code {code}")
            return self._outcome(url, traffic, written, restart_s)

    def _open_shop(self, stack: ExitStack) -> str:
        self._audience.say("Starting a PostgreSQL in a temporary folder …")
        server = PostgresServer()
        stack.callback(server.stop, immediate=True)
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        shop.create(server.url("shop"))
        self._audience.say(f"A shop opened in its own PostgreSQL on port {server.port}.")
        return server.url("shop")

    def _is_live(self, project: ProjectProcess) -> bool:
        status = project.status()
        if status is None:
            self._audience.show(
                STARTING, "starting headwater; the first start after installing compiles, for a few seconds"
            )
            return False
        self._audience.show(status, "reading the shop's tables …")
        return bool(status.get("tables")) and all(source["state"] == "running" for source in entries(status, "sources"))

    def _play(self, stack: ExitStack, project: ProjectProcess, url: str) -> tuple[dict[str, object], float | None]:
        """Traffic from beginning to end with the kill in the middle; its tally, and how long the restart took."""
        traffic = TrafficProcess(url, rate=self._rate, seconds=self._seconds)
        stack.callback(traffic.stop)
        half = self._clock.monotonic_s() + self._seconds / 2
        while self._clock.monotonic_s() < half and traffic.alive:
            self._show(project, f"kill -9 in {max(0.0, half - self._clock.monotonic_s()):.0f} s")
        restart_s = self._kill_and_restart(project)
        while traffic.alive:
            self._show(project, f"back after {restart_s:.1f} s; whether anything was lost is compared at the end")
        return traffic.report(), restart_s

    def _kill_and_restart(self, project: ProjectProcess) -> float:
        self._remember_freshness()
        project.kill()
        killed = self._clock.monotonic_s()
        last = last_status(self._folder) or {}
        epoch = _number(last.get("epoch"))
        self._audience.say(f"Killed it with kill -9 in epoch {epoch:,.0f}, under traffic, and started it again.")
        self._audience.show(_killed(last), "killed; the shop goes on while headwater starts again")
        project.start()

        def commits_again() -> bool:
            status = project.status()
            return status is not None and _number(status.get("epoch")) > epoch

        self._wait(commits_again, LIVE_DEADLINE_S, "the project did not come back after the kill")
        return round(self._clock.monotonic_s() - killed, 2)

    def _drain(self, project: ProjectProcess, url: str) -> int:
        """Waits until the lake has reached the end of the shop's log, past one last change that marks it.

        Returns:
            How many changes it made itself to mark the end.
        """
        source = SourceDatabase(url)
        end = source.lsn()
        source.close()
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE products SET in_stock = in_stock WHERE product_id = 1")

        def has_reached_the_end() -> bool:
            status = project.status()
            if status is None:
                return False
            self._audience.show(status, "traffic has ended; waiting for the last changes")
            return reached(status, end)

        self._wait(has_reached_the_end, DRAIN_DEADLINE_S, "the lake did not reach the end of the shop's log")
        return 1

    def _outcome(self, url: str, traffic: dict[str, object], written: int, restart_s: float | None) -> Outcome:
        status = last_status(self._folder) or {}
        found = verify_project(load(self._folder, environment={URL_VARIABLE: url}), url, status)
        streams = [stream for source in entries(status, "sources") for stream in entries(source, "streams")]
        captured = int(sum(_number(stream["read"]) for stream in streams))
        mismatches = [*found.mismatches, *accounting_mismatches(status)]
        if captured != written:
            mismatches.append(f"the shop committed {written:,} changes, but {captured:,} were captured")
        return Outcome(
            rows_written=written,
            rows_captured=captured,
            epochs=int(_number(status.get("epoch"))),
            freshness_ms={name: _worst(self._freshness[:1], name) for name in ("p50", "p99")},
            with_restart_ms={name: _worst(self._freshness, name) for name in ("p50", "p99")},
            restart_s=restart_s,
            traffic=traffic,
            verification=Verification(tuple(mismatches), found.checked),
        )

    def _show(self, project: ProjectProcess, note: str) -> None:
        status = project.status()
        if status is not None:
            self._audience.show(status, note)
        self._clock.wait(self._never, TICK_S)

    def _remember_freshness(self) -> None:
        fresh = (last_status(self._folder) or {}).get("freshness_ms")
        if isinstance(fresh, dict):
            self._freshness.append(fresh)

    def _wait(self, holds: Callable[[], bool], deadline_s: float, otherwise: str) -> None:
        end = self._clock.monotonic_s() + deadline_s
        while not holds():
            if self._clock.monotonic_s() > end:
                raise HeadwaterError(f"{otherwise} within {deadline_s:.0f} s", hint=f"see {self._folder / 'run.log'}")
            self._clock.wait(self._never, TICK_S / 5)


def verify_project(project: Project, url: str, status: Status) -> Verification:
    """Verifies the lake of a project over the shop; both at rest.

    Args:
        project: the project.
        url: the shop's connection URL.
        status: the project's last status; gives the watermarks that final models had reached.
    """
    watermarks = {str(model["name"]): model.get("watermark_us") for model in entries(status, "models")}
    claims = [
        ModelClaim(model.name, model.sql, model.settings.emit == "final", _instant(watermarks.get(model.name)))
        for model in project.models
    ]
    mirrors = [Mirror(table, f"public.{table}") for table in shop.TABLES]
    source = SourceDatabase(url)
    lake = IcebergFolder(project.folder / project.lake.warehouse, project.lake.namespace or project.name)
    try:
        return verify(lake, source, mirrors, claims)
    finally:
        lake.close()
        source.close()


def changes(traffic: Mapping[str, object]) -> int:
    """Changes that a traffic tally amounts to: one per row, and one more where a key changed."""
    rows, kinds = traffic["rows"], traffic["kinds"]
    if not isinstance(rows, dict) or not isinstance(kinds, dict):
        raise HeadwaterError("the shop's traffic did not say what it wrote")
    return sum(rows.values()) + int(kinds.get("key change", 0))


def reached(status: Status, lsn: int) -> bool:
    """Whether every source's tables are complete up to `lsn` and nothing is on its way."""
    sources = entries(status, "sources")
    in_flight = sum(_number(s.get("in_flight")) for source in sources for s in entries(source, "streams"))
    return bool(sources) and in_flight == 0 and all(_number(source.get("position")) >= lsn for source in sources)


def entries(owner: Mapping[str, object], name: str) -> list[dict[str, object]]:
    """The objects in a list of a status."""
    found = owner.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _rows(url: str) -> int:
    """Rows that the shop's tables hold."""
    total = " + ".join(f"(SELECT count(*) FROM {table})" for table in shop.TABLES)  # noqa: S608 - constants
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT {total}".encode()).fetchone()
    return int(row[0]) if row else 0


def _killed(status: Status) -> Status:
    """The last status of a process that could not write that it is gone."""
    sources = [{**source, "state": "killed", "rows_per_s": 0.0} for source in entries(status, "sources")]
    return {**status, "state": "killed", "sources": sources}


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _worst(percentiles: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    return max((value for each in percentiles if (value := each.get(name)) is not None), default=None)


def _instant(micros: object) -> datetime | None:
    return datetime.fromtimestamp(micros / 1e6, UTC) if isinstance(micros, int) else None
