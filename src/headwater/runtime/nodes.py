"""The streams and models of a dataflow: what each keeps, and what its changes mean to its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT, Op
from headwater.engine.evolution import gone
from headwater.engine.normalise import Normaliser
from headwater.engine.state.memory import Memory
from headwater.engine.trace import At
from headwater.engine.view import View
from headwater.lake.table_format import TableSpec
from headwater.project.definition import Model, SourceDefinition, TableDefinition, Watermark
from headwater.project.table_shape import spec_of
from headwater.runtime.prepared import PreparedTable
from headwater.runtime.tables.shaping import model_trace, read_trace
from headwater.schema import StreamSchema

MICROSECOND = timedelta(microseconds=1)
DAY_US = 86_400_000_000
END_OF_TIME_US = 253_402_300_800_000_000
"""The year 10000."""


@dataclass(frozen=True)
class Output:
    """What an epoch changes in one table.

    Attributes:
        delta: a delta, or a trace if the table's kind asks for one (`TableDefinition.traced`).
        replace: it is all the rows that there are now.
        spec: the rows' columns and key from then on.
        table: the table.
        prepared: rows that lie in files already: `delta` is what comes on top of them, and both together all there are.
        whole: makes all the rows that there are now, where `delta` is not that.
    """

    delta: pa.Table
    replace: bool = False
    spec: TableSpec | None = None
    table: TableDefinition | None = None
    prepared: PreparedTable | None = None
    whole: Callable[[], pa.Table] | None = None

    def rows(self) -> pa.Table:
        """Of one that replaces, all the rows that there are now, with weights."""
        return self.delta if self.whole is None else self.whole()


@dataclass
class StreamNode:
    """One stream's state: its rows as of the last epoch, and the latest event time seen less the watermark's delay."""

    source: str
    normaliser: Normaliser
    tables: tuple[TableDefinition, ...]
    watermark: Watermark | None = None
    watermark_us: int | None = None
    landed: int = 0

    @classmethod
    def of(cls, stream: StreamSchema, source: SourceDefinition, memory: Memory | None = None) -> StreamNode:
        """A node without rows, as the source's settings want it, which will keep them in `memory`."""
        settings = source.streams.get(stream.name)
        watermark = settings.watermark if settings else None
        tables = source.tables(stream.name)
        return cls(source.name, Normaliser(stream, memory), tables, watermark)

    @property
    def stream(self) -> StreamSchema:
        """The schema in force."""
        return self.normaliser.stream

    def spec(self, table: TableDefinition) -> TableSpec:
        """What one of the stream's tables looks like."""
        left_out = gone(self.stream.columns) if table.remove else frozenset()
        columns = [field for field in self.stream.columns if field.name not in left_out]
        return spec_of(table, pa.schema(columns), self.stream.key)

    def outputs(
        self,
        delta: pa.Table,
        at: At,
        rebuild: Collection[str],
        admitted: Callable[[pa.Table], pa.Table],
        *,
        replace: bool,
        returned: bool = False,
    ) -> dict[str, Output]:
        """What the last changes mean to each table.

        Args:
            delta: what they came to.
            at: where the last of them stands.
            rebuild: tables to be built anew.
            admitted: leaves out rows that checks set aside.
            replace: the delta does not say it all.
            returned: a column is there again that was gone; a table that it had left lacks its values.
        """
        normaliser, found = self.normaliser, {}
        rows = TableSpec(self.stream.name, self.stream.columns, self.stream.key)
        left = gone(self.stream.columns)
        for table in self.tables:
            if table.traced:
                anew = table.name in rebuild
                changed = read_trace(admitted(normaliser.rows()), at) if anew else admitted(normaliser.trace)
            else:
                anew = table.name in rebuild or replace or (returned and table.remove)
                changed = admitted(normaliser.rows()) if anew else delta
            found[table.name] = Output(changed, anew, rows, table)
            if table.remove and left:
                columns = pa.schema([field for field in rows.columns if field.name not in left])
                found[table.name] = Output(
                    changed.drop_columns(list(left)), anew, replaced(rows, columns=columns), table
                )
        return found

    def observe(self, delta: pa.Table) -> None:
        """Moves the watermark to the largest event time that appeared, less the delay; it never goes back."""
        if self.watermark is None or not delta.num_rows or self.watermark.column not in delta.column_names:
            return
        appeared = delta.filter(pc.greater(delta[WEIGHT], 0))
        latest = _latest_us(appeared[self.watermark.column])
        if latest is not None:
            candidate = latest - self.watermark.delay // MICROSECOND
            self.watermark_us = max(candidate, self.watermark_us or candidate)


@dataclass
class ModelNode:
    """One model's state.

    Attributes:
        refed: how many rejects were fed to it again.
        written: where the view has been checkpointed besides, for the next checkpoint to link what has not changed.
        prepared: by table, its rows as they will be when the model is swapped in.
    """

    model: Model
    view: View
    refed: int = 0
    written: Path | None = None
    prepared: dict[str, PreparedTable] = field(default_factory=dict)

    @property
    def spec(self) -> TableSpec:
        """What the model's rows look like."""
        return TableSpec(self.model.name, self.view.schema, self.view.key)

    @property
    def specs(self) -> list[TableSpec]:
        """What the model's tables look like."""
        return [spec_of(table, self.view.schema, self.view.key) for table in self.model.tables]

    def outputs(self, delta: pa.Table, epoch: int, time_us: int | None, *, replace: bool) -> dict[str, Output]:
        """What a change of the model, or all its rows, mean to each table; see `model_trace`."""
        return {table.name: self._output(table, delta, epoch, time_us, replace=replace) for table in self.model.tables}

    def swapped_outputs(self, whole: Callable[[], pa.Table], epoch: int, time_us: int | None) -> dict[str, Output]:
        """What a new version of the model means to each table: all its rows, or what comes on top of those prepared."""
        found = {}
        for table in self.model.tables:
            prepared = self.prepared.get(table.name)
            if prepared is None:
                found[table.name] = self._output(table, whole(), epoch, time_us, replace=True)
            else:
                found[table.name] = Output(prepared.rest(), True, self.spec, table, prepared, whole)
        return found

    def _output(
        self, table: TableDefinition, delta: pa.Table, epoch: int, time_us: int | None, *, replace: bool
    ) -> Output:
        if table.traced:
            delta = model_trace(delta, self.view.key, epoch, time_us, Op.READ if replace else None)
        return Output(delta, replace, self.spec, table)

    def discard_prepared(self) -> None:
        """Removes files that were prepared and that no table has taken over."""
        for prepared in self.prepared.values():
            prepared.replacement.discard()
        self.prepared.clear()


def weighted_rows(rows: pa.Table) -> pa.Table:
    """Rows that are there, as a delta."""
    if WEIGHT in rows.column_names:
        return rows
    return rows.append_column(WEIGHT, pa.repeat(pa.scalar(1, pa.int64()), rows.num_rows))


def _latest_us(times: pa.ChunkedArray) -> int | None:
    """The largest event time in microseconds since 1970; infinity, and what lies beyond the year 9999, says nothing of
    how far the stream is."""
    if pa.types.is_date32(times.type):
        days = times.cast(pa.int32())
        times = days.filter(pc.less_equal(days, END_OF_TIME_US // DAY_US)).cast(pa.int64())
        latest = pc.max(times).as_py()
        return None if latest is None else int(latest) * DAY_US
    numbers = times.cast(pa.timestamp("us")).cast(pa.int64())
    latest = pc.max(numbers.filter(pc.less(numbers, END_OF_TIME_US))).as_py()
    return None if latest is None else int(latest)
