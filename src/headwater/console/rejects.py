"""`/v1/rejects`: the records that could not go on, by cause and one by one, and what to do about them.

A decision is written to the ledger as the command line does; the epochs' thread and the syncs find it there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, cast

import pyarrow as pa

from headwater import sqlite_file
from headwater.api.problem import Problem
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import rejects as shapes
from headwater.console.shapes.shape import Json
from headwater.console.state_db import FILE, reading
from headwater.console.values import plain
from headwater.errors import HeadwaterError
from headwater.project.connectors import rows_of_record
from headwater.quality.rejects import SETTLED, Choice, Ledger, Reject, State
from headwater.runtime.running import Running
from headwater.serve.moments import printable
from headwater.sqlite_file import storage_errors

RAW_SHOWN = 256 << 10
"""Bytes of a record that are shown."""
CAUSES_S = 2.0
WAITING: tuple[State, ...] = ("open", "requested")


def causes(call: Call) -> shapes.Causes:
    """What the entries failed of."""
    settled = call.of(shapes.AskCauses).settled
    states = (*WAITING, *(SETTLED if settled else ()))
    waiting = cast("dict[str, object]", call.running.status().get("rejects") or {}).get("open")
    return call.kept.get(f"causes:{settled}", CAUSES_S, lambda: _causes(call.running, states), waiting)


def _causes(running: Running, states: tuple[State, ...]) -> shapes.Causes:
    with reading(running) as connection:
        found = [] if connection is None else Ledger(connection, made=True).causes(states)
    told = [
        shapes.Cause(**{**vars(each), "message": running.mask(each.message)}, replays=each.stage != "gap")
        for each in found
    ]
    return shapes.Causes(causes=told)


def listed(call: Call) -> shapes.Rejects:
    """Entries one by one."""
    asked = call.of(shapes.AskRejects)
    states = WAITING if asked.state is None else (asked.state,)
    choice = Choice((), asked.stream, asked.stage, asked.reason, asked.after)
    with reading(call.running) as connection:
        found = [] if connection is None else Ledger(connection, made=True).entries(states, asked.limit, choice)
    more = found[-1].id if len(found) == asked.limit else None
    return shapes.Rejects(rejects=[shapes.Reject(**_told(call.running, each)) for each in found], next_after=more)


def shown(call: Call) -> shapes.RejectDetail:
    """One entry, raw and decoded."""
    entry = _entry(call.running, call.path["id"])
    raw = entry.record[:RAW_SHOWN]
    rows, why = _rows(entry)
    return shapes.RejectDetail(
        **_told(call.running, entry),
        raw_base64=base64.b64encode(raw).decode(),
        raw_text=_text(raw),
        truncated=len(entry.record) > RAW_SHOWN,
        rows=rows,
        undecodable=None if why is None else call.running.mask(why),
    )


def replay(call: Call) -> shapes.Decided:
    """Lets entries be tried again by the next epochs, or by their sync."""
    return _decide(call, lambda ledger, choice: ledger.ask_replay_of(choice))


def discard(call: Call) -> shapes.Decided:
    """Gives entries up; they stay in the ledger for a while and are counted as rejected."""
    return _decide(call, lambda ledger, choice: ledger.discard_all(choice))


def _decide(call: Call, decide: Callable[[Ledger, Choice], int]) -> shapes.Decided:
    asked = call.of(shapes.Decision)
    if bool(asked.ids) == (asked.cause is not None):
        raise Problem(422, "say which: ids, or a cause")
    cause = asked.cause or shapes.CauseOf.model_construct(stream=None, stage=None, reason=None)
    choice = Choice(tuple(asked.ids), cause.stream, cause.stage, cause.reason)
    path = call.running.project.state / FILE
    if not path.exists():
        raise Problem(404, "there is no ledger yet")
    with storage_errors("write the ledger of rejects"):
        connection = sqlite_file.open_to_write(path)
        try:
            with sqlite_file.transaction(connection):
                moved = decide(Ledger(connection, made=True), choice)
        finally:
            connection.close()
    return shapes.Decided(moved=moved)


def _entry(running: Running, number: str) -> Reject:
    with reading(running) as connection:
        if connection is None or not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise Problem(404, f"there is no reject number {number}")
        found = Ledger(connection, made=True).entries((*WAITING, *SETTLED), 1, Choice((int(number),)))
    if not found:
        raise Problem(404, f"there is no reject number {number}")
    return found[0]


def _told(running: Running, entry: Reject) -> dict[str, Any]:
    named = {name: value for name, value in vars(entry).items() if name in shapes.Reject.model_fields}
    return {**named, "message": running.mask(entry.message), "bytes": len(entry.record)}


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _rows(entry: Reject) -> tuple[list[dict[str, Json]], str | None]:
    """What the record would have been, or why that cannot be said."""
    try:
        if entry.stage == "decode":
            found = rows_of_record(entry.record)
        elif entry.stage == "gap":
            found = [json.loads(entry.record)]
        else:
            found = printable(pa.ipc.open_stream(entry.record).read_all()).to_pylist()
    except (HeadwaterError, pa.ArrowException, ValueError) as error:
        return [], str(error)
    return [{name: plain(value) for name, value in row.items()} for row in found], None


ENDPOINTS = (
    Endpoint("GET", "/v1/rejects/causes", "Rejects by what they failed of.", shapes.Causes, causes, shapes.AskCauses),
    Endpoint("GET", "/v1/rejects", "Rejects, oldest first.", shapes.Rejects, listed, shapes.AskRejects),
    Endpoint("GET", "/v1/rejects/{id}", "One reject, raw and decoded.", shapes.RejectDetail, shown),
    Endpoint("POST", "/v1/rejects/replay", "Send rejects through the pipeline again.", shapes.Decided, replay,
             shapes.Decision),
    Endpoint("POST", "/v1/rejects/discard", "Give rejects up.", shapes.Decided, discard, shapes.Decision),
)  # fmt: skip
