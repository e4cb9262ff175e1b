"""Looks through the log for records of one stream, with limits: so many records, so many seconds.

It reads beside the writer and the epochs, by memory map, a few thousand offsets at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Timer

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import CHANGE_COLUMNS, Op
from headwater.clock import Clock
from headwater.console.shapes.streams import Record
from headwater.console.values import plain
from headwater.errors import UserError
from headwater.log.partition import LogRecord, Partition
from headwater.serve.moments import printable
from headwater.sql.row_filter import row_filter

CHUNK = 10_000
"""Offsets read at a time."""
SCAN_S = 4.0
FILTER_MEMORY = "256MB"
OFFSET = "_offset"
_OPS = pa.array([op.name.lower() for op in Op])
_OWN = {one.name for one in CHANGE_COLUMNS}


class RowFilter:
    """A condition over a stream's columns, evaluated by a DuckDB that sees no file and cannot be opened up.

    Args:
        text: the condition; "" for none.

    Raises:
        SqlError: it cannot be used (when first met with rows).
    """

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> RowFilter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def kept(self, rows: pa.RecordBatch, offset: int) -> list[int]:
        """Numbers of the rows that pass, ascending.

        Args:
            rows: as the log has them.
            offset: of the first.

        Raises:
            UserError: it fails for a row, or takes too long.
        """
        if not self._text:
            return list(range(rows.num_rows))
        table = _searchable(rows, offset)
        condition = row_filter(self._text, table.column_names)
        connection = self._open()
        connection.register("given", table)
        timer = Timer(SCAN_S, connection.interrupt)
        timer.start()
        try:
            query = f'SELECT "{OFFSET}" FROM given WHERE {condition}'  # noqa: S608 - checked and written anew
            found = connection.execute(query).fetchall()
        except duckdb.Error as error:
            message = str(error).partition("\n")[0]
            raise UserError(f"the filter fails: {message}", hint="TRY_CAST gives null where a cast fails") from error
        finally:
            timer.cancel()
        return sorted(number - offset for (number,) in found)

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = duckdb.connect(
                ":memory:",
                config={
                    "threads": 1, "memory_limit": FILTER_MEMORY, "temp_directory": "",
                    "python_enable_replacements": False,
                },
            )  # fmt: skip
            self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        return self._connection


def _searchable(rows: pa.RecordBatch, offset: int) -> pa.Table:
    """The rows with their operations as words and their offsets."""
    table = pa.Table.from_batches([rows]).drop_columns(["_unchanged"])
    words = _OPS.take(table.column("_op").cast(pa.int64()).combine_chunks())
    table = table.set_column(table.column_names.index("_op"), "_op", words)
    return table.append_column(OFFSET, pa.array(range(offset, offset + rows.num_rows), pa.int64()))


@dataclass
class Scan:
    """One look through a source's log.

    Attributes:
        partition: the log.
        stream: whose records.
        filter: which of them.
        clock: time.
        limit: at most so many.
        found: pieces of rows that pass, with the offsets of the rows, in the order of the look.
        scanned: offsets looked at.
        reached: where the look ended.
        count: how many were found.
    """

    partition: Partition
    stream: str
    filter: RowFilter
    clock: Clock
    limit: int
    found: list[tuple[list[int], pa.RecordBatch]] = field(default_factory=list)
    scanned: int = 0
    reached: int = 0
    count: int = 0

    def forward(self, start: int, end: int) -> bool:
        """Looks from `start` on; whether it came to `end`."""
        due = self.clock.monotonic_s() + SCAN_S
        self.reached = start = max(start, self.partition.base)
        while self.reached < end:
            stop = min(self.reached + CHUNK, end)
            for record in self._records(self.reached, stop):
                numbers = self.filter.kept(record.rows, record.offset)[: self.limit - self.count]
                self._take(record, numbers)
                if self.count == self.limit:
                    self.reached = record.offset + numbers[-1] + 1
                    return self.reached >= end
            self.scanned += stop - self.reached
            self.reached = stop
            if self.clock.monotonic_s() > due:
                break
        return self.reached >= end

    def backward(self, end: int, start: int) -> bool:
        """Looks from before `end` back, newest first; whether it came to `start`."""
        due = self.clock.monotonic_s() + SCAN_S
        self.reached = end
        while self.reached > start:
            stop = max(self.reached - CHUNK, start)
            for record in reversed(list(self._records(stop, self.reached))):
                numbers = self.filter.kept(record.rows, record.offset)[::-1][: self.limit - self.count]
                self._take(record, numbers)
                if self.count == self.limit:
                    self.reached = record.offset + numbers[-1]
                    return self.reached <= start
            self.scanned += self.reached - stop
            self.reached = stop
            if self.clock.monotonic_s() > due:
                break
        return self.reached <= start

    def _records(self, start: int, end: int) -> Iterator[LogRecord]:
        return (one for one in self.partition.read(start, end) if one.stream and one.stream.name == self.stream)

    def _take(self, record: LogRecord, numbers: list[int]) -> None:
        if numbers:
            self.count += len(numbers)
            rows = record.rows.take(pa.array(numbers, pa.int64()))
            self.found.append(([record.offset + number for number in numbers], rows))

    def columns(self) -> pa.Schema:
        """The columns of what was found, each with the type that it had last; without those of the change itself."""
        fields: dict[str, pa.Field] = {}
        for _, rows in sorted(self.found, key=lambda one: one[0][0]):
            fields |= {one.name: one for one in rows.schema if one.name not in _OWN}
        return pa.schema(list(fields.values()))

    def records(self, columns: pa.Schema) -> list[Record]:
        """What was found, in the order of the look, values in the order of these columns."""
        return [record for offsets, rows in self.found for record in _records_of(offsets, rows, columns)]


def _records_of(offsets: list[int], rows: pa.RecordBatch, columns: pa.Schema) -> Iterator[Record]:
    there = set(rows.schema.names)
    shown = printable(pa.Table.from_batches([rows]).select([name for name in columns.names if name in there]))
    values = {name: [plain(value) for value in shown.column(name).to_pylist()] for name in shown.column_names}
    nothing = [None] * len(offsets)
    lists = [values.get(name, nothing) for name in columns.names]
    heads = zip(
        offsets, rows.column("_op").to_pylist(), rows.column("_weight").to_pylist(), rows.column("_commit").to_pylist(),
        rows.column("_ordinal").to_pylist(), pc.cast(rows.column("_time"), pa.int64()).to_pylist(), strict=True,
    )  # fmt: skip
    for number, (offset, op, weight, commit, ordinal, at_us) in enumerate(heads):
        yield Record(
            offset=offset,
            op=Op(op).name.lower(),  # type: ignore[arg-type]
            weight=weight,
            position=f"{commit}:{ordinal}",
            at_us=at_us,
            row=[values[number] for values in lists],
        )
