"""The status of a project: `status.json` in the state folder, which a running project renews and anybody may read.

Its form is a promise (`"v": 1`); `headwater status --json` prints it as it stands.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.capture.health import Health
from headwater.clock import Clock
from headwater.errors import PositionLost, UserError
from headwater.runtime.progress import Progress
from headwater.sqlite_file import open_to_read

if TYPE_CHECKING:  # what only asks how a run stands, as `headwater status` and `query` do, is not to load the engine
    from headwater.runtime.capture_job import CaptureJob
    from headwater.runtime.deliverers import Deliverers
    from headwater.runtime.delivery_job import DeliveryJob
    from headwater.runtime.epoch_job import EpochJob
    from headwater.runtime.maintenance_job import MaintenanceJob
    from headwater.runtime.source_watch import SourceWatch

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
Status = dict[str, JsonValue]

FILE = "status.json"
LOCK = "lock"
LOCK_TRIES = 20


class StatusWriter:
    """Composes the status from the jobs and writes it. Used by the main thread.

    Attributes:
        console: where the console is served; None if it is not.
    """

    def __init__(self, project: str, state: Path, clock: Clock) -> None:
        self._project = project
        self._state = state
        self._clock = clock
        self._before: tuple[float, dict[str, float]] = (clock.monotonic_s(), {})
        self._rates: dict[str, float] = {}
        self.console: str | None = None

    def write(
        self,
        captures: Sequence[CaptureJob],
        watches: Sequence[SourceWatch],
        epochs: EpochJob,
        maintenance: MaintenanceJob,
        deliverers: Deliverers,
        *,
        running: bool,
    ) -> Status:
        """Writes `status.json`, whole or not at all, and returns what it says."""
        status = self.compose(captures, watches, epochs, running=running)
        status["maintenance"] = _maintenance(maintenance)
        status["syncs"] = [_sync(job, self._clock.now_us()) for job in deliverers.jobs]
        holds = all(job.picture.holds for job in deliverers.jobs)
        status["accounting"] = bool(status["accounting"]) and holds
        temporary = self._state / f".{FILE}.tmp"
        temporary.write_text(json.dumps(status), encoding="utf-8")
        temporary.replace(self._state / FILE)
        return status

    def compose(
        self, captures: Sequence[CaptureJob], watches: Sequence[SourceWatch], epochs: EpochJob, *, running: bool
    ) -> Status:
        """The status as of now."""
        progress = epochs.progress
        self._measure(captures, progress)
        failed = next((job.error for job in (*captures, epochs) if job.error is not None), None)
        return {
            "v": 1,
            "project": self._project,
            "running": running,
            "pid": os.getpid(),
            "console": self.console if running else None,
            "written_us": self._clock.now_us(),
            "state": epochs.state if running else "stopped",
            "error": None if failed is None else {"message": str(failed), "hint": failed.hint, "code": failed.code},
            "epoch": progress.epoch,
            "checkpoint": {"epoch": progress.checkpoint_epoch},
            "freshness_ms": dict(progress.freshness_ms),
            "sources": [
                self._source(job, progress, watch.health) for job, watch in zip(captures, watches, strict=True)
            ],
            "models": [
                *(self._model(name, progress) for name in progress.models),
                *({"name": name, "state": "waiting", "error": why} for name, why in progress.waiting.items()),
            ],
            "tables": [{"name": name, "rows": rows, "epoch": progress.epoch} for name, rows in progress.rows.items()],
            "rejects": {"open": progress.rejects_open},
            "checks": [result.as_dict() for result in progress.checks],
            "set_aside": {name: dict(account) for name, account in progress.gates.items()},
            "accounting": all(account.holds for account in (*progress.streams.values(), *progress.models.values()))
            and all(gate["holds"] for gate in progress.gates.values()),
        }

    def _source(self, job: CaptureJob, progress: Progress, health: Health) -> Status:
        name = job.source.name
        streams = [stream for stream, source in progress.stream_sources.items() if source == name]
        return {
            "name": name,
            "state": job.state,
            "error": None if job.error is None else str(job.error),
            "hint": None if job.error is None else job.error.hint,
            "code": None if job.error is None else job.error.code,
            "cause": job.error.cause if isinstance(job.error, PositionLost) else None,
            "lag_bytes": job.lag_bytes,
            "lag_unit": getattr(job.source, "lag_unit", "bytes"),
            "health": dict(health.figures),
            "alarms": [vars(alarm) for alarm in health.alarms],
            "gaps": progress.gaps.get(name, 0),
            "snapshots": [vars(snapshot) for snapshot in job.snapshots],
            "position": progress.positions.get(name),
            "rows_per_s": self._rates.get(f"source:{name}", 0.0),
            "streams": [
                {
                    "name": stream,
                    **progress.streams[stream].as_dict(),
                    "rows_per_s": self._rates.get(f"stream:{stream}", 0.0),
                }
                for stream in streams
            ],
        }

    def _model(self, name: str, progress: Progress) -> Status:
        return {
            "name": name,
            **progress.models[name].as_dict(),
            "rows": progress.rows.get(name, 0),
            "rows_per_s": self._rates.get(f"model:{name}", 0.0),
            "given_per_s": self._rates.get(f"given:{name}", 0.0),
            "busy": min(1.0, round(self._rates.get(f"busy:{name}", 0.0), 4)),
            "watermark_us": progress.watermarks.get(name),
        }

    def _measure(self, captures: Sequence[CaptureJob], progress: Progress) -> None:
        """Rows per second since the last time, smoothed; at most about twice a second."""
        now = self._clock.monotonic_s()
        then, before = self._before
        if now - then < 0.4:
            return
        counts: dict[str, float] = {f"source:{job.source.name}": job.taken for job in captures}
        counts |= {f"stream:{name}": account.read for name, account in progress.streams.items()}
        counts |= {f"model:{name}": account.read for name, account in progress.models.items()}
        counts |= {f"given:{name}": rows for name, rows in progress.given.items()}
        counts |= {f"busy:{name}": seconds for name, seconds in progress.busy_s.items()}
        for name, count in counts.items():
            rate = (count - before.get(name, count)) / (now - then)
            digits = 4 if name.startswith("busy:") else 1
            self._rates[name] = round(0.5 * self._rates.get(name, rate) + 0.5 * rate, digits)
        self._before = (now, counts)


def _sync(job: DeliveryJob, now_us: int) -> Status:
    picture = job.picture
    state = "paused" if picture.paused and job.state not in ("stopped", "waiting") else job.state
    return {
        "name": job.sync.name,
        "model": job.sync.model,
        "type": job.sync.type,
        "state": state,
        "error": None
        if job.error is None
        else {"message": str(job.error), "hint": job.error.hint, "code": job.error.code},
        "handed": picture.handed,
        "delivered": picture.delivered,
        "superseded": picture.superseded,
        "parked": picture.parked,
        "pending": picture.pending,
        "failed": picture.failed,
        "discarded": picture.discarded,
        "oldest_s": None if picture.oldest_us is None else round(max(0, now_us - picture.oldest_us) / 1e6, 3),
        "holds": picture.holds,
    }


def sync_state(state: Path, name: str) -> tuple[str, str]:
    """How a sync fares, and what it waits or stopped for, as far as a status says."""
    path = state / FILE
    if not path.exists():
        return "not run yet", ""
    told = json.loads(path.read_text(encoding="utf-8"))
    entry = next((one for one in told.get("syncs", ()) if one["name"] == name), None)
    if entry is None:
        return "not run yet", ""
    said = entry["state"] if entry["state"] == "stopped" or is_running(state) else "not running"
    return said, entry["error"]["message"] if entry["error"] else ""


def _maintenance(job: MaintenanceJob) -> Status:
    picture = job.picture
    return {
        "state": job.state,
        "error": None if job.error is None else str(job.error),
        "wait_s": round(picture.wait_s, 3),
        "alarms": [vars(alarm) for alarm in picture.alarms],
        "tables": [{"name": name, **health.as_dict()} for name, health in sorted(picture.tables.items())],
        "last": None if picture.last is None else vars(picture.last),
    }


def read_status(state: Path) -> Status:
    """The last status of a project, with `running` as it is now.

    Raises:
        UserError: the project has never run.
    """
    path = state / FILE
    if not path.exists():
        raise UserError(f"this project has not run yet: there is no {path}", hint="headwater run")
    status: Status = json.loads(path.read_text(encoding="utf-8"))
    if not is_running(state):
        status |= {"running": False, "state": "stopped", "rejects": {"open": open_rejects(state)}}
    return status


def open_rejects(state: Path) -> int:
    """How many rejects wait for a decision, by the ledger: they may be decided while nothing runs."""
    path = state / "state.db"
    if not path.exists():
        return 0
    connection = open_to_read(path)
    try:
        query = "SELECT count(*) FROM rejects WHERE state IN ('open', 'requested')"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def is_running(state: Path) -> bool:
    """Whether a process holds the state folder's lock."""
    descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def take_lock(state: Path, clock: Clock) -> int:
    """Takes the state folder for this process; the lock goes with the returned descriptor, or with the process.

    Tries for a second, because whoever asks whether the project is running holds the lock for an instant.

    Raises:
        UserError: another process has it.
    """
    state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            clock.wait(threading.Event(), 1.0 / LOCK_TRIES)
    os.close(descriptor)
    raise UserError(f"this project is running already: {state} is taken", hint="headwater status")
