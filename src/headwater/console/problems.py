"""What is wrong, and how to mend it: read off the status, one sentence and one command each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from headwater.console.shapes.overview import Level, Standing, Trouble
from headwater.runtime.running import Running, entries

Entry = Mapping[str, Any]

LAG_BYTES = 64 * 10**6
"""Bytes that a source is behind from which on it is said."""
LAG_MESSAGES = 100_000
"""The same of a broker, which does not say how many bytes are left."""
LAG_SAMPLES = 30
"""Seconds over which a lag must grow to be said to grow."""
STALE_CHECKPOINTS = 10.0
"""A checkpoint is stale after so many intervals."""
LEAST_STALE_S = 300.0
_ORDER = {"fail": 0, "warn": 1, "info": 2}


def problems(running: Running, checkpoint: Standing) -> list[Trouble]:
    """All that is wrong now, the worst first."""
    status = cast(Entry, running.status())
    found = [trouble for look in _LOOKS for trouble in look(running, status)]
    found += _checkpoint(running, status, checkpoint)
    masked = [
        each.model_copy(update={"what": running.mask(each.what), "mend": running.mask(each.mend)}) for each in found
    ]
    return sorted(masked, key=lambda each: _ORDER[each.level])


def _project(running: Running, status: Entry) -> Iterator[Trouble]:
    state, error = status.get("state"), status.get("error")
    sources = {source["error"] for source in entries(status, "sources")}
    if error is not None and error["message"] not in sources:
        level: Level = "fail" if state in ("stopped", "failed") else "warn"
        yield Trouble(
            level=level,
            kind="project",
            name=running.project.name,
            what=error["message"],
            mend=error["hint"],
            page="/overview",
        )


def _sources(running: Running, status: Entry) -> Iterator[Trouble]:
    for source in entries(status, "sources"):
        name, state = str(source["name"]), source["state"]
        if source["error"]:
            yield Trouble(
                level="fail" if state == "stopped" else "warn",
                kind="source",
                name=name,
                what=f"{state}: {source['error']}",
                mend=str(source.get("hint") or "headwater doctor"),
                page="/capture",
            )
        for alarm in cast("list[Entry]", source["alarms"]):
            yield Trouble(
                level="warn", kind="source", name=name, what=alarm["message"], mend=alarm["hint"], page="/capture"
            )
        if source["gaps"]:
            yield Trouble(
                level="warn",
                kind="source",
                name=name,
                what=f"{source['gaps']} gaps were accepted and no later snapshot has closed them",
                mend=f"headwater source resnapshot {name}",
                page="/capture",
            )
        yield from _lag(running, source)


def _lag(running: Running, source: Entry) -> Iterator[Trouble]:
    now, counted = source["lag_bytes"], source.get("lag_unit") == "messages"
    if not now or now < (LAG_MESSAGES if counted else LAG_BYTES):
        return
    since = running.clock.now_us() - LAG_SAMPLES * 1_000_000
    before = [
        value
        for value in running.history.since(since)[1].get(f"source:{source['name']}:lag_bytes", ())
        if value is not None
    ]
    grows = len(before) > LAG_SAMPLES // 2 and before[0] < now and before == sorted(before)
    snapshots = any(snapshot["state"] == "running" for snapshot in source["snapshots"])
    behind = f"{now:,} messages" if counted else f"{now / 1e6:,.0f} MB"
    yield Trouble(
        level="warn" if grows and not snapshots else "info",
        kind="source",
        name=source["name"],
        what=f"{behind} behind{', and falling further behind' if grows else ''}",
        mend="capture leaves: lower the load of the models (run: threads), or wait for the snapshot"
        if snapshots
        else "if it goes on growing, raise `run: threads`, or stop a model that the graph shows as busy",
        page="/capture",
    )


def _models(running: Running, status: Entry) -> Iterator[Trouble]:
    for model in entries(status, "models"):
        name = str(model["name"])
        if model.get("state") == "waiting":
            yield Trouble(
                level="warn",
                kind="model",
                name=name,
                what=f"waits: {model['error']}",
                mend=f"headwater check, then edit models/{name}.sql",
                page=f"/graph?node=model:{name}",
            )
    for result in running.progress().checks:
        if result.state in ("warn", "fail"):
            level: Level = "fail" if result.state == "fail" else "warn"
            yield Trouble(
                level=level,
                kind="check",
                name=f"{result.check.node}: {result.check.name}",
                what=result.message or f"{result.failing} rows fail {result.check.kind}",
                mend="headwater checks",
                page="/checks",
            )


def _syncs(running: Running, status: Entry) -> Iterator[Trouble]:
    for sync in entries(status, "syncs"):
        name, error = str(sync["name"]), cast("Entry | None", sync["error"])
        if error is not None:
            yield Trouble(
                level="fail" if sync["state"] == "stopped" else "warn",
                kind="sync",
                name=name,
                what=f"{sync['state']}: {error['message']}",
                mend=error["hint"] or f"headwater syncs resume {name}",
                page="/rejects",
            )
        if sync["parked"]:
            yield Trouble(
                level="warn",
                kind="sync",
                name=name,
                what=f"{sync['parked']:,} records are parked",
                mend=f"headwater rejects ls --stream sync:{name}",
                page=f"/rejects?stream=sync:{name}",
            )


def _rejects(running: Running, status: Entry) -> Iterator[Trouble]:
    waiting = cast("Entry", status.get("rejects") or {}).get("open", 0)
    parked = sum(cast(int, sync["parked"]) for sync in entries(status, "syncs"))
    if waiting > parked:
        yield Trouble(
            level="warn",
            kind="rejects",
            name="rejects",
            what=f"{waiting:,} rejects wait for a decision",
            mend="headwater rejects ls --by-cause",
            page="/rejects",
        )


def _accounting(running: Running, status: Entry) -> Iterator[Trouble]:
    streams = [stream for source in entries(status, "sources") for stream in entries(source, "streams")]
    for kind, found in (("stream", streams), ("model", entries(status, "models")), ("sync", entries(status, "syncs"))):
        for entry in found:
            if entry.get("holds") is False:
                yield Trouble(
                    level="fail",
                    kind=kind,
                    name=str(entry["name"]),
                    what="the account does not add up",
                    mend="headwater status --json, and report it with the state folder's log",
                    page="/accounting",
                )


def _maintenance(running: Running, status: Entry) -> Iterator[Trouble]:
    maintenance = cast("Entry", status.get("maintenance") or {})
    for alarm in maintenance.get("alarms", ()):
        yield Trouble(
            level="warn",
            kind="maintenance",
            name="tables",
            what=alarm["message"],
            mend=alarm.get("hint") or "headwater maintain",
            page="/tables",
        )
    if maintenance.get("error"):
        yield Trouble(
            level="warn",
            kind="maintenance",
            name="tables",
            what=maintenance["error"],
            mend="headwater maintain",
            page="/tables",
        )


def _checkpoint(running: Running, status: Entry, checkpoint: Standing) -> Iterator[Trouble]:
    """Only while epochs are beyond it: nothing new needs no new checkpoint."""
    limit_s = max(LEAST_STALE_S, STALE_CHECKPOINTS * running.project.run.checkpoint_interval.total_seconds())
    behind = status.get("epoch", 0) > (checkpoint.epoch or 0)
    age_s = checkpoint.age_s
    if age_s is None:
        age_s = (running.clock.now_us() - running.since_us) / 1e6
    if behind and age_s > limit_s:
        yield Trouble(
            level="warn",
            kind="checkpoint",
            name="checkpoint",
            what=f"the last checkpoint is {age_s / 60:,.0f} minutes old",
            mend="headwater doctor; a restart would take the epochs since then again",
            page="/checkpoints",
        )


_LOOKS: tuple[Callable[[Running, Entry], Iterator[Trouble]], ...] = (
    _project,
    _sources,
    _accounting,
    _models,
    _syncs,
    _rejects,
    _maintenance,
)
