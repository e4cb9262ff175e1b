"""Writes rejects into a file for others: NDJSON, CSV or Parquet."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from headwater.durable import fsync_path
from headwater.errors import UserError

BATCH = 10_000
COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("state", pa.string()),
        ("stage", pa.string()),
        ("stream", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("position", pa.string()),
        ("key", pa.string()),
        ("attempts", pa.int64()),
        ("weight", pa.int64()),
        ("epoch", pa.int64()),
        ("project", pa.string()),
        ("version", pa.string()),
        ("first_seen", pa.string()),
        ("last_seen", pa.string()),
        ("rows", pa.string()),
        ("record", pa.binary()),
    ]
)
"""`rows` is JSON, what the record would have been; `record` the raw bytes, in text formats as base64."""


def write(file: Path, rejects: Iterable[Mapping[str, object]]) -> int:
    """Writes them, and returns how many. The file stands there whole or not at all.

    Args:
        file: its ending says the format.
        rejects: values by the names in `COLUMNS`.

    Raises:
        UserError: the ending is none of those known.
    """
    writers: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
        ".parquet": lambda path: pq.ParquetWriter(path, COLUMNS, compression="zstd"),
        ".csv": lambda path: pacsv.CSVWriter(path, _as_text(COLUMNS)),
        ".ndjson": _Lines,
    }
    make = writers.get(file.suffix)
    if make is None:
        raise UserError(f"no format for {file.name!r}", hint=f"give it one of the endings {', '.join(writers)}")
    partly, count = file.with_name(file.name + ".partly"), 0
    with make(partly) as writer:
        for batch in _batches(rejects):
            count += batch.num_rows
            writer.write_batch(batch if file.suffix == ".parquet" else _in_text(batch))
    fsync_path(partly)
    partly.replace(file)
    fsync_path(file.parent)
    return count


class _Lines:
    """Batches as lines of JSON."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Adds the rows."""
        self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())


def _batches(rejects: Iterable[Mapping[str, object]]) -> Iterator[pa.RecordBatch]:
    rest = iter(rejects)
    while rows := list(islice(rest, BATCH)):
        yield pa.RecordBatch.from_pylist(rows, schema=COLUMNS)


def _as_text(columns: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_type(pa.string()) if pa.types.is_binary(field.type) else field for field in columns])


def _in_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    record = pa.array([base64.b64encode(value).decode() for value in batch.column("record").to_pylist()], pa.string())
    return pa.RecordBatch.from_arrays([*batch.columns[:-1], record], schema=_as_text(batch.schema))
