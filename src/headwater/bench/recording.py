"""Changes put aside on disk, so that keeping them costs the measured process no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa


class Recording:
    """An Arrow file of changes.

    Args:
        path: where it is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.RecordBatchFileWriter | None = None

    def add(self, changes: pa.Table) -> None:
        """Writes changes at the end."""
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
            self._writer = pa.ipc.new_file(str(self._path), changes.schema, options=options)
        self._writer.write_table(changes)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """What was written, in order; nothing can be added any more."""
        if self._writer is None:
            return
        self._writer.close()
        with pa.OSFile(str(self._path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
