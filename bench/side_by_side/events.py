"""The rows that all engines read: made once by Headwater's generator, kept in files that the page cache serves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.bench.nexmark import generator, text, timeline
from headwater.bench.nexmark.generator import Generator
from headwater.bench.nexmark.queries import SIDE_INPUT, side_input

BATCH_EVENTS = 100_000
_LARGEST_BYTES = 2**31 - 1

Batches = Iterator[dict[str, pa.Table]]


@dataclass(frozen=True)
class Events:
    """Generated rows of one size, seed and rate; files are written on first use and kept.

    Attributes:
        folder: where files of all sizes are kept.
        count: events of all kinds.
        seed: of the generator.
        rate: events to a second of event time.
    """

    folder: Path
    count: int
    seed: int = 1
    rate: float = 10_000

    def columns(self) -> Path:
        """A folder per table with a file per column, as bench/flink/java/nexmark/ColumnFiles.java reads it."""
        return self._made("columns", BATCH_EVENTS, _write_columns)

    def parquet(self, file_events: int) -> Path:
        """A folder per table with uncompressed Parquet files, each with the rows of `file_events` events."""
        return self._made(f"parquet-{file_events}", file_events, _write_parquet)

    def _made(self, form: str, batch_events: int, write: Callable[[Batches, Path], None]) -> Path:
        found = self.folder / f"nexmark-{self.count}-{self.seed}-{self.rate:g}-{_generator()}-{form}"
        if not found.exists():
            partial = found.with_name(f"{found.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            write(self._batches(batch_events), partial)
            partial.rename(found)
        return found

    def _batches(self, batch_events: int) -> Batches:
        yield {SIDE_INPUT: side_input()}
        yield from Generator(self.seed, self.rate).batches(self.count, batch_events)


def _generator() -> str:
    """A digest of the generator's text: rows that it made before it was changed are not taken again."""
    modules = (generator, text, timeline)
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()[:8]


def _write_columns(batches: Batches, folder: Path) -> None:
    rows: dict[str, int] = {}
    for batch in batches:
        for table, content in batch.items():
            (folder / table).mkdir(parents=True, exist_ok=True)
            for name in content.column_names:
                _append(folder / table, name, content.column(name).combine_chunks())
            rows[table] = rows.get(table, 0) + content.num_rows
    for table, count in rows.items():
        (folder / table / "rows").write_text(str(count), encoding="ascii")


def _append(folder: Path, name: str, column: pa.Array) -> None:
    if not pa.types.is_string(column.type):
        values = column.cast(pa.timestamp("ms")) if pa.types.is_timestamp(column.type) else column
        _add(folder / f"{name}.i64", values.view(pa.int64()).to_numpy())
        return
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    content = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    before = _size(folder / f"{name}.bytes")
    if before + len(content) > _LARGEST_BYTES:
        raise ValueError(f"{folder.name}.{name} is larger than the 2 GiB that one mapping holds: take fewer events")
    if not before:
        _add(folder / f"{name}.offsets", np.zeros(1, np.int32))
    _add(folder / f"{name}.offsets", (offsets[1:] - offsets[0] + np.int64(before)).astype(np.int32))
    _add(folder / f"{name}.bytes", content)


def _add(path: Path, values: npt.NDArray[Any]) -> None:
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(values).data)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write_parquet(batches: Batches, folder: Path) -> None:
    for number, batch in enumerate(batches):
        for table, content in batch.items():
            (folder / table).mkdir(parents=True, exist_ok=True)
            path = folder / table / f"{number:05}.parquet"
            pq.write_table(_in_utc(content), path, compression="none", use_dictionary=False)


def _in_utc(content: pa.Table) -> pa.Table:
    """Times as instants: Spark takes no others for event time."""
    fields = [
        pa.field(f.name, pa.timestamp("us", "UTC")) if pa.types.is_timestamp(f.type) else f for f in content.schema
    ]
    return content.cast(pa.schema(fields))
