"""Parquet files of a table: data files and position delete files, made durable and described for a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    StatisticsCollector,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from headwater.index.kernels import Longs
from headwater.lake.iceberg.arrangement import Arrangement, Part
from headwater.lake.iceberg.schema import FIELD_ID, file_schema, fill_columns

PATH_FIELD_ID, POSITION_FIELD_ID = 2147483546, 2147483545
"""Reserved ids of the columns of a position delete file (Iceberg spec, appendix "Reserved Field IDs")."""

BLOOM_FALSE = 0.01
"""How often a Bloom filter says of a value that is not in a file that it may be."""

_ROW_BITS = 32
"""A place as one number: the file's rank above, the row below."""

_POSITION_DELETES = pa.schema(
    [
        pa.field(
            "file_path", pa.dictionary(pa.int32(), pa.string()), nullable=False, metadata={FIELD_ID: str(PATH_FIELD_ID)}
        ),
        pa.field("pos", pa.int64(), nullable=False, metadata={FIELD_ID: str(POSITION_FIELD_ID)}),
    ]
)


@dataclass(frozen=True)
class FileHome:
    """A data file: what a position delete of its rows must say of it."""

    path: str
    spec_id: int = 0
    partition: Record = field(default_factory=Record)

    @classmethod
    def of(cls, file: DataFile) -> FileHome:
        """That of a data file."""
        return cls(file.file_path, file.spec_id, file.partition)


@dataclass(frozen=True)
class WrittenFile:
    """A new data file, as a manifest describes it, and the rows in it in its order."""

    file: DataFile
    rows: pa.Table


@dataclass(frozen=True)
class FileWriter:
    """Writes files for one state of a table's schema.

    Attributes:
        metadata: the table's metadata; location, schema and properties are used.
        io: where files go.
        written: location of every file begun, whole or not.
    """

    metadata: TableMetadata
    io: FileIO
    written: list[str] = field(default_factory=list)

    @cached_property
    def _schema(self) -> pa.Schema:
        return file_schema(self.metadata.schema())

    @cached_property
    def _statistics(self) -> dict[int, StatisticsCollector]:
        return compute_statistics_plan(self.metadata.schema(), self.metadata.properties)

    @cached_property
    def _paths(self) -> dict[str, int]:
        return parquet_path_to_id_mapping(self.metadata.schema())

    def _new_location(self, ending: str) -> str:
        location = f"{self.metadata.location}/data/{uuid4()}{ending}"
        self.written.append(location)
        return location

    @cached_property
    def _arrangement(self) -> Arrangement:
        return Arrangement(self.metadata)

    def fits(self, metadata: TableMetadata) -> bool:
        """Whether files for the table as it is now are written as by this writer."""
        return _shape(metadata) == _shape(self.metadata)

    def write_rows(self, rows: pa.Table) -> list[WrittenFile]:
        """Writes rows (lake types; columns that are missing are null) to new data files, one for each partition, in the
        table's sort order. Columns that the table does not have are not written, and stand beside the rows in what is
        returned.

        Raises:
            OSError: the storage is full or fails; files may lie there half written, under names nobody knows.
        """
        return [WrittenFile(self._write_part(part), part.rows) for part in self._arrangement.parts(rows)]

    def _write_part(self, part: Part) -> DataFile:
        location, arrangement = self._new_location(".parquet"), self._arrangement
        filters = {name: {"ndv": part.rows.num_rows, "fpp": BLOOM_FALSE} for name in arrangement.bloom}
        written, size = self._write_parquet(
            fill_columns(part.rows, self._schema),
            location,
            bloom_filter_options=filters or None,
            sorting_columns=arrangement.sorting_columns(self._schema.names),
        )
        statistics = data_file_statistics_from_parquet_metadata(written, self._plan(written), self._paths)
        home = FileHome(location, arrangement.spec_id, part.partition)
        order = arrangement.sort_order_id
        return _describe(home, size, DataFileContent.DATA, order, **statistics.to_serialized_dict())

    def _write_parquet(self, rows: pa.Table, location: str, **options: object) -> tuple[pq.FileMetaData, int]:
        """Writes a file, durable when this returns; what its footer says, and its size in bytes."""
        collected: list[pq.FileMetaData] = []
        with self.io.new_output(location).create() as stream:
            pq.write_table(
                rows,
                stream,
                compression="zstd",
                store_schema=False,
                store_decimal_as_integer=True,
                metadata_collector=collected,
                **options,
            )
            size = stream.tell()
        return collected[0], size

    def _plan(self, written: pq.FileMetaData) -> dict[int, StatisticsCollector]:
        """Which statistics are kept of a file: no bounds of columns whose bounds Python has no words for (infinity,
        years before 1 and after 9999), over which PyIceberg would stumble. Readers then just do not skip the file."""
        beyond = {
            self._paths[chunk.path_in_schema]
            for group in range(written.num_row_groups)
            for chunk in map(written.row_group(group).column, range(written.num_columns))
            if not _has_words(chunk)
        }
        counts = MetricsMode(MetricModeTypes.COUNTS)
        return {
            number: replace(collector, mode=counts) if number in beyond else collector
            for number, collector in self._statistics.items()
        }

    def write_deletes(self, homes: Sequence[FileHome], files: Longs, rows: Longs) -> list[DataFile]:
        """Writes position delete files, one to a partition.

        Args:
            homes: data files by number.
            files: the number of each deleted row's file.
            rows: each deleted row's position in its file, from 0.

        Raises:
            OSError: as `write_rows`.
        """
        named = np.unique(files).tolist()
        parts: dict[tuple[int, str], list[int]] = {}
        for number in named:
            parts.setdefault((homes[number].spec_id, repr(homes[number].partition)), []).append(number)
        if len(parts) == 1:
            return [self._write_deletes(homes, named, files, rows)]
        part_of = np.zeros(max(named) + 1, np.int64)
        for place, numbers in enumerate(parts.values()):
            part_of[numbers] = place
        of = part_of[files]
        return [
            self._write_deletes(homes, numbers, files[of == place], rows[of == place])
            for place, numbers in enumerate(parts.values())
        ]

    def _write_deletes(self, homes: Sequence[FileHome], named: Sequence[int], files: Longs, rows: Longs) -> DataFile:
        """Writes the deletes of rows of data files of one partition."""
        named = sorted(named, key=lambda number: homes[number].path)
        rank = np.zeros(max(named) + 1, np.int64)
        rank[named] = np.arange(len(named))
        places = np.sort(rank[files] << _ROW_BITS | rows)
        names = pa.DictionaryArray.from_arrays(
            pa.array(places >> _ROW_BITS, pa.int32()), pa.array([homes[number].path for number in named], pa.string())
        )
        location = self._new_location("-deletes.parquet")
        columns = [names, pa.array(places & ((1 << _ROW_BITS) - 1))]
        _, size = self._write_parquet(pa.table(columns, schema=_POSITION_DELETES), location)
        return _describe(
            replace(homes[named[0]], path=location),
            size,
            DataFileContent.POSITION_DELETES,
            record_count=len(rows),
            lower_bounds={PATH_FIELD_ID: homes[named[0]].path.encode()},
            upper_bounds={PATH_FIELD_ID: homes[named[-1]].path.encode()},
        )


def _shape(metadata: TableMetadata) -> tuple[object, ...]:
    """All that decides how files are written."""
    properties = {name: value for name, value in metadata.properties.items() if name.startswith("write.")}
    return metadata.schema(), metadata.default_spec_id, metadata.default_sort_order_id, properties


def _has_words(chunk: pq.ColumnChunkMetaData) -> bool:
    try:
        return chunk.statistics is None or (chunk.statistics.min, chunk.statistics.max) is not None
    except (OverflowError, ValueError):
        return False


def _describe(
    home: FileHome, size: int, content: DataFileContent, sort_order_id: int | None = None, **statistics: object
) -> DataFile:
    described = DataFile.from_args(
        content=content,
        file_path=home.path,
        file_format=FileFormat.PARQUET,
        partition=home.partition,
        file_size_in_bytes=size,
        sort_order_id=sort_order_id,
        equality_ids=None,
        key_metadata=None,
        **statistics,  # type: ignore[arg-type]
    )
    described.spec_id = home.spec_id
    return described
