"""Rows that are to take the place of all that a table has, in files beside its own, written while it goes on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata

from headwater.errors import StorageFailed
from headwater.lake.columns import lake_columns
from headwater.lake.iceberg.commit_plan import CommitPlan, StagedEpoch
from headwater.lake.iceberg.data_file import FileWriter
from headwater.lake.iceberg.index_keeper import IndexKeeper
from headwater.lake.iceberg.parts import key_columns, net_of, write_part
from headwater.lake.table_format import TableSpec


class IcebergReplacement:
    """See `headwater.lake.table_format.Replacement`.

    Args:
        metadata: the table as it will be when the rows take their place.
        io: where its files go.
        spec: what it will look like.
        indexes: makes its key index.
    """

    def __init__(self, metadata: TableMetadata, io: FileIO, spec: TableSpec, indexes: IndexKeeper) -> None:
        self.spec = replace(spec, columns=lake_columns(spec.columns))
        self.rows = 0
        self._metadata, self._io = metadata, io
        self._files = FileWriter(metadata, io)
        self._staged = StagedEpoch(0, replace=True)
        self.index = indexes.empty(key_columns(self.spec), unique=bool(spec.key))

    @property
    def written(self) -> tuple[str, ...]:
        """Locations of the files begun, until they are the table's."""
        return tuple(self._files.written)

    def write(self, delta: pa.Table) -> None:
        """Writes what comes on top of what was written; see the contract."""
        net = net_of(delta, self.spec)
        plan = CommitPlan(net.added, self.index, self.index.plan(net))
        try:
            written, deletes = write_part(self._files, plan)
        except OSError as error:
            raise StorageFailed(
                f"table {self.spec.name!r}: its new rows could not be written: {error}",
                hint="look at the disk of the lake folder (df -h, dmesg); the former rows are untouched",
            ) from error
        plan.apply(written, None)
        self._staged.added += [one.file for one in written]
        self._staged.deletes += deletes
        self.rows += net.added.num_rows - int(net.counts.sum())

    def discard(self) -> None:
        """Removes its files, unless they are a table's."""
        for location in self._files.written:
            with suppress(OSError):
                self._io.delete(location)
        self._files.written.clear()

    def fits(self, metadata: TableMetadata, key: tuple[str, ...]) -> bool:
        """Whether the files and the index are as the table's would be now."""
        same_place = metadata.location == self._metadata.location and metadata.spec() == self._metadata.spec()
        return key == self.spec.key and same_place and self._files.fits(metadata)

    def release(self, epoch: int, files: FileWriter) -> StagedEpoch:
        """Gives its files away, as those of an epoch that `files` writes."""
        files.written[:] = self._files.written
        self._files.written.clear()
        self._staged.epoch = epoch
        return self._staged
