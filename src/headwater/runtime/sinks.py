"""Commits an epoch's outputs to the lake, each table once per epoch, several tables at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.errors import UserError
from headwater.lake.table_format import Lake, Replacement, Table, TableSpec
from headwater.project.definition import TableDefinition, keeps_past
from headwater.project.table_shape import KIND_PROPERTY, spec_of
from headwater.runtime.nodes import Output
from headwater.runtime.tables.shaping import Shaper

WORKERS = 4
INDEX_CHANGED = 0.25
"""Share of a key index that has changed when it is written again beside a checkpoint: so a change costs four times what
it takes in the file, however large the table is."""


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
        self._shapers: dict[str, Shaper] = {}
        self._counted: set[str] = set()

    def open(self, spec: TableSpec) -> None:
        """Opens a table, making it if need be, and asks it which epoch it holds."""
        table = self._lake.table(spec, as_held=True)
        _require_kind(table.spec, spec)
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
            if keeps_past(_kind(spec)):
                raise UserError(
                    f"table {spec.name!r} holds epoch {self.committed[spec.name]} of another state folder",
                    hint="put that state folder back, or give the table another name under `tables`",
                )
            self._lake.drop(spec.name)
            self.open(spec)

    def require(self, spec: TableSpec, epoch: int, *, anew: bool) -> None:
        """Makes sure that a table can take a model's new version, and opens it if it is new.

        Args:
            spec: what the table is to be like.
            epoch: the first that it will take of it.
            anew: all its rows are replaced then.

        Raises:
            UserError: it cannot.
        """
        held = self._tables.get(spec.name)
        if held is None:
            self.begin(spec, epoch, again=False)
            held = self._tables[spec.name]
        _require_kind(held.spec, spec)
        if not anew and held.spec.key != spec.key:
            raise UserError(
                f"table {spec.name!r} keeps the past under the key {list(held.spec.key)}, and is to have another",
                hint="give the table another name under `tables`, and the former one stays as it is",
            )
        self._shapers.pop(spec.name, None)
        self._counted.discard(spec.name)

    def replacement(self, table: TableDefinition, spec: TableSpec) -> Replacement | None:
        """Begins to write all rows of a table beside those that it has, if its kind and format let it; may be called by
        any thread.

        Raises:
            UserError: the table cannot become what `spec` says.
            StorageFailed: the catalog or the disk failed.
        """
        return self._lake.replacement(spec, remove=table.remove) if table.kind_text == "mirror" else None

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

    def keep_indexes(self) -> None:
        """Keeps the key indexes that have changed much, so that a start after a crash need not build them."""
        self._lake.keep_indexes(INDEX_CHANGED)

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
        table = self._ready(name, output)
        table.stage(epoch, self._shaped(name, epoch, output), replace=_replaces(output))
        failpoint.reach("epoch.sinks.staged")

    def _ready(self, name: str, output: Output) -> Table:
        """The table with the output's columns."""
        spec = output.spec
        if output.table is not None and spec is not None:
            spec = spec_of(output.table, spec.columns, spec.key)
        if name not in self._tables and spec is not None:
            self.open(spec)
        table = self._tables[name]
        if spec is not None and not _alike(self._shapes.get(name), spec):
            if spec.key != table.spec.key and not _replaces(output):
                raise UserError(
                    f"table {name!r}: its key was {list(table.spec.key)} and is now {list(spec.key)}, and what it keeps"
                    " of the past has the former one",
                    hint="give the table another name under `tables`, and the former one stays as it is",
                )
            remove = output.table is not None and output.table.remove
            table.evolve(spec.columns, spec.key, anew=_replaces(output), remove=remove)
            table.relayout(spec.layout)
            self._shapes[name] = spec
        return table

    def _shaped(self, name: str, epoch: int, output: Output) -> pa.Table:
        """What the output changes in the table, by the table's kind."""
        if output.table is None or output.spec is None or output.table.kind_text == "mirror":
            return output.delta
        shaper = self._shapers.get(name)
        if shaper is None:
            shaper = self._shapers[name] = Shaper(output.table, self._tables[name], output.spec.key)
        delta = shaper.shape(output.delta, output.spec.columns, epoch, replace=output.replace)
        if shaper.rows is not None and name not in self._counted:
            self._counted.add(name)
            self.rows[name] = shaper.rows
        self.rows[name] = self.rows.get(name, 0) + int(pc.sum(delta[WEIGHT]).as_py() or 0)
        return delta

    def _commit_one(self, name: str, epoch: int, output: Output, properties: Mapping[str, str]) -> None:
        table, anew = self._ready(name, output), _replaces(output)
        if output.prepared is not None:
            failpoint.reach("swap.prepared.before")
            if table.take_over(epoch, output.prepared.replacement):
                anew = False
            else:
                output = replace(output, delta=output.rows(), prepared=None)
        delta = self._shaped(name, epoch, output)
        table.commit(epoch, delta, {**properties, **self._told(name)}, replace=anew)
        self.committed[name] = epoch
        failpoint.reach("epoch.sinks.between")

    def _told(self, name: str) -> dict[str, str]:
        """What a table's commit says besides: of an append table how many rows it left out because they went."""
        shaper = self._shapers.get(name)
        return {"retracted": str(shaper.retracted)} if shaper is not None and shaper.retracted else {}

    def _count(self, name: str, output: Output) -> None:
        if output.table is not None and output.table.kind_text != "mirror":
            return  # counted when it is shaped
        if output.prepared is not None:
            self.rows[name] = output.prepared.rows
            return
        net = pc.sum(output.delta[WEIGHT]).as_py() or 0
        self.rows[name] = net if output.replace else self.rows.get(name, 0) + net


def _replaces(output: Output) -> bool:
    """Whether the table's former rows go. What a table keeps of the past stays: it is compared with what there is."""
    return output.replace and (output.table is None or not output.table.traced)


def _kind(spec: TableSpec) -> str:
    return spec.properties.get(KIND_PROPERTY, "mirror")


def _require_kind(held: TableSpec, wanted: TableSpec) -> None:
    """A table stays of the kind that it was made as.

    Raises:
        UserError: it is to be another one.
    """
    if KIND_PROPERTY in wanted.properties and _kind(held) != _kind(wanted):
        raise UserError(
            f"table {wanted.name!r} was made as {_kind(held)} and is to be {_kind(wanted)}",
            hint="give it another name under `tables`, and the former one stays as it is",
        )


def _alike(one: TableSpec | None, other: TableSpec) -> bool:
    if one is None or (one.key, one.layout) != (other.key, other.layout):
        return False
    return bool(one.columns.equals(other.columns, check_metadata=True))
