"""A version of a table of files as a PyArrow Dataset: what DuckDB, Polars and Arrow read through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import FilesExpired, StorageFailed
from headwater.lake.files.log import VersionLog, disk_errors
from headwater.lake.files.rows import live_rows, read_rows
from headwater.lake.files.version import Shape, Version
from headwater.lake.scanned import ScannedDataset


class VersionDataset(ScannedDataset):
    """The rows of a version, read file after file and only in the columns that a scan wants.

    Args:
        log: where the files lie.
        version: which; None: no rows.
        shape: the table's columns, by whose numbers files are read.
        columns: what is to be read, lake types.
        table: the table's name, for messages.
    """

    def __init__(self, log: VersionLog, version: Version | None, shape: Shape, columns: pa.Schema, table: str) -> None:
        super().__init__(columns)
        self._log, self._version, self._shape, self._table = log, version, shape, table

    def _wanted(self, columns: Iterable[str] | Mapping[str, pc.Expression] | None, filter: object) -> pa.Schema:
        """See `ScannedDataset`; one column at least, by which the rows are counted."""
        wanted = super()._wanted(columns, filter)
        return wanted if len(wanted) else pa.schema(list(self._columns)[:1])

    def _batches(self, wanted: pa.Schema, filter: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        if self._version is None:
            return
        for file in self._version.files.values():
            path = self._log.path(self._version.head.number, file.name)
            try:
                with disk_errors(f"reading table {self._table!r}"):
                    rows = read_rows(path, self._shape, wanted, self._log.constants(file))
            except StorageFailed as error:
                if not path.exists():
                    raise FilesExpired(
                        f"table {self._table!r}: the version that is being read has expired, a file of it is gone",
                        hint="read the table again",
                    ) from error
                raise
            yield from live_rows(rows, file.deleted)[0].to_batches()
