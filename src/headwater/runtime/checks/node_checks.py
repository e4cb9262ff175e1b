"""The checks of one stream or model: which of its rows are set aside, and how many fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import WEIGHT
from headwater.engine.delta import absolute, mask, weights
from headwater.quality.checks import Check
from headwater.runtime.checks.row_check import RowCheck
from headwater.runtime.checks.withheld import counted, entries, example


@dataclass
class GateAccount:
    """What became of the rows that a stream or model offered to its tables, each counted by the absolute value of its
    weight: read = landed + rejected + withdrawn. Those withdrawn are rows that go, and had been set aside."""

    read: int = 0
    landed: int = 0
    rejected: int = 0
    withdrawn: int = 0

    @property
    def holds(self) -> bool:
        """Whether the identity is true."""
        return self.read == self.landed + self.rejected + self.withdrawn

    def as_dict(self) -> dict[str, int | bool]:
        """For JSON: the counts and whether they add up."""
        return {**asdict(self), "holds": self.holds}


@dataclass
class NodeChecks:
    """The row checks of one stream or model, and what they have come to.

    Attributes:
        failing: by check, how many rows fail now.
        examples: by check, the row that failed last.
        rows: how many rows there are, those set aside left out.
        account: of the rows set aside.
        withheld: entries for the ledger that nobody has taken yet.
        released: rows set aside that have gone since, by digest.
    """

    node: str
    checks: Sequence[Check]
    failing: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    appeared: int = 0
    account: GateAccount = field(default_factory=GateAccount)
    withheld: list[pa.RecordBatch] = field(default_factory=list)
    released: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        made = [RowCheck(check) for check in self.checks if check.of_rows]
        self._gate = [one for one in made if one.check.rejects]
        self._others = [one for one in made if not one.check.rejects]

    @property
    def gated(self) -> bool:
        """Whether rows are set aside."""
        return bool(self._gate)

    def error(self, check: Check) -> str:
        """Why a check cannot judge the rows as they are now; empty if it can."""
        errors = [one.error for one in (*self._gate, *self._others) if one.check == check and one.error is not None]
        return errors[0].message if errors else ""

    def begin(self) -> None:
        """Forgets what was counted: all rows come again."""
        self.failing, self.examples, self.rows = {}, {}, 0

    def admitted(self, rows: pa.Table, columns: pa.Schema) -> pa.Table:
        """The rows that are not set aside, of a delta, a trace or a whole content. Counts nothing."""
        if not self._gate or not rows.num_rows:
            return rows
        failed = self._failed(rows, columns)
        if WEIGHT in rows.column_names:
            failed &= weights(rows) != 0  # a trace has rows that are none
        return mask(rows, ~failed) if failed.any() else rows

    def set_aside(self, rows: pa.Table, columns: pa.Schema) -> pa.Table:
        """The others."""
        return mask(rows, self._failed(rows, columns)) if self._gate else rows.slice(0, 0)

    def admit(self, delta: pa.Table, columns: pa.Schema, key: Sequence[str]) -> pa.Table:
        """What a change of the stream or model is to its tables, to other models and to syncs; counts, and keeps what
        is set aside for the ledger."""
        passed = self._set_aside(delta, columns, key) if self._gate else delta
        signs = weights(passed)
        for one in self._others:
            self._count(one, passed, signs, columns, key)
        self.rows += int(signs.sum())
        self.appeared += int(signs[signs > 0].sum())
        return passed

    def take_withheld(self) -> tuple[list[pa.RecordBatch], Counter[str]]:
        """Entries for the ledger since the last call, and the rows that have gone since."""
        taken = (self.withheld, self.released)
        self.withheld, self.released = [], Counter()
        return taken

    def entries_of(self, rows: pa.Table, columns: pa.Schema, key: Sequence[str]) -> pa.RecordBatch:
        """The ledger's entries for rows that are set aside."""
        first = self._first(rows, columns)
        return entries(rows, [self._gate[number].check for number in first.tolist()], key)

    def close(self) -> None:
        """Gives up the connections."""
        for one in (*self._gate, *self._others):
            one.close()

    def _set_aside(self, delta: pa.Table, columns: pa.Schema, key: Sequence[str]) -> pa.Table:
        signs, failed = weights(delta), np.zeros(delta.num_rows, np.bool_)
        for one in self._gate:
            failed[self._count(one, delta, signs, columns, key)] = True
        self.account.read += absolute(delta)
        if not failed.any():
            self.account.landed += absolute(delta)
            return delta
        passed = mask(delta, ~failed)
        self.account.landed += absolute(passed)
        appear, go = mask(delta, failed & (signs > 0)), mask(delta, failed & (signs < 0))
        self.account.rejected += absolute(appear)
        self.account.withdrawn += absolute(go)
        if appear.num_rows:
            self.withheld.append(self.entries_of(appear, columns, key))
        self.released += counted(go)
        return passed

    def _count(
        self, one: RowCheck, delta: pa.Table, signs: NDArray[np.int64], columns: pa.Schema, key: Sequence[str]
    ) -> NDArray[np.int64]:
        """Adds up the rows that fail a check, and returns their numbers."""
        found, name = one.failing(delta, columns), one.check.id
        now = self.failing.get(name, 0) + int(signs[found].sum())
        self.failing[name] = now
        if not now:
            self.examples.pop(name, None)
        elif len(found) and (signs[found] > 0).any():
            last = int(found[signs[found] > 0][-1])
            self.examples[name] = example(delta.slice(last, 1), one.check, key)
        return found

    def _failed(self, rows: pa.Table, columns: pa.Schema) -> NDArray[np.bool_]:
        failed = np.zeros(rows.num_rows, np.bool_)
        for one in self._gate:
            failed[one.failing(rows, columns)] = True
        return failed

    def _first(self, rows: pa.Table, columns: pa.Schema) -> NDArray[np.int64]:
        """By row, the number of the first check that it fails."""
        first = np.zeros(rows.num_rows, np.int64)
        for number in range(len(self._gate) - 1, -1, -1):
            first[self._gate[number].failing(rows, columns)] = number
        return first
