"""Files that are read by rows: Parquet, and Avro's object container files."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.errors import UserError
from headwater.formats.avro.container import AvroContainer, DamagedContainer, cut

ROWS = 65_536
"""Most rows read at once."""
ENOUGH = 64 << 20
"""Bytes of an Avro file, unpacked, after which no further block is read at once."""
MOST_BLOCK = 256 << 20
"""Bytes of a block of an Avro file, unpacked; writers make them of some ten thousand."""


def read_rows(path: str, kind: str, first: int) -> tuple[pa.RecordBatch, int, str]:
    """The next rows of a file.

    Args:
        path: of the file.
        kind: "parquet" or "avro-files".
        first: number of the first row wanted.

    Returns:
        The rows; how many the file has, or one more than these if that is not known; and what is wrong with the file,
        which may not be complete yet, or "".
    """
    try:
        return (*(_parquet if kind == "parquet" else _avro)(path, first), "")
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, EOFError, LookupError, TypeError, UserError) as error:
        told = str(error).splitlines()
        return pa.RecordBatch.from_pylist([], schema=pa.schema([])), 0, told[0] if told else type(error).__name__


def _parquet(path: str, first: int) -> tuple[pa.RecordBatch, int]:
    with pq.ParquetFile(path) as file:
        total, before = file.metadata.num_rows, 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if before + rows > first:
                return _within(file, group, first - before), total
            before += rows
        return _none(file), total


def _none(file: pq.ParquetFile) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=file.schema_arrow)


def _within(file: pq.ParquetFile, group: int, first: int) -> pa.RecordBatch:
    """The next rows of a row group."""
    passed = 0
    for batch in file.iter_batches(batch_size=ROWS, row_groups=[group]):
        if passed + batch.num_rows > first:
            return batch.slice(first - passed)
        passed += batch.num_rows
    return _none(file)


def _avro(path: str, first: int) -> tuple[pa.RecordBatch, int]:
    """Rows from the block on that the first of them is in; blocks before it are not unpacked."""
    parts: list[pa.RecordBatch] = []
    with open(path, "rb") as opened:
        file, before, at, size = AvroContainer(opened), 0, first, 0
        blocks = file.blocks()
        try:
            while at - first < ROWS and size < ENOUGH and (block := next(blocks, None)) is not None:
                if before + block.count > at:
                    data = file.unpacked(block, MOST_BLOCK)
                    found = cut(file.program, data, block.count)
                    parts.append(found.rows.slice(at - before))
                    at, size = before + found.rows.num_rows, size + len(data)
                    if found.bad is not None:
                        raise DamagedContainer(f"byte {block.at}: row {at}: {found.bad.text}")
                before += block.count
        except DamagedContainer:
            if at == first:
                raise
    rows = pa.Table.from_batches(parts).combine_chunks().to_batches() if at > first else []
    return rows[0] if rows else pa.RecordBatch.from_pylist([], schema=pa.schema([])), at + bool(rows)
