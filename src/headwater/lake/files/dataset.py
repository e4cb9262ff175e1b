"""A version of a table of files as a PyArrow Dataset: what DuckDB, Polars and Arrow read through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from headwater.errors import FilesExpired, StorageFailed
from headwater.lake.files.log import VersionLog, disk_errors
from headwater.lake.files.rows import live_rows, read_rows
from headwater.lake.files.version import Shape, Version


class VersionDataset(pads.Dataset):  # type: ignore[misc] # PyArrow has no types
    """The rows of a version, read file after file and only in the columns that a scan wants.

    Args:
        log: where the files lie.
        version: which; None: no rows.
        shape: the table's columns, by whose numbers files are read.
        columns: what is to be read, lake types.
        table: the table's name, for messages.
    """

    def __init__(self, log: VersionLog, version: Version | None, shape: Shape, columns: pa.Schema, table: str) -> None:
        self._log, self._version, self._shape, self._columns, self._table = log, version, shape, columns, table

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._columns

    def scanner(
        self, columns: Sequence[str] | Mapping[str, pc.Expression] | None = None, filter: pc.Expression | None = None,
        batch_size: int | None = None, **_: Any,
    ) -> pads.Scanner:  # fmt: skip
        """See `pyarrow.dataset.Dataset.scanner`; may be scanned once.

        Raises:
            FilesExpired: a file is gone; while the rows are read.
        """
        wanted = self._wanted(columns, filter)
        reader = pa.RecordBatchReader.from_batches(wanted, self._batches(wanted))
        return pads.Scanner.from_batches(reader, columns=columns, filter=filter)

    def _wanted(self, columns: Iterable[str] | Mapping[str, pc.Expression] | None, filter: object) -> pa.Schema:
        """The columns that a scan needs: also those of its filter. A column too many is no harm."""
        if columns is None:
            return self._columns
        given = columns.values() if isinstance(columns, Mapping) else ()
        text = " ".join(map(str, [*given, filter]))
        names = set(columns) if not isinstance(columns, Mapping) else set()
        found = [field for field in self._columns if field.name in names or field.name in text]
        return pa.schema(found or list(self._columns)[:1])

    def _batches(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
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
