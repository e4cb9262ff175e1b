"""The embedded engine: one SELECT kept up to date while the tables that it reads change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine import checkpoint as files
from headwater.engine.accounting import Counts, Ledger
from headwater.engine.delta import conform, expanded, mask, settled, weighted, weights
from headwater.engine.explain import explain
from headwater.engine.graph import Graph
from headwater.engine.session import Session
from headwater.engine.state.row_store import RowStore
from headwater.engine.watermark import Watermarks, microseconds
from headwater.engine.worker import Late, Worker
from headwater.errors import InvariantBroken, UserError
from headwater.index.kernels import Longs
from headwater.sql.check import Analysis, check
from headwater.sql.fast_paths import Options
from headwater.sql.plan import Plan


class View:
    """A SELECT in DuckDB's dialect over streams, whose content is always DuckDB's answer over everything applied.

    One thread at a time. Not to be used again after `apply` or `advance` has raised: restore a checkpoint.

    Args:
        sql: one SELECT. FROM may hold TUMBLE(stream, time, size) and HOP(stream, time, slide, size).
        inputs: the columns of each stream, by the name that the SQL uses.
        key: columns that identify a row of the result; () to infer it.
        emit: `changes` gives every change at once; `final` gives each time window once, when it is closed.
        lateness: how long after its end, in event time, a window stays open.
        late: what becomes of rows whose windows are all closed: `update` the result (default of `changes`; state is
            kept
            for ever), `reject` into the ledger (default of `final`), or `drop`, counted.
        append_only: inputs that never have retractions; nothing is kept for those then.
        without: fast paths (`headwater.sql.fast_paths.FAST_PATHS`) that are not to be used.
        name: what rejects are filed under.
        file: file to name in errors.
        first_line: line of `file` on which the SQL begins.
        threads: DuckDB's threads.

    Raises:
        SqlError: the first mistake that `headwater.sql.check` finds.
    """

    def __init__(
        self,
        sql: str,
        inputs: Mapping[str, pa.Schema],
        *,
        key: Sequence[str] = (),
        emit: Literal["changes", "final"] = "changes",
        lateness: timedelta = timedelta(0),
        late: Late | None = None,
        append_only: Collection[str] = (),
        without: Collection[str] = (),
        name: str = "view",
        file: str | None = None,
        first_line: int = 1,
        threads: int = 1,
    ) -> None:
        options = Options(emit, frozenset(append_only), frozenset(without))
        analysis = check(sql, inputs, key=key, options=options, file=file or f"<{name}>", first_line=first_line)
        self._plan = _plan(analysis)
        self.schema: pa.Schema = self._plan.root.schema
        self.key: tuple[str, ...] = analysis.key
        self._inputs = dict(inputs)
        self._read_as = {stream: scan.schema for stream, scan in self._plan.scans().items()}
        self._ledger = Ledger(name)
        self._session = Session(threads)
        policy: Late = late or ("reject" if emit == "final" else "update")
        self._graph = Graph(self._plan, Worker(self._session, self._ledger, policy))
        self._result = RowStore(self.schema, ())
        self._watermarks = Watermarks(self._plan, inputs, lateness)
        self._fingerprint = files.fingerprint(sql, inputs, self.key, options, lateness, late)
        self._usable = True
        self._integrate(self._graph.initial())

    @property
    def inputs(self) -> Mapping[str, pa.Schema]:
        """The columns of each stream that it was made with."""
        return self._inputs

    @property
    def counts(self) -> Counts:
        """What became of the input rows so far."""
        return self._ledger.counts

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

    def apply(self, deltas: Mapping[str, pa.Table]) -> pa.Table:
        """Takes in changes of inputs and returns the changes of the result that they cause.

        Args:
            deltas: by input, tables of its columns and int64 `_weight` (absent: all +1; a retraction is negative).

        Returns:
            The result's columns and `_weight`, no row both added and taken away.

        Raises:
            UserError: a table has not the columns of its input; nothing was taken in.
            InvariantBroken: a row is retracted that was never added.
            SqlError: an expression fails that is not computed row by row.
        """
        given = {stream: self._given(stream, table) for stream, table in deltas.items()}
        self._begin()
        for stream in given.keys() - self._read_as.keys():
            self._ledger.ignore(given[stream])
        step = self._graph.step({stream: delta for stream, delta in given.items() if stream in self._read_as})
        return self._done(self._integrate(step))

    def advance(self, watermarks: Mapping[str, datetime]) -> pa.Table:
        """Says that no row with an earlier event time is expected on these inputs, and returns the result's changes.

        A watermark never goes back: an earlier one than before is ignored. Times without a zone are UTC.

        Raises:
            UserError: there is no such input.
        """
        for stream in watermarks:
            self._known(stream)
        self._begin()
        closed_us = self._watermarks.advance({stream: microseconds(time) for stream, time in watermarks.items()})
        return self._done(self._integrate(None if closed_us is None else self._graph.advance(closed_us)))

    def result(self) -> pa.Table:
        """The rows of the result as they are now, in no order, each as often as it is there."""
        return expanded(self._result.rows())

    def explain(self) -> str:
        """The operator graph, what each operator does and what it keeps now."""
        return explain(self._plan, self._graph)

    def take_rejects(self) -> pa.RecordBatch | None:
        """The rows rejected since the last call (`REJECT_SCHEMA`), None if there are none."""
        return self._ledger.take()

    def checkpoint(self, folder: Path, previous: Path | None = None) -> None:
        """Writes everything that the view keeps into `folder` (new or empty), fsynced.

        Args:
            folder: may be renamed afterwards.
            previous: the last checkpoint taken or restored; what has not changed since is linked, not written.

        Raises:
            StorageFailed: the folder is of no use.
        """
        self._begin()
        files.make(folder)
        self._graph.checkpoint(folder, previous)
        self._result.checkpoint(folder / "result", previous / "result" if previous else None)
        files.save(folder, self._fingerprint, self._watermarks.by_stream, self._ledger)
        self._usable = True

    @classmethod
    def restore(
        cls,
        folder: Path,
        sql: str,
        inputs: Mapping[str, pa.Schema],
        *,
        key: Sequence[str] = (),
        emit: Literal["changes", "final"] = "changes",
        lateness: timedelta = timedelta(0),
        late: Late | None = None,
        append_only: Collection[str] = (),
        without: Collection[str] = (),
        name: str = "view",
        file: str | None = None,
        first_line: int = 1,
        threads: int = 1,
    ) -> View:
        """A view as it was when `checkpoint` was called, given the arguments that it was made with.

        Raises:
            UserError: the checkpoint is of other SQL, inputs or settings.
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        view = cls(
            sql, inputs, key=key, emit=emit, lateness=lateness, late=late, append_only=append_only, without=without,
            name=name, file=file, first_line=first_line, threads=threads,
        )  # fmt: skip
        by_stream = files.load(folder, view._fingerprint, view._ledger)
        view._graph.restore(folder, view._watermarks.advance(by_stream))
        view._result = RowStore.restore(folder / "result")
        return view

    def close(self) -> None:
        """Gives up the DuckDB connection."""
        self._session.close()

    def _known(self, stream: str) -> None:
        if stream not in self._inputs:
            raise UserError(f"the view reads no {stream!r}", hint=f"its inputs are: {', '.join(self._inputs)}")

    def _given(self, stream: str, table: pa.Table) -> pa.Table:
        """An input's delta in the types that DuckDB reads, with weights, rows of weight 0 left out."""
        self._known(stream)
        wanted = self._read_as.get(stream, self._inputs[stream])
        missing = [name for name in wanted.names if name not in table.column_names]
        extra = [name for name in table.column_names if name not in {*wanted.names, WEIGHT}]
        if missing or extra:
            what = f"lacks {', '.join(missing)}" if missing else f"has columns that it should not: {', '.join(extra)}"
            raise UserError(f"the table for {stream!r} {what}", hint=f"its columns are: {', '.join(wanted.names)}")
        if WEIGHT not in table.column_names:
            table = weighted(table, _ones(table.num_rows))
        if table.schema.field(WEIGHT).type != pa.int64() or table.column(WEIGHT).null_count:
            raise UserError(f"the _weight of {stream!r} is not int64 without nulls", hint="cast it to int64")
        delta = conform(table, wanted)
        zero = weights(delta) == 0
        return mask(delta, ~zero) if zero.any() else delta

    def _begin(self) -> None:
        if not self._usable:
            hint = "restore the last checkpoint, and apply what came after it"
            raise InvariantBroken("the view failed before, and its state is not whole", hint=hint)
        self._usable = False

    def _done(self, change: pa.Table) -> pa.Table:
        self._usable = True
        return change

    def _integrate(self, step: pa.Table | None) -> pa.Table:
        """Adds changes to the result; returns them consolidated."""
        change = settled(conform(step, self.schema)) if step is not None else None
        if change is None:
            return weighted(self.schema.empty_table(), _ones(0))
        self._result.apply(change)
        return change


def _plan(analysis: Analysis) -> Plan:
    if analysis.mistakes:
        raise analysis.mistakes[0]
    if analysis.plan is None:
        raise InvariantBroken("a SELECT without mistakes has no plan")
    return analysis.plan


def _ones(count: int) -> Longs:
    return np.ones(count, np.int64)
