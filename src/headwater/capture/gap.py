"""A gap that the user accepted: an entry of the ledger, durable in the same group as the position behind it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import pyarrow as pa

from headwater.change import REJECT_SCHEMA

STAGE = "gap"


@dataclass(frozen=True)
class Gap:
    """What may be missing in the log, or be too much in it.

    Attributes:
        source: name of the source.
        cause: `PositionLost.cause`.
        message: what happened.
        since, until: positions, as the source writes them, between which changes are not in the log.
        lost_bytes: how much of the source's own log that is; None if it cannot be said.
        accepted_us: when it was carried out, microseconds since 1970 UTC.
        decision: id of the request.
        reason: why it was accepted, in the user's words.
    """

    source: str
    cause: str
    message: str
    since: str
    until: str
    lost_bytes: int | None
    accepted_us: int
    decision: str
    reason: str = ""


def gap_stream(source: str) -> str:
    """What a gap's entry has as its stream: no stream's name holds a colon."""
    return f"source:{source}"


def gap_reject(gap: Gap) -> pa.RecordBatch:
    """The gap as the one row of a `REJECT_SCHEMA` batch; its record is the gap as JSON."""
    span = f"{gap.since} to {gap.until}" + ("" if gap.lost_bytes is None else f" ({gap.lost_bytes:,} bytes)")
    row = {
        "stream": gap_stream(gap.source),
        "stage": STAGE,
        "reason": gap.cause,
        "message": f"accepted: changes from {span} may be missing: {gap.message}",
        "position": "0:0",
        "key": "",
        "record": json.dumps(asdict(gap)).encode(),
        "weight": 0,
    }
    return pa.RecordBatch.from_pylist([row], schema=REJECT_SCHEMA)


def read_gap(record: bytes) -> Gap:
    """Back from the record of an entry."""
    return Gap(**json.loads(record))
