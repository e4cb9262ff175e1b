"""Where the metrics' figures come from: each function gives the samples of one metric, cheaply and as of now."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import headwater
from headwater.console.state_db import reading
from headwater.durations import Durations
from headwater.quality.accounting import Account
from headwater.runtime.running import Running, entries

Sample = tuple[tuple[str, ...], float | Durations]
"""Label values, and the figure."""

Figures = Callable[[Running], Iterator[Sample]]

_STATES = ("starting", "snapshotting", "running", "waiting", "done", "stopped")
_OUTCOMES = ("read", "landed", "rejected", "filtered", "late")


def build(running: Running) -> Iterator[Sample]:
    """The versions."""
    yield (headwater.__version__, platform.python_version()), 1


def started(running: Running) -> Iterator[Sample]:
    """When it was started."""
    yield (), running.since_us / 1e6


def job_states(running: Running) -> Iterator[Sample]:
    """1 for each job's state, 0 for the others that it may have."""
    for job in running.jobs():
        for state in _STATES:
            yield (job.name, state), float(job.state == state)


def turn_ages(running: Running) -> Iterator[Sample]:
    """Of the loops that go round all the time."""
    now_s = running.clock.monotonic_s()
    for job in running.jobs():
        if job.beat_s is not None and (job.name == "epochs" or job.name.startswith("source:")):
            yield (job.name,), max(0.0, now_s - job.beat_s)


def epoch(running: Running) -> Iterator[Sample]:
    """The last epoch."""
    yield (), running.progress().epoch


def epoch_durations(running: Running) -> Iterator[Sample]:
    """Those of epochs."""
    yield (), running.meters.epochs


def checkpoint_durations(running: Running) -> Iterator[Sample]:
    """Those of checkpoints."""
    yield (), running.meters.checkpoints


def checkpoint_age(running: Running) -> Iterator[Sample]:
    """Of the last checkpoint in the state store."""
    with reading(running) as connection:
        if connection is None:
            return
        (made_us,) = connection.execute("SELECT max(made_us) FROM checkpoints").fetchone()
    if made_us is not None:
        yield (), max(0, running.clock.now_us() - made_us) / 1e6


def checkpoint_bytes(running: Running) -> Iterator[Sample]:
    """Of all files in the folder."""
    folder = running.project.state / "checkpoints"
    if folder.is_dir():
        yield (), sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def freshness(running: Running) -> Iterator[Sample]:
    """Its percentiles."""
    for name, value in running.progress().freshness_ms.items():
        if value is not None and name.startswith("p"):
            yield (f"0.{name[1:]}".rstrip("0"),), value / 1000


def sources_connected(running: Running) -> Iterator[Sample]:
    """Whether each source's job is at work."""
    for entry in entries(running.status(), "sources"):
        yield (_name(entry),), float(entry.get("state") in ("running", "snapshotting", "done"))


def of_sources(figure: str) -> Figures:
    """A figure of every source in the status."""
    return _of("sources", figure)


def lags(unit: str) -> Figures:
    """How far the sources are behind that count it in this unit."""

    def found(running: Running) -> Iterator[Sample]:
        for source in entries(running.status(), "sources"):
            lag = source.get("lag_bytes")
            if str(source.get("lag_unit") or "bytes") == unit and isinstance(lag, int):
                yield (str(source["name"]),), lag

    return found


def of_models(figure: str) -> Figures:
    """A figure of every model in the status."""
    return _of("models", figure)


def of_tables(figure: str) -> Figures:
    """A figure of every table in the status."""
    return _of("tables", figure)


def of_syncs(figure: str) -> Figures:
    """A figure of every sync in the status."""
    return _of("syncs", figure)


def _of(kind: str, figure: str) -> Figures:
    def figures(running: Running) -> Iterator[Sample]:
        for entry in entries(running.status(), kind):
            if isinstance(value := entry.get(figure), int | float):
                yield (_name(entry),), float(value)

    return figures


def of_files(figure: str) -> Figures:
    """A figure of every table at maintenance's last look."""

    def figures(running: Running) -> Iterator[Sample]:
        for entry in entries(_maintenance(running), "tables"):
            if isinstance(value := entry.get(figure), int | float):
                yield (_name(entry),), float(value)

    return figures


def retained(running: Running) -> Iterator[Sample]:
    """What servers keep for sources."""
    for entry in entries(running.status(), "sources"):
        health = cast("Mapping[str, object]", entry.get("health") or {})
        if isinstance(kept := health.get("wal_kept_bytes"), int | float):
            yield (_name(entry),), float(kept)


def alarms(running: Running) -> Iterator[Sample]:
    """How many each source has."""
    for entry in entries(running.status(), "sources"):
        yield (_name(entry),), float(len(entries(entry, "alarms")))


def snapshots(running: Running) -> Iterator[Sample]:
    """Rows read so far."""
    for entry in entries(running.status(), "sources"):
        for snapshot in entries(entry, "snapshots"):
            yield (_name(entry), str(snapshot["table"])), float(cast(int, snapshot["rows"]))


def outcomes(kind: str) -> Figures:
    """Accounts of streams or models, side by side."""

    def figures(running: Running) -> Iterator[Sample]:
        accounts: Mapping[str, Account] = getattr(running.progress(), kind)
        for name, account in accounts.items():
            for outcome in _OUTCOMES:
                yield (name, outcome), float(getattr(account, outcome))

    return figures


def in_flight(running: Running) -> Iterator[Sample]:
    """Records under way."""
    for name, account in running.progress().streams.items():
        yield (name,), float(account.in_flight)


def waiting(running: Running) -> Iterator[Sample]:
    """Which models wait."""
    progress = running.progress()
    yield from (((name,), 0.0) for name in progress.models)
    yield from (((name,), 1.0) for name in progress.waiting)


def watermarks(running: Running) -> Iterator[Sample]:
    """Of streams and models that have one."""
    now_us = running.clock.now_us()
    for name, at_us in running.progress().watermarks.items():
        yield (name,), (now_us - at_us) / 1e6


def appends(running: Running) -> Iterator[Sample]:
    """By source."""
    for source, meters in list(running.meters.logs.items()):
        yield (source,), meters.appends


def fsyncs(running: Running) -> Iterator[Sample]:
    """By source."""
    for source, meters in list(running.meters.logs.items()):
        yield (source,), meters.fsyncs


def log_bytes(running: Running) -> Iterator[Sample]:
    """Of the segments that there are."""
    for source, _ in running.partitions.items():
        segments = (running.project.state / "log" / source).glob("*.segment")
        yield (source,), float(sum(_size(path) for path in segments))


def _size(path: Any) -> int:
    try:
        return int(path.stat().st_size)
    except FileNotFoundError:  # retired since it was listed
        return 0


def log_records(running: Running) -> Iterator[Sample]:
    """From the first that is kept to the last."""
    for source, partition in running.partitions.items():
        yield (source,), float(partition.head - partition.base)


def syncs_connected(running: Running) -> Iterator[Sample]:
    """Whether each sync's job is at work, or rests because somebody wants it to."""
    for entry in entries(running.status(), "syncs"):
        yield (_name(entry),), float(entry.get("state") in ("running", "done", "paused"))


def sync_outcomes(running: Running) -> Iterator[Sample]:
    """Those that are final, and what was handed over."""
    yield from _sync_figures(running, ("handed", "delivered", "superseded", "discarded"))


def sync_waiting(running: Running) -> Iterator[Sample]:
    """Those that are not."""
    yield from _sync_figures(running, ("pending", "parked", "failed"))


def _sync_figures(running: Running, wanted: tuple[str, ...]) -> Iterator[Sample]:
    for entry in entries(running.status(), "syncs"):
        for figure in wanted:
            yield (_name(entry), figure), float(cast(int, entry[figure]))


def rejects_open(running: Running) -> Iterator[Sample]:
    """How many."""
    yield (), float(running.progress().rejects_open)


def rejects(running: Running) -> Iterator[Sample]:
    """The totals that the ledger keeps: by stream, stage and state, of which there are few."""
    with reading(running) as connection:
        if connection is None:
            return
        rows = connection.execute("SELECT stream, stage, state, entries FROM reject_counts").fetchall()
    for stream, stage, state, count in rows:
        yield (stream, stage, state), float(count)


def accounting(running: Running) -> Iterator[Sample]:
    """Whether all adds up."""
    yield (), float(bool(running.status().get("accounting", True)))


def differences(running: Running) -> Iterator[Sample]:
    """What each account lacks."""
    progress = running.progress()
    for kind, accounts in (("stream", progress.streams), ("model", progress.models)):
        for name, account in accounts.items():
            yield (kind, name), float(account.difference)


def checks_failing(running: Running) -> Iterator[Sample]:
    """Of the last time that each check was made."""
    for check in entries(running.status(), "checks"):
        failing = check.get("failing")
        value = float(failing) if isinstance(failing, int | float) else float(check.get("state") == "fail")
        yield (str(check["model"]), str(check["name"]), str(check["severity"])), value


def check_states(running: Running) -> Iterator[Sample]:
    """1 for each check's state, 0 for the others."""
    for check in entries(running.status(), "checks"):
        for state in ("ok", "warn", "fail", "unknown"):
            yield (str(check["model"]), str(check["name"]), state), float(check.get("state") == state)


def maintenance_wait(running: Running) -> Iterator[Sample]:
    """From the status."""
    if isinstance(wait := _maintenance(running).get("wait_s"), int | float):
        yield (), float(wait)


def maintenance_alarms(running: Running) -> Iterator[Sample]:
    """How many tables."""
    yield (), float(len(entries(_maintenance(running), "alarms")))


def disk_free(running: Running) -> Iterator[Sample]:
    """Of the state folder, and of the warehouse if it is on a disk."""
    folders = {"state": str(running.project.state), "lake": str(running.project.lake.warehouse)}
    for name, folder in folders.items():
        try:
            yield (name,), float(shutil.disk_usage(folder).free)
        except OSError:
            continue  # in an object store, or not made yet


def _maintenance(running: Running) -> Mapping[str, object]:
    return cast("Mapping[str, object]", running.status().get("maintenance") or {})


def _name(entry: Mapping[str, object]) -> str:
    return str(entry["name"])
