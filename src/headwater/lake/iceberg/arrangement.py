"""Rows as a table's files are to hold them: one part for each partition, in the table's sort order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.partitioning import PartitionField
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from headwater.index.key_index import group
from headwater.lake.iceberg.partitions import layout_of, partition_values, record_of
from headwater.lake.iceberg.schema import columns_of

_PART = "_headwater_part"


@dataclass(frozen=True)
class Part:
    """The rows of one file to be.

    Attributes:
        partition: the partition that they are in, of the table's present spec.
        rows: in the order of the file.
    """

    partition: Record
    rows: pa.Table


@dataclass(frozen=True)
class Arrangement:
    """How new files of a table lie, by its metadata."""

    metadata: TableMetadata

    @property
    def spec_id(self) -> int:
        """The partition spec of new files."""
        return self.metadata.default_spec_id

    @property
    def sort_order_id(self) -> int | None:
        """The sort order of new files; None if they have none."""
        return self.metadata.default_sort_order_id or None

    @cached_property
    def _fields(self) -> tuple[PartitionField, ...]:
        return self.metadata.spec().fields

    @cached_property
    def _sort_keys(self) -> list[tuple[str, str, str]]:
        return [
            (
                by.column,
                "descending" if by.descending else "ascending",
                "at_start" if by.nulls_first else "at_end",
            )
            for by in layout_of(self.metadata).sort
        ]

    @cached_property
    def bloom(self) -> tuple[str, ...]:
        """Columns with a Bloom filter."""
        return layout_of(self.metadata).bloom

    def sorting_columns(self, columns: list[str]) -> list[pq.SortingColumn] | None:
        """What a file says of its order."""
        found = [
            pq.SortingColumn(columns.index(name), descending=order == "descending", nulls_first=nulls == "at_start")
            for name, order, nulls in self._sort_keys
        ]
        return found or None

    def parts(self, rows: pa.Table) -> list[Part]:
        """The rows in parts, each in order; rows that nothing orders stay in theirs. A column that a partition or the
        order goes by and that the rows lack is null in all."""
        if not rows.num_rows:
            return []
        rows = self._filled(rows)
        if not self._fields:
            return [Part(Record(), _ordered(rows, self._sort_keys))]
        schema = self.metadata.schema()
        values = [
            partition_values(rows.column(schema.find_field(f.source_id).name), f.transform, schema, f.source_id)
            for f in self._fields
        ]
        named = pa.table(values, names=[f"p{number}" for number in range(len(values))])
        numbers, firsts = group(named, named.schema)
        ordered = _ordered(
            rows.append_column(_PART, pa.array(numbers)), [(_PART, "ascending", "at_end"), *self._sort_keys]
        )
        ends = np.cumsum(np.bincount(numbers, minlength=len(firsts))).tolist()
        whole = ordered.drop_columns([_PART])
        return [
            Part(record_of(values, first), whole.slice(start, end - start))
            for first, start, end in zip(firsts.tolist(), [0, *ends], ends, strict=False)
        ]

    def _filled(self, rows: pa.Table) -> pa.Table:
        schema = self.metadata.schema()
        wanted = [schema.find_field(f.source_id).name for f in self._fields] + [name for name, _, _ in self._sort_keys]
        for name in dict.fromkeys(wanted):
            if name not in rows.column_names:
                kind = _arrow_type(self.metadata, name)
                rows = rows.append_column(pa.field(name, kind), pa.nulls(rows.num_rows, kind))
        return rows


def _arrow_type(metadata: TableMetadata, column: str) -> pa.DataType:
    return columns_of(metadata.schema()).field(column).type


def _ordered(rows: pa.Table, keys: list[tuple[str, str, str]]) -> pa.Table:
    """The rows sorted, equal ones in the order they came in."""
    if not keys or rows.num_rows < 2:
        return rows
    return rows.take(pc.sort_indices(rows, sort_keys=keys))
