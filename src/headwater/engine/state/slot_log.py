"""Checkpoints of state that is addressed by slot (groups with their accumulators): what is written is what changed.

How an operator uses it, `slots` being those of its `KeyIndex`:

    log = SlotLog(worker.memory)
    log.note(slots)                            # in step: these changed, or are new; repeats are fine
    log.forget(slots)                          # these were removed from the index
    log.save(folder, previous, rows_of)        # in checkpoint: rows_of(slots) -> table of keys and state, in order
    for ids, rows in log.load(folder):         # in restore, share None: goes on from that folder
        slots, _ = index.find_or_insert(rows)
        ...                                    # put the state of `rows` in place
        log.adopt(ids, slots)
    for folder in parts:                       # in restore, from the parts of other workers
        for _, rows in log.load(folder):       # mask rows with share.mine(rows, key columns), then as above, but
            log.note(slots)                    # note in place of adopt: the next checkpoint writes everything

A folder holds *patches*, oldest first: for slots that changed, their rows, or that they are not there any more. What a
later patch says of a slot counts. Patches merge geometrically (each at least twice the next), so that there are about
log2(slots) and a row is written about that many times at most; those that stay are hard-linked from the folder before.
Slots are known on disk by *ids*, so that a restored index need not give out the same slots again.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from headwater.engine.state.checkpoint_files import (
    Json,
    StateFile,
    corrupt,
    read_batch,
    read_manifest,
    share,
    storage,
    write_batch,
    write_manifest,
)
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, Mask

ID = "_id"
"""Column of the files: by what number the checkpoint knows a slot."""
LIVES = "_lives"
"""Column of the files: false if the slot was removed; the other columns are then null."""

_FORMAT = 1
_CHANGED, _LIVING = np.uint8(1), np.uint8(2)
_MOST_ROWS = 1 << 20

RowsOf = Callable[[Longs], pa.Table]


@dataclass(frozen=True)
class _Patch:
    """Files of a patch, and how many slots they speak of."""

    size: int
    files: tuple[StateFile, ...]


class SlotLog:
    """Which slots are in use, and which have changed since the last checkpoint: a byte per slot.

    Args:
        memory: where arrays come from.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._state = np.zeros(0, np.uint8)
        self._ids = np.zeros(0, np.uint32)
        self._next_id = 0
        self._name = ""

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._state.nbytes + self._ids.nbytes

    def note(self, slots: Longs) -> None:
        """Says that these slots are in use, and what they hold has changed."""
        self._make_room(slots)
        self._state[slots] = _CHANGED | _LIVING

    def forget(self, slots: Longs) -> None:
        """Says that these slots are not in use any more."""
        self._state[slots] = _CHANGED

    def living(self) -> Longs:
        """The slots in use, ascending."""
        return np.flatnonzero(self._state & _LIVING)

    def adopt(self, ids: Longs, slots: Longs) -> None:
        """Says that these slots hold what the checkpoint that is being loaded knows by these ids."""
        self._make_room(slots)
        self._state[slots] = _LIVING
        self._ids = self._memory.grown(self._ids, len(self._state))
        self._ids[slots] = ids + 1
        self._next_id = max(self._next_id, int(ids.max(initial=-1)) + 1)

    def save(self, folder: Path, previous: Path | None, rows_of: RowsOf) -> None:
        """Writes into `folder`, which is made if need be, what has changed since `previous`, and links the rest.

        Args:
            folder: new or empty; it may be renamed afterwards.
            previous: an earlier checkpoint; everything is written unless it is the last one taken or loaded.
            rows_of: keys and state of slots in use, in the order given, always of one schema; called for at most
                2**20 slots at a time, and at least once, perhaps with none.

        Raises:
            StorageFailed: the folder is of no use; nothing is lost.
            CorruptCheckpoint: `previous` cannot be read.
        """
        columns = rows_of(np.zeros(0, np.int64)).schema
        name, patches = _manifest(previous, columns)[1:] if previous else ("", [])
        if previous is None or not self._name or name != self._name:
            slots, gone, kept, previous = self.living(), np.zeros(0, np.int64), list[_Patch](), folder
            self._ids, self._name = self._ids[:0], ""
        else:
            slots, gone, kept = self._merged(previous, patches)
        new_name = uuid.uuid4().hex
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for patch in kept:
                for file in patch.files:
                    share(previous, folder, file)
            if len(slots):
                kept.append(self._write(folder, slots, gone, rows_of, oldest=not kept))
            write_manifest(folder, _body(new_name, columns, kept))
        self._name = new_name
        self._state &= _LIVING

    def load(self, folder: Path) -> Iterator[tuple[Longs, pa.Table]]:
        """The last state of every slot that is in use: some ids at a time, and their rows as `rows_of` gave them.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        columns, name, patches = _manifest(folder, None)
        seen = np.zeros(0, np.bool_)
        for patch in reversed(patches):
            found = []
            for file in patch.files:
                batch = read_batch(folder, file)
                ids = batch.column(ID).to_numpy()
                seen = self._memory.grown(seen, int(ids.max(initial=-1)) + 1)
                wanted = np.asarray(batch.column(LIVES).to_numpy(zero_copy_only=False) & ~seen[ids])
                found.append(ids)
                if wanted.any():
                    rows = pa.Table.from_batches([batch.drop_columns([ID, LIVES]).filter(pa.array(wanted))])
                    yield ids[wanted], rows.cast(columns)
            for ids in found:
                seen[ids] = True
        self._name = name

    def _make_room(self, slots: Longs) -> None:
        self._state = self._memory.grown(self._state, int(slots.max(initial=-1)) + 1)

    def _merged(self, previous: Path, patches: list[_Patch]) -> tuple[Longs, Longs, list[_Patch]]:
        """The slots that the new patch must speak of, ids in merged patches that are no slot's, and the patches that
        stay."""
        slots, gone, kept = np.flatnonzero(self._state & _CHANGED), np.zeros(0, np.int64), list(patches)
        while kept and len(slots) and kept[-1].size < 2 * (len(slots) + len(gone)):
            files = kept.pop().files
            ids = np.concatenate([gone[:0], *(read_batch(previous, file).column(ID).to_numpy() for file in files)])
            found = self._slots_of(ids)
            slots, gone = np.union1d(slots, found[found >= 0]), np.union1d(gone, ids[found < 0])
        return slots, gone, kept

    def _slots_of(self, ids: Longs) -> Longs:
        """The slots that are known by these ids, -1 for those of no slot."""
        if not len(self._ids):
            return np.where(ids < len(self._state), ids, -1)
        named = np.flatnonzero(self._ids)
        slot_of = np.full(max(self._next_id, int(ids.max(initial=-1)) + 1), -1, np.int64)
        slot_of[self._ids[named].astype(np.int64) - 1] = named
        return np.asarray(slot_of[ids])

    def _ids_of(self, slots: Longs) -> Longs:
        """The ids of slots, those of new slots made up."""
        if not len(self._ids):
            return slots
        self._ids = self._memory.grown(self._ids, len(self._state))
        new = slots[self._ids[slots] == 0]
        self._ids[new] = np.arange(self._next_id, self._next_id + len(new)) + 1
        self._next_id += len(new)
        return self._ids[slots].astype(np.int64) - 1

    def _write(self, folder: Path, slots: Longs, gone: Longs, rows_of: RowsOf, *, oldest: bool) -> _Patch:
        """Writes a patch for the slots as they are, and ids that are not there; the oldest need not speak of those."""
        lives = (self._state[slots] & _LIVING).astype(np.bool_)
        if oldest:
            slots, gone, lives = slots[lives], gone[:0], lives[lives]
        ids = np.concatenate([self._ids_of(slots), gone])
        lives = np.concatenate([lives, np.zeros(len(gone), np.bool_)])
        files = []
        for start in range(0, len(ids), _MOST_ROWS):
            part = slice(start, start + _MOST_ROWS)
            rows = rows_of(slots[part][lives[part][: len(slots[part])]])
            files.append(
                write_batch(folder, f"{uuid.uuid4().hex}.patch.arrow", _patch_batch(ids[part], lives[part], rows))
            )
        return _Patch(len(ids), tuple(files))


def _patch_batch(ids: Longs, lives: Mask, rows: pa.Table) -> pa.RecordBatch:
    """Rows of the living, and nulls for the others, as a patch file has them."""
    columns = [pa.chunked_array(column).combine_chunks() for column in rows.columns]
    if not lives.all():
        at = pa.array(np.cumsum(lives) - 1, mask=~lives)
        columns = [column.take(at) for column in columns]
    names = [ID, LIVES, *rows.column_names]
    return pa.RecordBatch.from_arrays([pa.array(ids), pa.array(lives), *columns], names=names)


def _body(name: str, columns: pa.Schema, patches: Sequence[_Patch]) -> Json:
    schema = base64.b64encode(columns.serialize()).decode()
    listed: list[Json] = [{"size": p.size, "files": [asdict(file) for file in p.files]} for p in patches]
    return {"format": _FORMAT, "name": name, "columns": schema, "patches": listed}


def _manifest(folder: Path, columns: pa.Schema | None) -> tuple[pa.Schema, str, list[_Patch]]:
    """Columns, name and patches of a checkpoint; no patches if it is of other columns than those expected."""
    body = read_manifest(folder)
    if body.get("format") != _FORMAT:
        raise corrupt(folder, f"it has the format {body.get('format')!r}, this version reads {_FORMAT}")
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(cast(str, body["columns"]))))
    if columns is not None and schema != columns:
        return schema, "", []
    patches = []
    for patch in cast("list[dict[str, object]]", body["patches"]):
        listed = cast("list[dict[str, str | int]]", patch["files"])
        files = tuple(StateFile(str(f["name"]), int(f["size"]), str(f["sha256"])) for f in listed)
        patches.append(_Patch(cast(int, patch["size"]), files))
    return schema, cast(str, body["name"]), patches
