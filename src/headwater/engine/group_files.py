"""Which key each slot of an aggregate stands for, and the checkpoint of keys and accumulators together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.engine.state.checkpoint_files import (
    StateFile,
    read_batch,
    read_manifest,
    storage,
    write_batch,
    write_manifest,
)
from headwater.index.kernels import Longs

_LEAST_WASTE = 4096


class GroupFiles:
    """Keys by slot, in the order in which slots were given out; a slot's last entry counts.

    Args:
        keys: the key columns.
    """

    def __init__(self, keys: pa.Schema) -> None:
        self._schema = keys
        self._slots: list[Longs] = []
        self._keys: list[pa.Table] = []
        self._count = 0

    def add(self, slots: Longs, keys: pa.Table) -> None:
        """Notes that these slots now stand for these keys."""
        if not len(self._schema):
            return
        self._slots.append(slots)
        self._keys.append(keys.cast(self._schema))
        self._count += len(slots)
        if len(self._slots) > 64 or self._count > 2 * self._distinct() + _LEAST_WASTE:
            self._compact()

    def _distinct(self) -> int:
        return max((int(slots.max()) + 1 for slots in self._slots if len(slots)), default=0)

    def _compact(self) -> None:
        """Leaves each slot its last entry."""
        slots = np.concatenate(self._slots)
        last = np.zeros(int(slots.max()) + 1 if len(slots) else 0, np.int64)
        last[slots] = np.arange(len(slots))
        kept = last[np.unique(slots)]
        self._keys = [pa.concat_tables(self._keys).take(pa.array(kept)).combine_chunks()]
        self._slots = [slots[kept]]
        self._count = len(kept)

    def keys_of(self, slots: Longs) -> pa.Table:
        """The keys of slots that are in use."""
        if not self._slots:
            return self._schema.empty_table()
        self._compact()
        if not len(slots):
            return self._schema.empty_table()
        position = np.zeros(int(self._slots[0].max()) + 1, np.int64)
        position[self._slots[0]] = np.arange(len(self._slots[0]))
        return self._keys[0].take(pa.array(position[slots]))

    def save(self, folder: Path, slots: Longs, state: Mapping[str, pa.Array]) -> None:
        """Writes the groups of `slots` with their accumulators.

        Raises:
            StorageFailed: the folder is of no use.
        """
        columns = {f"key:{name}": column for name, column in self._columns(slots).items()}
        columns |= {f"state:{name}": pa.chunked_array([array]) for name, array in state.items()}
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            batch = pa.table(columns).combine_chunks().to_batches()
            rows = batch[0] if batch else pa.RecordBatch.from_pylist([], schema=pa.table(columns).schema)
            file = write_batch(folder, "groups.arrow", rows)
            write_manifest(folder, {"name": file.name, "size": file.size, "sha256": file.sha256})

    def _columns(self, slots: Longs) -> dict[str, pa.ChunkedArray]:
        keys = self.keys_of(slots) if len(self._schema) else None
        return {name: keys.column(name) for name in self._schema.names} if keys is not None else {}

    def load(self, folder: Path) -> tuple[pa.Table, pa.Table]:
        """Reads back what `save` wrote: keys, and their state.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        manifest = read_manifest(folder)
        file = StateFile(str(manifest["name"]), int(str(manifest["size"])), str(manifest["sha256"]))
        rows = pa.Table.from_batches([read_batch(folder, file)])
        keys = rows.select([f"key:{name}" for name in self._schema.names]).rename_columns(self._schema.names)
        names = [name for name in rows.column_names if name.startswith("state:")]
        return keys, rows.select(names).rename_columns([name.removeprefix("state:") for name in names])
