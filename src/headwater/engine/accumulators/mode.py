"""mode: the values of each group in order of how many rows have them.

Of values that equally many rows have, it is the least, as in DuckDB's `mode(x ORDER BY x)`: which of them DuckDB's
`mode(x)` shows changes from run to run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from headwater.engine.accumulators.ordered import Ordered
from headwater.engine.state.ordered import OrderedRows
from headwater.index.kernels import Longs, Words


class Mode(Ordered):
    """As `Ordered`, but the entries of most weight come first, and count once each."""

    def _empty_rows(self) -> OrderedRows:
        return OrderedRows(1 + self._order.width, self._memory, self._tails if self._order.has_tails else None)

    def _set_in_order(
        self, entries: Longs, groups: Longs, before: Longs, after: Longs, rows_of: Callable[[Longs], pa.Table]
    ) -> None:
        moved = np.flatnonzero((before > 0) & (after > 0) & (before != after))
        if len(moved):
            self._rows.remove(entries[moved])
        come = np.flatnonzero((after > 0) & (before != after))
        if len(come):
            self._rows.insert(groups[come], entries[come], self._words(after[come], rows_of(come)))

    def _words(self, weights: Longs, rows: pa.Table) -> Words:
        """Order keys: the greatest weight first, then the least value."""
        values = self._order.words(rows).reshape(len(weights), self._order.width)
        words = np.empty((len(weights), 1 + self._order.width), np.uint64)
        words[:, 0] = ~weights.view(np.uint64)
        words[:, 1:] = values
        return words.reshape(-1)
