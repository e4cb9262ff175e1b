"""The embedded engine: one SELECT kept up to date while the tables that it reads change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self, Unpack

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.clock import SystemClock
from headwater.engine import checkpoint as files
from headwater.engine.accounting import Counts, Ledger
from headwater.engine.crew import Crew
from headwater.engine.delta import expanded, mask, shaped, weighted, weights
from headwater.engine.explain import explain
from headwater.engine.graph import Graph
from headwater.engine.session import Session
from headwater.engine.settings import Arguments, Settings, read_settings
from headwater.engine.state.frozen import FrozenRows
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_store import RowStore
from headwater.engine.watermark import Watermarks, microseconds
from headwater.engine.worker import Arrival, Worker
from headwater.errors import InvariantBroken, UserError
from headwater.index.kernels import Longs
from headwater.sql.check import Analysis, check
from headwater.sql.plan import Plan, Scan


class View:
    """A SELECT in DuckDB's dialect over streams, whose content is always DuckDB's answer over everything applied.

    One thread at a time. Not to be used again after `apply` or `advance` has raised: restore a checkpoint.

    Args:
        sql: one SELECT. FROM may hold the time windows of `headwater.sql.prelude`.
        inputs: the columns of each stream, by the name that the SQL uses.
        settings: as named arguments, see `headwater.engine.settings.Settings`.

    Raises:
        SqlError: the first mistake that `headwater.sql.check` finds.
        UserError: a setting has no sense.
    """

    def __init__(self, sql: str, inputs: Mapping[str, pa.Schema], **settings: Unpack[Arguments]) -> None:
        self._prepare(sql, inputs, Settings(**settings))
        self._usable = True
        self.initial = self._integrate(self._graph.initial())
        """The result over empty inputs, which changes are relative to, with `_weight`; a restored view has none."""

    def _prepare(self, sql: str, inputs: Mapping[str, pa.Schema], settings: Settings) -> None:
        """Everything but the state."""
        if settings.threads < 1:
            raise UserError(f"a view cannot have {settings.threads} threads", hint="threads=1 is the least")
        file = settings.file or f"<{settings.name}>"
        analysis = check(
            sql,
            inputs,
            key=settings.key,
            options=settings.options,
            functions=settings.functions,
            file=file,
            first_line=settings.first_line,
        )
        self._sql, self._settings, self._inputs = sql, settings, dict(inputs)
        self._plan = _plan(analysis)
        self.schema: pa.Schema = self._plan.root.schema
        self.key: tuple[str, ...] = analysis.key
        self._read_as = {stream: _read_as(scan, inputs[stream]) for stream, scan in self._plan.scans().items()}
        self._delta_schemas = {s: delta_schema(self._read_as.get(s, schema)) for s, schema in inputs.items()}
        self._crew = _crew(settings)
        self._graph = Graph(self._plan, self._crew)
        self._result = RowStore(self.schema, (), memory=self._crew.memory) if settings.keep_result else None
        self._watermarks = Watermarks(self._plan, inputs, settings.lateness)
        self._fingerprint = files.fingerprint(sql, inputs, self.key, settings)

    @property
    def inputs(self) -> Mapping[str, pa.Schema]:
        """The columns of each stream that it was made with."""
        return self._inputs

    @property
    def counts(self) -> Counts:
        """What became of the input rows so far."""
        return self._crew.counts

    @property
    def plan(self) -> Plan:
        """The operator graph."""
        return self._plan

    @property
    def watermark(self) -> datetime | None:
        """The least watermark of the inputs that TUMBLE and HOP read (of all inputs without them); None until each
        has one."""
        us = self._watermarks.least_us
        return None if us is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)

    def apply(self, deltas: Mapping[str, pa.Table], now: datetime | None = None) -> pa.Table:
        """Takes in changes of inputs and returns the changes of the result that they cause.

        Args:
            deltas: by input, tables of its columns and int64 `_weight` (absent: all +1; a retraction is negative).
            now: what `proctime()` is for these rows, UTC if it has no zone; the time on the wall if not given.

        Returns:
            The result's columns and `_weight`, no row both added and taken away.

        Raises:
            UserError: a table has not the columns of its input; nothing was taken in.
            InvariantBroken: a row is retracted that was never added.
            SqlError: an expression fails that is not computed row by row.
        """
        given = {stream: self._given(stream, table) for stream, table in deltas.items()}
        self._begin()
        self._crew.workers[0].arrival.now_us = SystemClock().now_us() if now is None else microseconds(now)
        for stream in given.keys() - self._read_as.keys():
            self._crew.workers[0].ledger.ignore(given[stream])
        step = self._graph.step({stream: delta for stream, delta in given.items() if stream in self._read_as})
        return self._done(self._integrate(step))

    def advance(self, watermarks: Mapping[str, datetime], idle: Collection[str] = ()) -> pa.Table:
        """Says that no row with an earlier event time is expected on these inputs, and returns the result's changes.

        The least watermark of the inputs counts. None ever goes back: an earlier one than before is ignored.

        Args:
            watermarks: by input; times without a zone are UTC.
            idle: inputs that nothing comes from at the moment. They do not hold the others back until they are given a
                watermark again; what then comes of an earlier time is late.

        Raises:
            UserError: there is no such input.
        """
        for stream in (*watermarks, *idle):
            self._known(stream)
        self._begin()
        times = {stream: microseconds(time) for stream, time in watermarks.items()}
        closed_us = self._watermarks.advance(times, idle)
        return self._done(self._integrate(None if closed_us is None else self._graph.advance(closed_us)))

    def result(self) -> pa.Table:
        """The rows of the result as they are now, in no order, each as often as it is there.

        Raises:
            UserError: the view was made with `keep_result=False`.
        """
        if self._result is None:
            hint = "make the view with keep_result=True, or add up the changes that apply and advance return"
            raise UserError("the view keeps no copy of its result", hint=hint)
        return expanded(self._result.rows())

    def frozen(self) -> FrozenRows | None:
        """The rows of the result as they are now, for another thread to read; None if no copy is kept."""
        return self._result.frozen() if self._result is not None else None

    @property
    def keeps(self) -> bool:
        """Whether it keeps a copy of the result."""
        return self._result is not None

    def drop_result(self) -> None:
        """Keeps no copy of the result from now on, as with `keep_result=False`."""
        self._result, self._settings = None, replace(self._settings, keep_result=False)

    def explain(self) -> str:
        """The operator graph, what each operator does and what it keeps now."""
        return explain(self._plan, self._graph)

    def take_rejects(self) -> pa.RecordBatch | None:
        """The rows rejected since the last call (`REJECT_SCHEMA`), None if there are none."""
        return self._crew.take_rejects()

    def checkpoint(self, folder: Path | str, previous: Path | str | None = None) -> None:
        """Writes everything that the view keeps into `folder` (new or empty), fsynced.

        Args:
            folder: may be renamed afterwards.
            previous: the last checkpoint taken or restored; what has not changed since is linked, not written.

        Raises:
            StorageFailed: the folder is of no use.
        """
        self._begin()
        to, before = Path(folder), Path(previous) if previous is not None else None
        files.make(to)
        held = files.read_header(before) if before is not None else None
        same = held is not None and held.workers == self._settings.threads
        self._graph.checkpoint(to, before if same else None)
        if self._result is not None:
            copied = before / "result" if before and held and held.settings["keep_result"] else None
            self._result.checkpoint(to / "result", copied)
        marks = self._watermarks.stored()
        header = files.Header(self._sql, self._inputs, read_settings(self._settings.stored()), marks, self._fingerprint)
        files.save(to, header, self._settings, self._crew)
        self._usable = True

    @classmethod
    def restore(
        cls,
        folder: Path | str,
        sql: str | None = None,
        inputs: Mapping[str, pa.Schema] | None = None,
        **settings: Unpack[Arguments],
    ) -> Self:
        """A view as it was when `checkpoint` was called.

        Args:
            folder: the checkpoint.
            sql: if given, it must be the SQL that the checkpoint is of, and `inputs` and `settings` must be given too.
                Else all are the checkpoint's.
            inputs: as in `View`.
            settings: those that are to be others than the checkpoint's: `threads`, `keep_result`, `name`.

        Raises:
            UserError: the checkpoint is of other SQL, inputs or settings, or has no copy of the result.
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        source = Path(folder)
        header = files.read_header(source)
        view = cls.__new__(cls)
        if sql is None or inputs is None:
            stored: Arguments = {**header.settings, **settings}
            view._prepare(header.sql, header.inputs, Settings(**stored))
        else:
            view._prepare(sql, inputs, Settings(**settings))
        files.require(header, source, view._fingerprint)
        view._load(source, header)
        return view

    def _load(self, folder: Path, header: files.Header) -> None:
        files.load(folder, self._crew.workers[0].ledger)
        self._graph.restore(folder, header.workers, self._watermarks.restore(header.watermarks))
        if self._result is not None:
            if not header.settings["keep_result"]:
                hint = "restore it with keep_result=False"
                raise UserError(f"the checkpoint {folder} has no copy of the result", hint=hint)
            self._result = RowStore.restore(folder / "result", memory=self._crew.memory)
        self._usable = True

    def close(self) -> None:
        """Gives up the threads and the DuckDB connections."""
        self._crew.close()

    def _known(self, stream: str) -> None:
        if stream not in self._inputs:
            raise UserError(f"the view reads no {stream!r}", hint=f"its inputs are: {', '.join(self._inputs)}")

    def _given(self, stream: str, table: pa.Table) -> pa.Table:
        """An input's delta in the types that DuckDB reads, with weights, rows of weight 0 left out."""
        self._known(stream)
        wanted, given = self._delta_schemas[stream], table.schema.names
        if len(given) < len(wanted) and WEIGHT not in given:
            table = weighted(table, _ones(table.num_rows))
            given = table.schema.names
        if given != wanted.names:
            _require_columns(stream, given, wanted.names)
        weight = table.column(WEIGHT)
        if weight.type != pa.int64() or weight.null_count:
            raise UserError(f"the _weight of {stream!r} is not int64 without nulls", hint="cast it to int64")
        delta = shaped(table, wanted)
        nonzero = weights(delta) != 0
        return delta if nonzero.all() else mask(delta, nonzero)

    def _begin(self) -> None:
        if not self._usable:
            hint = "restore the last checkpoint, and apply what came after it"
            raise InvariantBroken("the view failed before, and its state is not whole", hint=hint)
        self._usable = False

    def _done(self, change: pa.Table) -> pa.Table:
        self._usable = True
        return change

    def _integrate(self, step: pa.Table | None) -> pa.Table:
        """Adds changes to the result, and returns them."""
        if step is None:
            return weighted(self.schema.empty_table(), _ones(0))
        if self._result is not None:
            self._result.apply(step)
        return step


def _require_columns(stream: str, given: Sequence[str], wanted: Sequence[str]) -> None:
    """Sees to it that a table has the columns of its input and `_weight`, in any order."""
    missing = [name for name in wanted if name not in given and name != WEIGHT]
    extra = [name for name in given if name not in wanted]
    if missing or extra:
        what = f"lacks {', '.join(missing)}" if missing else f"has columns that it should not: {', '.join(extra)}"
        raise UserError(f"the table for {stream!r} {what}", hint=f"its columns are: {', '.join(wanted[:-1])}")


def _plan(analysis: Analysis) -> Plan:
    if analysis.mistakes:
        raise analysis.mistakes[0]
    if analysis.plan is None:
        raise InvariantBroken("a SELECT without mistakes has no plan")
    return analysis.plan


def _read_as(scan: Scan, given: pa.Schema) -> pa.Schema:
    """An input's columns as Arrow has them: those that are read in the types that DuckDB gives them."""
    read = {field.name: field for field in scan.schema}
    return pa.schema([read.get(field.name, field) for field in given])


def _crew(settings: Settings) -> Crew:
    memory = Memory(settings.memory, Path(settings.spill) if settings.spill is not None else None)
    arrival = Arrival()
    return Crew(
        [
            Worker(
                Session(settings.functions, number),
                Ledger(settings.name),
                settings.policy,
                memory,
                number,
                settings.threads,
                arrival,
            )
            for number in range(settings.threads)
        ]
    )


def _ones(count: int) -> Longs:
    return np.ones(count, np.int64)
