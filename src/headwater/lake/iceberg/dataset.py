"""A table snapshot as a PyArrow Dataset: what DuckDB, Polars and Arrow read through.

They hand over which columns they want and a filter. Files are left out by the bounds that their manifest entries have
for the filter's columns, row groups by their own statistics; what is left is read several row groups at a time, with
deleted rows dropped and columns found by field id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntry
from pyiceberg.schema import Schema
from pyiceberg.types import BinaryType, BooleanType, DoubleType, FixedType, FloatType, PrimitiveType, UUIDType

from headwater.errors import FilesExpired, UserError
from headwater.index.kernels import Longs
from headwater.lake.iceberg.scan import names_by_id, positions_by_path
from headwater.lake.iceberg.schema import project
from headwater.lake.scanned import ScannedDataset

READERS = 4
"""Row groups read at a time; PyArrow decodes the columns of each on threads of its own."""

_NO_BOUNDS = (FloatType, DoubleType, BooleanType, UUIDType, FixedType, BinaryType)
"""Types whose bounds are not used: of floats they leave NaN out, and the rest hardly ever sorts rows."""

_PARQUET = pads.ParquetFileFormat()
_NOWHERE = pafs.LocalFileSystem()


@dataclass
class ScanCounts:
    """What the scans of a dataset have touched, for tests and the curious."""

    files: int = 0
    files_read: int = 0
    row_groups_read: int = 0


class SnapshotDataset(ScannedDataset):
    """The rows of one table snapshot.

    Args:
        io: where files are read.
        entries: of the snapshot's data and delete files.
        schema: the table's schema, whose field ids say which column of a file is which.
        columns: what is to be read, lake types.
        table: the table's name, for messages.

    Attributes:
        counts: what scans have read.
        lost: what went wrong if a file was gone, for whoever hears of it only through DuckDB.
    """

    def __init__(
        self, io: FileIO, entries: Iterable[ManifestEntry], schema: Schema, columns: pa.Schema, table: str
    ) -> None:
        super().__init__(columns)
        self._io, self._schema, self._table = io, schema, table
        files = [entry.data_file for entry in entries]
        self._data = [file for file in files if file.content == DataFileContent.DATA]
        self._deletes = [file for file in files if file.content != DataFileContent.DATA]
        self.counts = ScanCounts(files=len(self._data))
        self.lost: FilesExpired | None = None
        for file in self._data:
            if file.file_format != FileFormat.PARQUET:
                raise UserError(
                    f"table {table!r} has data files in {file.file_format}, which Headwater does not read",
                    hint="rewrite them as Parquet in the engine that wrote them",
                )

    def _batches(self, wanted: pa.Schema, filter: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        files = self._kept(filter)
        try:
            deletes = self._deleted(files)
            tasks = chain.from_iterable(self._row_groups(file, wanted, filter, deletes) for file in files)
            for rows in _in_order(tasks):
                yield from rows.to_batches()
        except FilesExpired as error:
            self.lost = error
            raise

    def _kept(self, filter: pc.Expression | None) -> list[DataFile]:
        """The files that may have rows that pass the filter, by the bounds in the manifests."""
        if filter is None:
            return self._data
        text = str(filter)
        columns = {
            field.field_id: (field.name, field.field_type)
            for field in self._schema.fields
            if field.name in text and isinstance(field.field_type, PrimitiveType)
            if not isinstance(field.field_type, _NO_BOUNDS)
        }
        kept = []
        for file in self._data:
            guarantee = _guarantee(file, columns, self._columns)
            if guarantee is None or _may_pass(guarantee, filter, self._columns):
                kept.append(file)
        return kept

    def _deleted(self, files: Sequence[DataFile]) -> dict[str, Longs]:
        if not self._deletes:
            return {}
        with _expiry(self._table):
            return positions_by_path(self._io, self._deletes, {file.file_path for file in files})

    def _row_groups(
        self, file: DataFile, wanted: pa.Schema, filter: pc.Expression | None, deletes: Mapping[str, Longs]
    ) -> Iterator[_RowGroup]:
        """What there is to read of a file; its footer is read here."""
        with _expiry(self._table), self._io.new_input(file.file_path).open() as stream:
            footer = pq.read_metadata(stream)
            ids = names_by_id(footer.schema.to_arrow_schema(), self._schema)
            numbers: Sequence[int] = range(footer.num_row_groups)
            if filter is not None:
                numbers = self._groups_kept(stream, footer, ids, filter)
        self.counts.files_read += 1
        first = np.cumsum([0, *(footer.row_group(n).num_rows for n in range(footer.num_row_groups))])
        deleted = deletes.get(file.file_path)
        for number in numbers:
            self.counts.row_groups_read += 1
            start, stop = int(first[number]), int(first[number + 1])
            gone = None if deleted is None else deleted[slice(*np.searchsorted(deleted, [start, stop]))] - start
            yield _RowGroup(self._io, self._table, file.file_path, footer, number, ids, gone, self._schema, wanted)

    def _groups_kept(
        self, stream: Any, footer: pq.FileMetaData, ids: Mapping[int, str], filter: pc.Expression
    ) -> Sequence[int]:
        """Row groups that may have rows that pass. Only if the file has the filter's columns as they are today."""
        text, held = str(filter), footer.schema.to_arrow_schema()
        every = range(footer.num_row_groups)
        for field in self._schema.fields:
            if field.name in text:
                name = ids.get(field.field_id)
                if name != field.name or held.field(name).type != self._columns.field(name).type:
                    return every
        stream.seek(0)
        fragment = _PARQUET.make_fragment(pa.PythonFile(stream, mode="r"))
        return [group.id for group in fragment.subset(filter=filter, schema=self._columns).row_groups]


@dataclass(frozen=True)
class _RowGroup:
    """One row group to read.

    Attributes:
        deleted: its deleted rows, ascending, from 0; None if there are none.
        ids: the file's column names by field id.
    """

    io: FileIO
    table: str
    path: str
    footer: pq.FileMetaData
    number: int
    ids: Mapping[int, str]
    deleted: Longs | None
    schema: Schema
    wanted: pa.Schema

    def read(self) -> pa.Table:
        """Its rows that are there."""
        fields = (self.schema.find_field(name).field_id for name in self.wanted.names)
        names = [self.ids[number] for number in fields if number in self.ids]
        with _expiry(self.table), self.io.new_input(self.path).open() as stream:
            if names:
                with pq.ParquetFile(stream, metadata=self.footer, pre_buffer=True) as file:
                    rows = file.read_row_group(self.number, columns=names)
            else:
                rows = pa.table({"": pa.nulls(self.footer.row_group(self.number).num_rows)})
        if self.deleted is not None and len(self.deleted):
            there = np.ones(rows.num_rows, np.bool_)
            there[self.deleted] = False
            rows = rows.filter(pa.array(there))
        return project(rows, dict(self.ids), self.schema, self.wanted)


@contextmanager
def _expiry(table: str) -> Iterator[None]:
    """Says in our own words that a file which the snapshot names is gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise FilesExpired(
            f"table {table!r}: the table snapshot that is being read has expired, a file of it is gone: {error}",
            hint="read the table again; to keep a moment, tag it (headwater tables tag)",
        ) from error


def _guarantee(
    file: DataFile, columns: Mapping[int, tuple[str, PrimitiveType]], types: pa.Schema
) -> pc.Expression | None:
    """What a manifest entry says of all rows of a file in these columns; None if it says nothing."""
    found: pc.Expression | None = None
    for number, (name, kind) in columns.items():
        said = _column_guarantee(file, number, kind, types.field(name))
        if said is not None:
            found = said if found is None else found & said
    return found


def _column_guarantee(file: DataFile, number: int, kind: PrimitiveType, field: pa.Field) -> pc.Expression | None:
    reference = pc.field(field.name)
    nulls = (file.null_value_counts or {}).get(number)
    low, high = (file.lower_bounds or {}).get(number), (file.upper_bounds or {}).get(number)
    if low is None or high is None:
        rows = (file.value_counts or {}).get(number)
        return reference.is_null() if nulls and nulls == rows else None
    if len(low) < _width(kind):
        return None  # written as a narrower type, before the column was widened
    above, below = reference >= _scalar(kind, low, field.type), reference <= _scalar(kind, high, field.type)
    if nulls == 0:
        return above & below
    return (above | reference.is_null()) & (below | reference.is_null())  # the only shape that PyArrow sees through


def _width(kind: PrimitiveType) -> int:
    return 8 if str(kind) in ("long", "timestamp", "timestamptz", "time") else 0


def _scalar(kind: PrimitiveType, bound: bytes, arrow: pa.DataType) -> pa.Scalar:
    value = from_bytes(kind, bound)
    if pa.types.is_date32(arrow):
        return pa.scalar(value, pa.int32()).cast(arrow)
    if pa.types.is_timestamp(arrow) or pa.types.is_time64(arrow):
        return pa.scalar(value, pa.int64()).cast(arrow)
    return pa.scalar(value, arrow)


def _may_pass(guarantee: pc.Expression, filter: pc.Expression, schema: pa.Schema) -> bool:
    """Whether a row of which the guarantee is true may pass the filter, as PyArrow finds by simplifying it."""
    fragment = _PARQUET.make_fragment("/of/no/concern", _NOWHERE, partition_expression=guarantee)
    dataset = pads.FileSystemDataset([fragment], schema, _PARQUET, _NOWHERE)
    return any(True for _ in dataset.get_fragments(filter))


def _in_order(tasks: Iterable[_RowGroup]) -> Iterator[pa.Table]:
    """Reads ahead on threads, and yields in order."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="lake-read")
    waiting: deque[Future[pa.Table]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task.read))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=False)
