"""`GET /v1/overview`: the status in the shape of a page, and what is wrong with how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import headwater
from headwater.console.endpoint import Call, Endpoint
from headwater.console.problems import problems
from headwater.console.shapes import overview as shapes
from headwater.console.state_db import reading
from headwater.runtime.checkpoint_history import noted
from headwater.runtime.running import Running, entries

FRESH_S = 0.4
"""Pages that ask within so many seconds are told the same."""
STANDING_S = 10.0
"""So long the state store is not asked again, unless the status says that something has moved."""
Entry = Mapping[str, Any]


def latest(call: Call) -> shapes.Overview:
    """The overview as of now, or as of a moment ago."""
    return call.kept.get("overview", FRESH_S, lambda: compose(call))


def compose(call: Call) -> shapes.Overview:
    """The overview as of now."""
    running = call.running
    status = cast(Entry, running.status())
    now_us = running.clock.now_us()
    rejects: Entry = status.get("rejects") or {}
    moved = (rejects.get("open"), (status.get("checkpoint") or {}).get("epoch"))
    standing, causes, parts = call.kept.get("standing", STANDING_S, lambda: _standing(running), moved)
    checks = _checks(running)
    checkpoint = shapes.Standing(
        epoch=standing[0], at_us=standing[1], age_s=None if standing[1] is None else max(0, now_us - standing[1]) / 1e6
    )
    maintenance: Entry = status.get("maintenance") or {}
    files = {entry["name"]: entry for entry in maintenance.get("tables", ())}
    types = {source.name: source.type for source in running.project.sources}
    error: Entry | None = status.get("error")
    return shapes.Overview(
        project=running.project.name,
        version=headwater.__version__,
        state=status.get("state", "starting"),
        error=None if error is None else running.mask(error["message"]),
        since_us=running.since_us,
        now_us=now_us,
        epoch=status.get("epoch", 0),
        checkpoint=checkpoint,
        freshness_ms=dict(status.get("freshness_ms") or {"p50": None, "p99": None}),
        sources=[_source(running, entry, types) for entry in entries(status, "sources")],
        models=[_model(entry, parts, checks) for entry in entries(status, "models")],
        tables=[_table(entry, files) for entry in entries(status, "tables")],
        syncs=[_sync(entry) for entry in entries(status, "syncs")],
        rejects=shapes.RejectsGlance(open=rejects.get("open", 0), causes=causes),
        accounting=shapes.Holds(holds=bool(status.get("accounting", True))),
        problems=problems(running, checkpoint),
    )


def _standing(running: Running) -> tuple[tuple[int | None, int | None], int, Mapping[str, int]]:
    """The last checkpoint's epoch and time, how many kinds of rejects are open, and the bytes of state in it."""
    with reading(running) as connection:
        if connection is None:
            return (None, None), 0, {}
        row = connection.execute("SELECT epoch, made_us FROM checkpoints ORDER BY epoch DESC LIMIT 1").fetchone()
        query = "SELECT DISTINCT stream, stage FROM reject_counts WHERE state IN ('open', 'requested') AND entries > 0"
        causes = len(connection.execute(query).fetchall())
    made = noted(running.project.state, 1)
    return row or (None, None), causes, made[0].parts if made else {}


def _checks(running: Running) -> dict[str, shapes.CheckCounts]:
    """Checks of each model by their outcome."""
    counts: dict[str, dict[str, int]] = {}
    for result in running.progress().checks:
        of = counts.setdefault(result.check.node, {"ok": 0, "warn": 0, "fail": 0})
        if result.state in of:
            of[result.state] += 1
    return {model: shapes.CheckCounts(**of) for model, of in counts.items()}


def _source(running: Running, entry: Entry, types: Mapping[str, str]) -> shapes.SourceGlance:
    return shapes.SourceGlance(
        name=entry["name"],
        type=types.get(entry["name"], ""),
        state=entry["state"],
        error=_masked(running, entry["error"]),
        hint=_masked(running, entry.get("hint")),
        lag_bytes=entry["lag_bytes"],
        lag_unit=str(entry.get("lag_unit") or "bytes"),
        rows_per_s=entry["rows_per_s"],
        position=entry["position"],
        gaps=entry["gaps"],
        health=dict(entry["health"]),
        alarms=[shapes.Alarm(**alarm) for alarm in entry["alarms"]],
        snapshots=[shapes.SnapshotGlance(**snapshot) for snapshot in entry["snapshots"]],
        streams=[shapes.StreamGlance(**stream) for stream in entry["streams"]],
    )


def _model(entry: Entry, parts: Mapping[str, int], checks: Mapping[str, shapes.CheckCounts]) -> shapes.ModelGlance:
    return shapes.ModelGlance(
        name=entry["name"],
        state=entry.get("state", "running"),
        error=entry.get("error"),
        rows=entry.get("rows", 0),
        rows_per_s=entry.get("rows_per_s", 0.0),
        watermark_us=entry.get("watermark_us"),
        busy=entry.get("busy"),
        given_per_s=entry.get("given_per_s", 0.0),
        state_bytes=parts.get(f"model:{entry['name']}"),
        holds=entry.get("holds", True),
        checks=checks.get(entry["name"], shapes.CheckCounts()),
    )


def _masked(running: Running, text: str | None) -> str | None:
    return None if text is None else running.mask(text)


def _table(entry: Entry, files: Mapping[str, Entry]) -> shapes.TableGlance:
    known = files.get(entry["name"], {})
    return shapes.TableGlance(**entry, files=known.get("files"), bytes=known.get("bytes"))


def _sync(entry: Entry) -> shapes.SyncGlance:
    error: Entry | None = entry["error"]
    told = {name: value for name, value in entry.items() if name in shapes.SyncGlance.model_fields}
    message, hint = (error["message"], error["hint"]) if error is not None else (None, None)
    return shapes.SyncGlance(**{**told, "error": message, "hint": hint})


ENDPOINTS = (Endpoint("GET", "/v1/overview", "The project at a glance.", shapes.Overview, latest),)
