"""History (slowly changing dimension, type 2): a row for each version of a row, with the time in which it was valid.

A version is what a transaction left behind. What it wrote and overwrote itself was never there for anybody else; that
is in a changelog. A transaction that leaves a row as it was makes no version. Times never go back: commit times may,
by the little by which a server's processes differ, and a change that says an earlier time than one before it is taken
to be of that one's. So versions of a key never overlap.

The versions that are current are the state. It is what the table says, and is read from it when it is opened.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.state.row_store import RowStore
from headwater.errors import InvariantBroken
from headwater.index.key_index import group
from headwater.lake.columns import cast_rows
from headwater.lake.consolidate import sample
from headwater.lake.table_format import Table
from headwater.project.table_shape import CURRENT, FROM, FROM_COMMIT, FROM_EPOCH, TO
from headwater.runtime.tables.runs import NEVER, Runs, as_times, latest_us, runs_of

_OPENED = (FROM, FROM_COMMIT, FROM_EPOCH)


class History:
    """The versions of one table.

    Args:
        table: open; read once.
        columns, key: of the rows, in lake types.
    """

    def __init__(self, table: Table, columns: pa.Schema, key: tuple[str, ...]) -> None:
        self._name = table.spec.name
        self.key = key
        held = table.read()
        self.rows = held.num_rows
        self._latest_us = max(latest_us(held.column(FROM)), latest_us(held.column(TO)))
        current = held.filter(held.column(CURRENT))
        self._open = RowStore(self._columns(columns), key)
        self._open.apply(_weighted(current.select(self._open.columns.names).cast(self._open.columns), 1))

    def _columns(self, columns: pa.Schema) -> pa.Schema:
        opened = [pa.field(FROM, pa.timestamp("us", tz="UTC")), *(pa.field(n, pa.int64()) for n in _OPENED[1:])]
        return pa.schema([*(columns.field(name).with_nullable(True) for name in self.key), *opened])

    def follow(self, columns: pa.Schema) -> None:
        """The columns of the rows have changed: a key column's type may have become wider."""
        wanted = self._columns(columns)
        if not wanted.equals(self._open.columns):
            rows = self._open.rows()
            names = [*wanted.names, WEIGHT]
            self._open = RowStore(wanted, self.key)
            cast = [rows.column(place).cast(field.type) for place, field in enumerate(wanted)]
            self._open.apply(pa.table([*cast, rows.column(WEIGHT)], names=names))

    def change(self, trace: pa.Table, columns: pa.Schema, epoch: int) -> pa.Table:
        """What a trace changes in the table.

        Raises:
            InvariantBroken: the trace and the table do not agree on which keys have a row.
        """
        rows = cast_rows(trace, columns, self._name)
        runs = runs_of(trace, rows, self.key).effective()
        runs = self._in_time(runs)
        opens, closes = runs.opens(), runs.closes()
        ends = np.append(runs.times[1:], NEVER)
        first = runs.take(opens)
        before, was = self._before(first)
        same = was & (before[FROM_COMMIT] == first.commits) & (before[FROM_EPOCH] == epoch)
        ended = was & ~same
        versions = runs.is_there
        parts = [
            _versions(rows, first.first[ended], _held(before, ended), first.times[ended], current=False),
            _versions(
                rows,
                runs.last[versions],
                {
                    FROM: runs.times[versions],
                    FROM_COMMIT: runs.commits[versions],
                    FROM_EPOCH: np.full(int(versions.sum()), epoch),
                },
                ends[versions],
                current=closes[versions],
            ),
        ]
        gone = self._retracted(rows, first.first[was], _held(before, was))
        self._move(first.take(was), _held(before, was), runs.take(closes & runs.is_there), epoch)
        return pa.concat_tables([_weighted(gone, -1), *(_weighted(part, 1) for part in parts)])

    def _in_time(self, runs: Runs) -> Runs:
        """The runs with times that never go back, in the order of the log."""
        order = np.argsort(runs.last, kind="stable")
        times = np.maximum.accumulate(np.maximum(runs.times[order], self._latest_us)) if len(runs) else runs.times
        settled = np.empty_like(runs.times)
        settled[order] = times
        self._latest_us = max(self._latest_us, int(times[-1])) if len(runs) else self._latest_us
        return Runs(
            runs.rows, runs.keys, runs.first, runs.last, runs.was, runs.is_there, runs.commits, settled
        )  # fmt: skip

    def _before(self, first: Runs) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """By key, from when on its current version is; and whether it has one."""
        keys = first.rows.take(pa.array(first.first)).select(list(self.key))
        held = self._open.rows_of(keys)
        numbers, _ = group(pa.concat_tables([keys, held.select(list(self.key))]), keys.schema)
        found = np.full(len(keys), -1, np.int64)
        here = numbers[len(keys) :]
        place = np.full(len(keys) + held.num_rows + 1, -1, np.int64)
        place[here] = np.arange(held.num_rows)
        found = place[numbers[: len(keys)]]
        was = found >= 0
        if (was != first.was).any():
            shown = sample(keys.slice(int(np.argmax(was != first.was)), 1), keys.schema)
            raise InvariantBroken(
                f"table {self._name!r}: its current versions are not the rows that its stream has: {shown}",
                hint="the table was changed by someone else: drop it and let it be built again",
            )
        at = np.maximum(found, 0)
        values = {
            FROM: held.column(FROM).cast(pa.int64()).fill_null(NEVER).to_numpy(),
            FROM_COMMIT: held.column(FROM_COMMIT).to_numpy(),
            FROM_EPOCH: held.column(FROM_EPOCH).to_numpy(),
        }
        return {name: (array[at] if len(array) else np.zeros(len(at), np.int64)) for name, array in values.items()}, was

    def _retracted(self, rows: pa.Table, images: np.ndarray, held: dict[str, np.ndarray]) -> pa.Table:
        """The current versions as they stand in the table."""
        return _versions(rows, images, held, np.full(len(images), NEVER), current=True)

    def _move(self, gone: Runs, held: dict[str, np.ndarray], come: Runs, epoch: int) -> None:
        opened = {FROM: come.times, FROM_COMMIT: come.commits, FROM_EPOCH: np.full(len(come), epoch)}
        parts = [
            _weighted(self._states(runs.rows.take(pa.array(at)), values), sign)
            for runs, at, values, sign in ((gone, gone.first, held, -1), (come, come.last, opened, 1))
        ]
        self._open.apply(pa.concat_tables(parts))

    def _states(self, rows: pa.Table, values: dict[str, np.ndarray]) -> pa.Table:
        keys = [rows.column(name) for name in self.key]
        opened = [as_times(values[FROM]), *(pa.array(values[name], pa.int64()) for name in _OPENED[1:])]
        return pa.table([*keys, *opened], schema=self._open.columns)

    def current(self, table: Table, columns: pa.Schema) -> pa.Table:
        """The rows that are current, read from the table."""
        held = table.read()
        return cast_rows(held.filter(held.column(CURRENT)), columns, self._name)


def _held(before: dict[str, np.ndarray], which: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[which] for name, array in before.items()}


def _versions(
    rows: pa.Table, images: np.ndarray, since: dict[str, np.ndarray], until: np.ndarray, *, current: object
) -> pa.Table:
    found = rows.take(pa.array(images))
    flags = np.broadcast_to(np.asarray(current, np.bool_), (len(images),))
    more = {
        FROM: as_times(since[FROM]),
        TO: as_times(np.where(flags, NEVER, until)),
        CURRENT: pa.array(flags),
        FROM_COMMIT: pa.array(since[FROM_COMMIT], pa.int64()),
        FROM_EPOCH: pa.array(since[FROM_EPOCH], pa.int64()),
    }
    return pa.table([*found.columns, *more.values()], names=[*found.column_names, *more])


def _weighted(rows: pa.Table, sign: int) -> pa.Table:
    return rows.append_column(WEIGHT, pa.array(np.full(rows.num_rows, sign, np.int64)))
