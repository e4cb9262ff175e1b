"""`/v1/capture`: where each source stands, what its server keeps for us, and readings of tables that users ask for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from headwater.api.problem import Problem
from headwater.capture.postgres.lsn import lsn_text
from headwater.capture.request import Action, Request
from headwater.console import overview
from headwater.console.endpoint import Call, Endpoint, missing
from headwater.console.shapes import capture as shapes
from headwater.console.shapes.overview import SourceGlance
from headwater.runtime.requests import new_id
from headwater.runtime.running import Running
from headwater.runtime.schema_changes import noted

SHOWN = 200
ANSWER_S = 3.0
"""So long is waited for a source to say whether it takes a request."""
TYPES = ("postgres", "mysql")
"""Sources whose tables can be read again while they are followed."""
_ACTIONS: Final[Mapping[str, Action]] = {"start": "snapshot", "pause": "pause", "resume": "resume", "stop": "stop"}
_RETAINED = ("wal_kept_bytes", "log_behind_bytes")


def capture(call: Call) -> shapes.Capture:
    """All sources."""
    now, running = overview.latest(call), call.running
    sources = {stream.name: source.name for source in now.sources for stream in source.streams}
    changes = [_change(entry, sources) for entry in noted(running.project.state, SHOWN)]
    return shapes.Capture(sources=[_source(running, source) for source in now.sources], schema_changes=changes)


def snapshots(call: Call) -> shapes.Took:
    """Asks a source for something about its tables, and waits a moment for its answer."""
    asked, running, name = call.of(shapes.AskSnapshots), call.running, call.path["source"]
    if name not in running.sources:
        raise missing("source", name)
    if asked.action == "start" and not asked.tables:
        raise Problem(422, "which tables? schema.table, * and ? allowed")
    requests, clock = running.requests(name), running.clock
    request = Request(new_id(clock.now_us()), _ACTIONS[asked.action], tuple(asked.tables))
    requests.submit(request)
    due = clock.monotonic_s() + ANSWER_S
    never = threading.Event()
    while requests.waits(request.id) and clock.monotonic_s() < due and not running.ending.is_set():
        clock.wait(never, 0.05)
    refusal = requests.refusal(request.id)
    if refusal is not None:
        return shapes.Took(id=request.id, state="refused", why=running.mask(refusal))
    return shapes.Took(id=request.id, state="waiting" if requests.waits(request.id) else "taken", why=None)


def _source(running: Running, source: SourceGlance) -> shapes.CapturedSource:
    partition = running.partitions[source.name]
    segments = [path.stat().st_size for path in partition.folder.glob("*.segment")]
    pending = running.requests(source.name).pending()
    kept = next((value for name in _RETAINED if (value := source.health.get(name)) is not None), None)
    return shapes.CapturedSource(
        name=source.name,
        type=source.type,
        state=source.state,
        error=source.error,
        hint=source.hint,
        lag_bytes=source.lag_bytes,
        lag_unit=source.lag_unit,
        retained_bytes=int(kept) if isinstance(kept, int | float) else None,
        position=_position(source),
        figures=source.health,
        alarms=source.alarms,
        gaps=source.gaps,
        snapshots=[shapes.Snapshot(**one.model_dump()) for one in source.snapshots],
        can_snapshot=source.type in TYPES,
        asked=[
            shapes.Waiting(id=one.id, action=one.action, tables=list(one.tables), at_us=_asked_us(one))
            for one in pending
        ],
        log=shapes.LogPart(base=partition.base, head=partition.head, segments=len(segments), bytes=sum(segments)),
        streams=[stream.name for stream in source.streams],
    )


def _position(source: SourceGlance) -> str | None:
    if source.position is None:
        return None
    return lsn_text(source.position) if source.type == "postgres" else str(source.position)


def _asked_us(request: Request) -> int:
    head = request.id.partition("-")[0]
    return int(head) if head.isdigit() else 0


def _change(entry: Mapping[str, Any], sources: Mapping[str, str]) -> shapes.SchemaChange:
    return shapes.SchemaChange(
        at_us=entry["at_us"],
        epoch=entry["epoch"],
        source=sources.get(entry["stream"], ""),
        stream=entry["stream"],
        changes=[shapes.ColumnChange(**one) for one in entry["changes"]],
    )


ENDPOINTS = (
    Endpoint("GET", "/v1/capture", "Sources: positions, what is retained, snapshots, changes of columns.",
             shapes.Capture, capture),
    Endpoint("POST", "/v1/capture/{source}/snapshots", "Read tables again, or pause, resume and stop that.",
             shapes.Took, snapshots, shapes.AskSnapshots),
)  # fmt: skip
