"""The delivery tables of all syncs as one table: `_deliveries`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.deliver.deliveries import FILE
from headwater.deliver.destination import Op
from headwater.deliver.outbox import Handed, current, read_records
from headwater.deliver.record import key_texts
from headwater.log.partition import open_for_reading
from headwater.project.definition import Project
from headwater.sqlite_file import open_to_read

NAME = "_deliveries"
PIECE = 50_000
TIME = pa.timestamp("us", tz="UTC")
COLUMNS = pa.schema(
    [
        ("sync", pa.string()),
        ("seq", pa.int64()),
        ("epoch", pa.int64()),
        ("key", pa.string()),
        ("op", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("attempts", pa.int64()),
        ("handed", TIME),
        ("next_try", TIME),
    ]
)
"""A record per row. `state` is pending (nothing was tried yet, or it waits behind an earlier change of its key), failed
(it is tried again), parked (it waits for a decision) or delivered; a record that a newer one of its key made moot, or
that was given up, counts as delivered here, as nothing is left to be done with it. Delivered ones are there as long as
the sync's `keep` says."""


def read_deliveries(project: Project) -> pa.Table:
    """Every record of every sync that is kept."""
    pieces = [piece for sync in project.syncs for piece in _of(project.state / "syncs" / sync.name, sync.name)]
    return pa.concat_tables([COLUMNS.empty_table(), *pieces])


def how_far(folder: Path, outbox: str) -> int:
    """The first record of an outbox that has not been looked at."""
    return _noted(folder, outbox)[0]


def account(project: Project, name: str) -> dict[str, int]:
    """How many records were handed to a sync, and what became of them."""
    folder = project.state / "syncs" / name
    of = current(folder)
    counts = dict.fromkeys(("handed", "delivered", "superseded", "discarded", "parked", "failed", "pending"), 0)
    if of is None:
        return counts
    counts["handed"] = open_for_reading(folder / of.id).head
    counts["pending"] = counts["handed"]
    if not (folder / FILE).exists():
        return counts
    connection = open_to_read(folder / FILE)
    try:
        outbox, cursor, *done = connection.execute(
            "SELECT outbox, cursor, delivered, superseded, discarded FROM sync"
        ).fetchone()
        waits = dict(connection.execute("SELECT state, count(*) FROM waiting GROUP BY state").fetchall())
    finally:
        connection.close()
    if outbox == of.id:
        counts["delivered"], counts["superseded"], counts["discarded"] = done
        counts["parked"], counts["failed"] = waits.get("parked", 0), waits.get("failed", 0)
        counts["pending"] = counts["handed"] - cursor + counts["failed"] + waits.get("queued", 0)
    return counts


def is_paused(project: Project, name: str) -> bool:
    """Whether a user has paused a sync."""
    path = project.state / "syncs" / name / FILE
    if not path.exists():
        return False
    connection = open_to_read(path)
    try:
        return bool(connection.execute("SELECT paused FROM sync").fetchone()[0])
    finally:
        connection.close()


def _of(folder: Path, name: str) -> Iterator[pa.Table]:
    of = current(folder)
    if of is None:
        return
    cursor, waiting = _noted(folder, of.id)
    view = open_for_reading(folder / of.id)
    seen: set[int] = set()
    start, head = view.base, view.head
    while start < head:
        handed = read_records(view, start, min(PIECE, head - start))
        if handed is None:
            break
        seen |= waiting.keys() & {int(seq) for seq in handed.seq} if waiting else set()
        yield _piece(name, handed, of.key, cursor, waiting)
        start = int(handed.seq[-1]) + 1
    kept = [entry for seq, entry in waiting.items() if seq not in seen]
    if kept:
        yield pa.Table.from_pylist(
            [
                {
                    "sync": name, "seq": seq, "epoch": epoch, "key": key, "op": Op(op).name.lower(),
                    "state": _state(state), "reason": reason, "attempts": attempts, "handed": first, "next_try": again,
                }
                for seq, key, op, epoch, state, reason, attempts, again, first in kept
            ],
            schema=COLUMNS,
        )  # fmt: skip


Entry = tuple[int, str, int, int, str, str, int, int, int]


def _noted(folder: Path, outbox: str) -> tuple[int, dict[int, Entry]]:
    """How far the sync got, and its records that wait."""
    path = folder / FILE
    if not path.exists():
        return 0, {}
    connection = open_to_read(path)
    try:
        of, cursor = connection.execute("SELECT outbox, cursor FROM sync").fetchone()
        query = "SELECT seq, key, op, epoch, state, reason, attempts, next_try_us, first_us FROM waiting ORDER BY seq"
        rows = connection.execute(query).fetchall()
    finally:
        connection.close()
    return (int(cursor), {row[0]: row for row in rows}) if of == outbox else (0, {})


def _piece(name: str, handed: Handed, key: tuple[str, ...], cursor: int, waiting: dict[int, Entry]) -> pa.Table:
    count = len(handed)
    states = np.where(handed.seq < cursor, "delivered", "pending").astype(object)
    reasons, attempts, again = np.full(count, "", object), np.zeros(count, np.int64), np.full(count, None, object)
    for at, seq in enumerate(handed.seq) if waiting else ():
        entry = waiting.get(int(seq))
        if entry is not None:
            states[at], reasons[at], attempts[at] = _state(entry[4]), entry[5], entry[6]
            again[at] = entry[7] if entry[4] == "failed" else None
    columns = [
        pa.repeat(pa.scalar(name), count), pa.array(handed.seq), pa.array(handed.epoch),
        pa.array(key_texts(handed.rows, key), pa.string()),
        pa.array([Op(op).name.lower() for op in handed.op], pa.string()), pa.array(states, pa.string()),
        pa.array(reasons, pa.string()), pa.array(attempts), pa.array(handed.handed_us).cast(TIME),
        pa.array(list(again), pa.int64()).cast(TIME),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=COLUMNS)


def _state(state: str) -> str:
    return "pending" if state == "queued" else state
