"""Which records go out in the next call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.deliver.deliveries import Deliveries, Waiting
from headwater.deliver.destination import Batch, Send
from headwater.deliver.line import Line
from headwater.deliver.outbox import Handed, Outbox
from headwater.deliver.record import batch_of, key_texts, record_bytes
from headwater.index.key_index import group

READ_RECORDS = 20_000
"""Records that are read of the outbox at once."""


@dataclass
class Selection:
    """Records of a call, and what else becomes of the stretch of the outbox that they were taken from.

    Attributes:
        batch: what goes out.
        keys: by row, its key as text.
        cursor: the first record that is not looked at yet, once the call is noted.
        late: whether the records have waited before.
        superseded: records of the stretch that a newer one of their key makes moot.
        overtaken: waiting records that those of this call make moot.
        queued: records of the stretch that must wait for one of their key.
    """

    batch: Batch
    keys: list[str]
    cursor: int
    late: bool
    superseded: int = 0
    overtaken: list[int] = field(default_factory=list)
    queued: list[Waiting] = field(default_factory=list)


@dataclass
class Selector:
    """Chooses what goes out.

    Args:
        outbox: where new records are.
        store: where waiting ones are.
        key: the sync's key.
        send: see `Send`.
        repeats: a batch may hold several changes of a key.
        before: the destination wants the rows as they were.
    """

    outbox: Outbox
    store: Deliveries
    key: tuple[str, ...]
    send: Send
    repeats: bool
    before: bool
    _chunk: Handed | None = None

    def fresh(self, cursor: int, most: int, call: int, line: Line, now_us: int) -> Selection | None:
        """At most so many records of the outbox from `cursor` on; None if there is none."""
        chunk = self._at(cursor)
        if chunk is None:
            return None
        start = int(cursor - chunk.seq[0])
        end = min(start + most, len(chunk))
        if self.key and self.send == "newest":
            return self._newest(chunk, start, most, call, line)
        if not self.key:
            return _plain(chunk, np.arange(start, end), call, self.before)
        return self._every(chunk, start, end, call, line, now_us)

    def late(self, seqs: Sequence[int], call: int, cursor: int) -> tuple[Selection | None, list[int]]:
        """Waiting records, and those of them that do not go into the same batch."""
        kept = self.store.records(seqs)
        if not kept:
            return None, []
        batch, count = batch_of(
            call, [one.record for one in kept], [one.op for one in kept], [one.seq for one in kept],
            [one.epoch for one in kept], before=self.before,
        )  # fmt: skip
        left = [one.seq for one in kept[count:]]
        return Selection(batch, [one.key for one in kept[:count]], cursor, late=True), left

    def oldest_us(self, cursor: int) -> int | None:
        """When the first record that is not looked at was handed over, as far as it has been read."""
        chunk = self._chunk
        if chunk is None or not len(chunk) or not chunk.seq[0] <= cursor <= chunk.seq[-1]:
            return None
        return int(chunk.handed_us[int(cursor - chunk.seq[0])])

    def stretch(self, start: int, end: int) -> list[Handed]:
        """The records [start, end) of the outbox."""
        pieces: list[Handed] = []
        while start < end:
            piece = self.outbox.read(start, end - start)
            if piece is None:
                break
            pieces.append(piece)
            start = int(piece.seq[-1]) + 1
        return pieces

    def _at(self, cursor: int) -> Handed | None:
        chunk = self._chunk
        if chunk is None or not len(chunk) or not chunk.seq[0] <= cursor <= chunk.seq[-1]:
            chunk = self._chunk = self.outbox.read(cursor, READ_RECORDS)
        return chunk

    def _newest(self, chunk: Handed, start: int, most: int, call: int, line: Line) -> Selection:
        rows = chunk.rows.slice(start)
        numbers, first = group(rows, _key_schema(rows, self.key))
        end = rows.num_rows if len(first) <= most else int(np.sort(first)[most])
        last = np.full(len(first), -1, np.int64)
        last[numbers[:end]] = np.arange(end)
        places = np.sort(last[last >= 0])
        selection = _plain(chunk, places + start, call, self.before)
        selection.cursor = int(chunk.seq[start]) + end
        selection.superseded = end - len(places)
        if len(line):
            selection.keys = key_texts(selection.batch.rows, self.key)
            selection.overtaken = [seq for key in selection.keys for seq in line.of_key(key)]
        return selection

    def _every(self, chunk: Handed, start: int, end: int, call: int, line: Line, now_us: int) -> Selection:
        rows = chunk.rows.slice(start, end - start)
        goes = np.ones(end - start, np.bool_)
        if not self.repeats:
            _, first = group(rows, _key_schema(rows, self.key))
            goes[:] = False
            goes[first] = True
        if len(line):
            keys = key_texts(rows, self.key)
            goes &= ~np.fromiter((line.has_key(key) for key in keys), np.bool_, len(keys))
        selection = _plain(chunk, np.flatnonzero(goes) + start, call, self.before)
        selection.cursor = int(chunk.seq[end - 1]) + 1
        if not goes.all():
            behind = _plain(chunk, np.flatnonzero(~goes) + start, call, self.before).batch
            selection.queued = queued(behind, self.key, now_us)
        return selection


def queued(batch: Batch, key: tuple[str, ...], now_us: int) -> list[Waiting]:
    """Records that wait behind one of their key."""
    return [
        Waiting(int(batch.seq[at]), text, int(batch.op[at]), int(batch.epoch[at]), "queued", "", 0, 0, now_us, now_us,
                record_bytes(batch, at))
        for at, text in enumerate(key_texts(batch.rows, key))
    ]  # fmt: skip


def _plain(chunk: Handed, places: NDArray[np.int64], call: int, before: bool) -> Selection:
    """The records at these places, with nothing left over."""
    whole = len(places) and int(places[-1]) - int(places[0]) + 1 == len(places)
    formers = chunk.before if before else None
    if whole:
        at, count = int(places[0]), len(places)
        rows = chunk.rows.slice(at, count)
        formers = formers.slice(at, count) if formers is not None else None
    else:
        which = pa.array(places)
        rows = chunk.rows.take(which)
        formers = formers.take(which) if formers is not None else None
    if before and formers is None:
        formers = pa.nulls(len(places), pa.struct([field.with_nullable(True) for field in rows.schema]))
    batch = Batch(call, rows, chunk.op[places], chunk.seq[places], chunk.epoch[places], formers)
    cursor = int(chunk.seq[places[-1]]) + 1 if len(places) else int(chunk.seq[0])
    return Selection(batch, [], cursor, late=False)


def _key_schema(rows: pa.Table, key: tuple[str, ...]) -> pa.Schema:
    return pa.schema([rows.schema.field(name) for name in key])
