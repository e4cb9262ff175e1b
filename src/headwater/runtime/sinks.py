"""Commits an epoch's outputs to the lake, each table once per epoch, several tables at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow.compute as pc

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.lake.table_format import Lake, Table, TableSpec
from headwater.runtime.dataflow import Output

WORKERS = 4


class Sinks:
    """The open tables of a running project. Used by the epoch thread.

    Attributes:
        committed: by table, the epoch that it holds, 0 if none.
        held: tables that lack something: they take nothing until all their rows are replaced.
        rolled_back: tables that were rolled back and take nothing until they are released; with why.
        rows: by table, its number of rows.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._tables: dict[str, Table] = {}
        self.committed: dict[str, int] = {}
        self.held: set[str] = set()
        self.rolled_back: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="sink")
        self.rows: dict[str, int] = {}
        self._shapes: dict[str, TableSpec] = {}
        self._staged: set[str] = set()

    def open(self, spec: TableSpec) -> None:
        """Opens a table, making it if need be, and asks it which epoch it holds."""
        table = self._lake.table(spec, as_held=True)
        committed = table.committed()
        self._tables[spec.name] = table
        self.committed[spec.name] = committed.epoch if committed else 0
        if committed is not None and committed.held is not None:
            self.rolled_back[spec.name] = committed.held

    def look(self, name: str) -> None:
        """Opens a table as it is, if it is there, for what will be known later of what it is to look like."""
        if name in self._lake.names():
            self.open(self._lake.open_table(name).spec)

    def begin(self, spec: TableSpec, epoch: int, *, again: bool) -> None:
        """Opens the table of a stream that first appears in `epoch`, which is run `again` or not yet.

        A table of that name that says it holds this epoch before it was ever run is of another state: it goes.
        """
        self.open(spec)
        if self.committed[spec.name] >= epoch and not again:
            self._lake.drop(spec.name)
            self.open(spec)

    def open_tables(self) -> dict[str, Table]:
        """The tables that are open now, by name; asked by other threads too."""
        return dict(self._tables)

    def last_epoch(self) -> int:
        """The highest epoch that any table holds."""
        return max(self.committed.values(), default=0)

    def stage(self, epoch: int, outputs: Mapping[str, Output]) -> None:
        """Writes the outputs of a slice of an epoch, for nobody to see before `commit`.

        Raises:
            StorageFailed: re-open and run the epoch again.
        """
        due = self._due(epoch, outputs)
        self._staged |= set(due)
        self._all(self._pool.submit(self._stage_one, name, epoch, outputs[name]) for name in due)

    def commit(self, epoch: int, outputs: Mapping[str, Output], properties: Mapping[str, str]) -> list[str]:
        """Makes the outputs, and what was staged before them, visible; a table that already holds the epoch is left
        alone. Returns the tables changed.

        A table follows its output's columns when it commits, not before: an epoch that is run again may be of older
        columns than the table has by now.

        Raises:
            StorageFailed, CommitUnknown: for one table; the others may have committed. Re-open and run the epoch again.
        """
        due = self._due(epoch, outputs)
        self._all(self._pool.submit(self._commit_one, name, epoch, outputs[name], properties) for name in due)
        self._staged.clear()
        return due

    def close(self) -> None:
        """Lets go of the catalog and the threads, and forgets what was staged and never committed."""
        self._pool.shutdown(wait=True)
        for name in self._staged & self._tables.keys():
            self._tables[name].forget_staged()
        self._lake.close()

    def _due(self, epoch: int, outputs: Mapping[str, Output]) -> list[str]:
        """Counts the outputs, and says which of them change their table."""
        for name, output in outputs.items():
            self._count(name, output)
        self.held -= {name for name, output in outputs.items() if output.replace}
        return [name for name, output in outputs.items() if self._is_due(name, epoch, output)]

    def _is_due(self, name: str, epoch: int, output: Output) -> bool:
        new = self.committed.get(name, 0) < epoch and name not in self.held and name not in self.rolled_back
        return new and (output.replace or output.delta.num_rows > 0 or name in self._staged)

    def _all(self, waiting: Iterable[Future[None]]) -> None:
        """Waits for all; raises the first error."""
        errors = [error for error in [future.exception() for future in list(waiting)] if error is not None]
        if errors:
            raise errors[0]

    def _stage_one(self, name: str, epoch: int, output: Output) -> None:
        self._ready(name, output).stage(epoch, output.delta, replace=output.replace)
        failpoint.reach("epoch.sinks.staged")

    def _ready(self, name: str, output: Output) -> Table:
        """The table with the output's columns."""
        if name not in self._tables and output.spec is not None:
            self.open(output.spec)
        table, spec = self._tables[name], output.spec
        if spec is not None and not _alike(self._shapes.get(name), spec):
            table.evolve(spec.columns, spec.key, anew=output.replace)
            self._shapes[name] = spec
        return table

    def _commit_one(self, name: str, epoch: int, output: Output, properties: Mapping[str, str]) -> None:
        self._ready(name, output).commit(epoch, output.delta, properties, replace=output.replace)
        self.committed[name] = epoch
        failpoint.reach("epoch.sinks.between")

    def _count(self, name: str, output: Output) -> None:
        net = pc.sum(output.delta[WEIGHT]).as_py() or 0
        self.rows[name] = net if output.replace else self.rows.get(name, 0) + net


def _alike(one: TableSpec | None, other: TableSpec) -> bool:
    if one is None or one.key != other.key:
        return False
    return bool(one.columns.equals(other.columns, check_metadata=True))
