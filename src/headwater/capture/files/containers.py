"""Files that are read by rows: Parquet, and Avro's object container files."""

from __future__ import annotations

from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 65_536
"""Most rows read at once."""


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
    except (pa.ArrowException, OSError, ValueError, EOFError, LookupError, TypeError) as error:
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
    from fastavro import reader

    with open(path, "rb") as opened:
        rows = list(islice(reader(opened), first, first + ROWS))
    made = pa.Table.from_pylist(rows).combine_chunks().to_batches() if rows else []
    batch = made[0] if made else pa.RecordBatch.from_pylist([], schema=pa.schema([]))
    return batch, first + len(rows) + (len(rows) == ROWS)
