"""A trace cut into runs: what one transaction did to one key, whatever it did in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.trace import TIME
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import group

NEVER = np.iinfo(np.int64).min
"""A time in microseconds that is not known: earlier than all others."""


@dataclass(frozen=True)
class Runs:
    """Runs, those of a key one after the other in the order of the log. Arrays by run.

    Attributes:
        rows: the trace's rows without change columns.
        keys: number of the run's key.
        first, last: numbers of its first and last row in `rows`.
        was, is_there: the key had a row before it; has one after it.
        commits: its commit.
        times: of its last change, microseconds; `NEVER` if not known.
    """

    rows: pa.Table
    keys: Longs
    first: Longs
    last: Longs
    was: Mask
    is_there: Mask
    commits: Longs
    times: Longs

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, which: Longs | Mask) -> Runs:
        """Some of them."""
        return Runs(
            self.rows,
            self.keys[which],
            self.first[which],
            self.last[which],
            self.was[which],
            self.is_there[which],
            self.commits[which],
            self.times[which],
        )

    def opens(self) -> Mask:
        """Which runs are their key's first."""
        found = np.ones(len(self), np.bool_)
        found[1:] = self.keys[1:] != self.keys[:-1]
        return found

    def closes(self) -> Mask:
        """Which runs are their key's last."""
        return np.append(self.opens()[1:], True) if len(self) else np.zeros(0, np.bool_)

    def effective(self) -> Runs:
        """Those that changed something: not what came and went, and not a row that is as it was before."""
        changed = self.was | self.is_there
        both = np.flatnonzero(self.was & self.is_there)
        if len(both):
            compared = self.rows.take(pa.array(np.concatenate([self.first[both], self.last[both]])))
            numbers, _ = group(compared, compared.schema)
            changed[both] = numbers[: len(both)] != numbers[len(both) :]
        return self.take(changed)


def runs_of(trace: pa.Table, rows: pa.Table, key: tuple[str, ...], *, by_commit: bool = True) -> Runs:
    """The runs of a trace.

    Args:
        trace: see `headwater.engine.trace`.
        rows: its rows, in the table's types.
        key: names of the key columns.
        by_commit: runs end with the transaction; else there is one for each key.
    """
    count = trace.num_rows
    numbers, _ = group(rows, pa.schema([rows.schema.field(name) for name in key]))
    order = np.argsort(numbers, kind="stable")
    commits = np.asarray(trace.column("_commit").to_numpy()).astype(np.int64)[order]
    keys, weights = numbers[order], np.asarray(trace.column(WEIGHT).to_numpy())[order]
    begins = np.ones(count, np.bool_)
    begins[1:] = keys[1:] != keys[:-1]
    if by_commit:
        begins[1:] |= commits[1:] != commits[:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], count) - 1 if count else first
    times = trace.column("_time").cast(pa.int64()).fill_null(NEVER).to_numpy()[order]
    return Runs(
        rows, keys[first], order[first], order[last], weights[first] < 0, weights[last] > 0, commits[last], times[last]
    )


def as_times(times_us: Longs) -> pa.Array:
    """Times as a column, null where not known."""
    return pa.array(times_us, pa.int64(), mask=times_us == NEVER).cast(TIME)


def latest_us(times: pa.ChunkedArray) -> int:
    """The latest of some times; `NEVER` if there is none."""
    found = pc.max(times.cast(pa.int64())).as_py()
    return NEVER if found is None else int(found)
