"""The outbox of a sync: what it has been handed, durable, numbered, and tagged with epochs.

    syncs/SYNC/outbox.json      which outbox is the current one, and what it is of
    syncs/SYNC/ID/*.segment     a log partition; one group per epoch, and one more per full resync

A record's offset in the partition is its `seq`. The group's boundary says the epoch (`Position.commit`), so that the
outbox itself answers which epoch it holds. The row and the row before it travel as one struct column each, so that no
name of the model's can be in the way.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater import failpoint
from headwater.change import ChangeBatch, Group, log_schema
from headwater.clock import Clock
from headwater.deliver.changes import Changes, as_struct
from headwater.deliver.destination import Op
from headwater.durable import make_folder, replace_file
from headwater.errors import StorageFailed, UserError
from headwater.log.partition import Partition, PartitionView
from headwater.position import Boundary, JsonScalar, Position
from headwater.schema import StreamSchema

FILE = "outbox.json"
PART_ROWS = 50_000
"""Rows that are written at once."""

Expects = Literal["nothing", "whole", "start"]
"""What an outbox takes next. whole: nothing was handed to it yet, so all rows of a model that is built go in. start: it
takes nothing before the model's sources are past their first snapshot. nothing: it is in step; of a model that is built
anew the difference goes in."""


@dataclass(frozen=True)
class OutboxOf:
    """What an outbox is of; another model or key needs another outbox.

    Attributes:
        id: unique.
        model: the model.
        key: the sync's key.
        columns: the model's columns when it began.
    """

    id: str
    model: str
    key: tuple[str, ...]
    columns: pa.Schema


@dataclass(frozen=True)
class Handed:
    """Consecutive records of an outbox, all of the same columns.

    Attributes:
        rows, op, before: as in `Changes`.
        seq: int64 [row], ascending.
        epoch: int64 [row].
        handed_us: int64 [row], when they were handed over, microseconds since 1970 UTC.
    """

    rows: pa.Table
    op: NDArray[np.uint8]
    seq: NDArray[np.int64]
    epoch: NDArray[np.int64]
    handed_us: NDArray[np.int64]
    before: pa.StructArray | None = None

    def __len__(self) -> int:
        return len(self.seq)


def current(folder: Path) -> OutboxOf | None:
    """The current outbox of a sync's folder; None if it has none."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["columns"])))
        return OutboxOf(str(found["id"]), str(found["model"]), tuple(found["key"]), columns)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        hint = "move the folder away: the sync then begins anew"
        raise UserError(f"{path} does not say which outbox there is: {error}", hint=hint) from error


class Outbox:
    """An open outbox. One thread writes (the epochs'); others read along.

    Args:
        folder: the sync's folder; made if it is not there.
        of: what the outbox is of; a new one has no folder yet.
        segment_bytes: size at which a segment is closed.
        clock: time.

    Attributes:
        columns: the model's columns as they are now.
    """

    def __init__(self, folder: Path, of: OutboxOf, segment_bytes: int, clock: Clock) -> None:
        self.of, self._folder, self._clock, self._segment_bytes = of, folder, clock, segment_bytes
        self.columns = of.columns
        self._lock = threading.Lock()
        make_folder(folder)
        self._partition = self._open()

    @classmethod
    def anew(
        cls, folder: Path, model: str, key: tuple[str, ...], columns: pa.Schema, segment_bytes: int, clock: Clock
    ) -> Outbox:
        """An empty outbox, which becomes the current one when it `takes_over`."""
        return cls(folder, OutboxOf(secrets.token_hex(6), model, key, columns), segment_bytes, clock)

    def takes_over(self) -> None:
        """Makes this outbox the sync's current one, and removes any other."""
        columns = base64.b64encode(self.of.columns.serialize().to_pybytes()).decode()
        told = {"v": 1, "id": self.of.id, "model": self.of.model, "key": list(self.of.key), "columns": columns}
        replace_file(self._folder / FILE, json.dumps(told))
        for other in self._folder.iterdir():
            if other.is_dir() and other.name != self.of.id:
                shutil.rmtree(other, ignore_errors=True)

    def _open(self) -> Partition:
        return Partition.open(self._folder / self.of.id, segment_bytes=self._segment_bytes, clock=self._clock)

    def reopen(self) -> None:
        """Opens the files anew after a write that failed."""
        with self._lock:
            self._partition.close()
            self._partition = self._open()

    @property
    def base(self) -> int:
        """The first `seq` that is still kept."""
        return self._partition.base

    @property
    def head(self) -> int:
        """The next `seq`; so many records were handed over since the outbox began."""
        return self._partition.head

    @property
    def committed(self) -> int:
        """The last epoch that it holds something of, or that it began with; -1 if it has not begun."""
        boundary = self._partition.boundary
        return -1 if boundary is None else boundary.position.commit

    @property
    def expects(self) -> Expects:
        """See `Expects`."""
        boundary = self._partition.boundary
        said = boundary.resume.get("expects") if boundary is not None else "whole"
        return "start" if said == "start" else "whole" if said == "whole" else "nothing"

    @property
    def resynced(self) -> str:
        """Id of the last full resync that was handed over; empty if there was none."""
        boundary = self._partition.boundary
        return str(boundary.resume.get("resync", "")) if boundary is not None else ""

    def stage(self, epoch: int, changes: Changes) -> None:
        """Writes a part of what `epoch` hands over, which counts once the epoch is committed.

        Raises:
            StorageFailed: `reopen` it, and begin the epoch again.
        """
        for part in self._parts(epoch, changes):
            self._partition.append([Group(self._boundary(epoch, "nothing", None), (part,), more=True)])

    def forget_staged(self) -> None:
        """Cuts off what was staged of an epoch that is begun again."""
        self._partition.forget_parts()

    def commit(self, epoch: int, changes: Changes, *, expects: Expects = "nothing", resync: str | None = None) -> None:
        """Makes the changes, after what was staged, durable and visible, tagged with the epoch.

        Args:
            expects: what it takes next.
            resync: id of a full resync, if that is what the changes are: then they come on top of the epoch's.

        Raises:
            StorageFailed: as `stage`.
        """
        failpoint.reach("outbox.commit.before")
        parts = list(self._parts(epoch, changes))
        for part in parts[:-1]:
            self._partition.append([Group(self._boundary(epoch, expects, resync), (part,), more=True)])
        last = tuple(parts[-1:])
        self._partition.append([Group(self._boundary(epoch, expects, resync), last)])
        failpoint.reach("outbox.commit.after")

    def read(self, start: int, most: int) -> Handed | None:
        """Records from `seq` `start` on, at most so many and of the same columns; None if there are none.

        Raises:
            UserError: they are no longer kept.
        """
        return read_records(self._partition, start, most)

    def retain(self, *, before: int, min_age_s: float, max_bytes: int) -> None:
        """Lets records below `before` go, which nobody needs, as far as they are older or more than wanted."""
        with suppress(StorageFailed):
            self._partition.retain(before=before, min_age_s=min_age_s, max_bytes=max_bytes)

    def close(self) -> None:
        """Lets go of the files. May be called twice."""
        with self._lock:
            self._partition.close()

    def _boundary(self, epoch: int, expects: Expects, resync: str | None) -> Boundary:
        told = self.resynced if resync is None else resync
        resume: dict[str, JsonScalar] = {"expects": expects}
        if told:
            resume["resync"] = told
        before = self._partition.boundary
        again = before is not None and before.position.commit == epoch
        return Boundary(Position(epoch, before.position.ordinal + 1 if before and again else 0), resume)

    def _parts(self, epoch: int, changes: Changes) -> Iterator[ChangeBatch]:
        now = pa.scalar(self._clock.now_us(), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        for start in range(0, len(changes), PART_ROWS):
            rows, op = changes.rows.slice(start, PART_ROWS), changes.op[start : start + PART_ROWS]
            before = changes.before.slice(start, PART_ROWS) if changes.before is not None else None
            row = as_struct(rows)
            kind = row.type
            before = pa.nulls(len(op), kind) if before is None else before.cast(kind)
            columns = pa.schema([pa.field("row", kind), pa.field("before", kind)])
            stream = StreamSchema("outbox", columns)
            weights = np.where(op == Op.DELETE, -1, 1).astype(np.int8)
            arrays = [
                pa.array(op), pa.array(weights), pa.array(np.full(len(op), epoch, np.uint64)),
                pa.array(np.arange(start, start + len(op), dtype=np.int64)), pa.repeat(now, len(op)),
                pa.nulls(len(op), pa.binary()), row, before,
            ]  # fmt: skip
            yield ChangeBatch(stream, pa.RecordBatch.from_arrays(arrays, schema=log_schema(stream)))


def read_records(log: Partition | PartitionView, start: int, most: int) -> Handed | None:
    """As `Outbox.read`, of an outbox that may be another process's."""
    end = min(start + most, log.head)
    pieces: list[Handed] = []
    for record in log.read(start, end) if start < end else ():
        piece = _handed(record.offset, record.rows)
        if pieces and not piece.rows.schema.equals(pieces[0].rows.schema):
            break
        pieces.append(piece)
    return _joined(pieces) if pieces else None


def new_resync_id(clock: Clock) -> str:
    """An id for a full resync that is asked for now."""
    return f"{clock.now_us():016d}-{secrets.token_hex(3)}"


def _handed(offset: int, rows: pa.RecordBatch) -> Handed:
    row, before = rows.column("row"), rows.column("before")
    count = rows.num_rows
    columns = row.flatten()
    schema = pa.schema([row.type.field(at) for at in range(row.type.num_fields)])
    return Handed(
        pa.Table.from_arrays(columns, schema=schema),
        rows.column("_op").to_numpy(),
        np.arange(offset, offset + count, dtype=np.int64),
        rows.column("_commit").to_numpy().astype(np.int64),
        rows.column("_time").cast(pa.int64()).to_numpy(),
        before if before.null_count < count else None,
    )


def _joined(pieces: list[Handed]) -> Handed:
    if len(pieces) == 1:
        return pieces[0]
    before = None
    if any(piece.before is not None for piece in pieces):
        kind = as_struct(pieces[0].rows.slice(0, 0)).type
        before = pa.concat_arrays([p.before if p.before is not None else pa.nulls(len(p), kind) for p in pieces])
    return Handed(
        pa.concat_tables([piece.rows for piece in pieces]),
        np.concatenate([piece.op for piece in pieces]),
        np.concatenate([piece.seq for piece in pieces]),
        np.concatenate([piece.epoch for piece in pieces]),
        np.concatenate([piece.handed_us for piece in pieces]),
        before,
    )
