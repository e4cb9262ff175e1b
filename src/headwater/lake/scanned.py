"""A PyArrow Dataset of rows that are read while they are scanned: how DuckDB, Polars and Arrow read any format."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads


class ScannedDataset(pads.Dataset):  # type: ignore[misc] # PyArrow has no types
    """Rows that are read while they are scanned, and only in the columns that the scan wants.

    Args:
        columns: what is to be read, lake types.
    """

    def __init__(self, columns: pa.Schema) -> None:
        self._columns = columns

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
        reader = pa.RecordBatchReader.from_batches(wanted, self._batches(wanted, filter))
        return pads.Scanner.from_batches(reader, columns=columns, filter=filter)

    def _wanted(self, columns: Iterable[str] | Mapping[str, pc.Expression] | None, filter: object) -> pa.Schema:
        """The columns that a scan needs: also those of its filter. A column too many is no harm."""
        if columns is None:
            return self._columns
        given = columns.values() if isinstance(columns, Mapping) else ()
        text = " ".join(map(str, [*given, filter]))
        names = set(columns) if not isinstance(columns, Mapping) else set()
        return pa.schema([field for field in self._columns if field.name in names or field.name in text])

    @abstractmethod
    def _batches(self, wanted: pa.Schema, filter: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        """The rows in those columns; what the filter would drop may be among them."""
