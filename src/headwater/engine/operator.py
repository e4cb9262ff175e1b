"""The contract of an operator: one node of a plan at work, from the changes of its inputs to the changes of its result.

A *delta* is an Arrow table of the node's columns, int64 `_weight`, and on the direct path of an input int64 `_origin`
(the row of the input's delta that a row stems from). The graph calls, from one thread: `initial` once, before
everything else and not after a restore; then `step` whenever an input changed, and `advance` whenever event time
moved, inputs before their readers, so that in an advance the step of what the inputs let go comes first. An operator
that raises has lost its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from headwater.engine.share import Share


class Operator(Protocol):
    """What the graph may ask of an operator. Stateless ones build on `Stateless`."""

    def initial(self) -> pa.Table | None:
        """The result over empty inputs, as changes; None if it is empty."""

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        """The changes of the result that changes of the inputs cause; None stands for no changes."""

    def advance(self, closed_us: int) -> pa.Table | None:
        """Windows that end at or before `closed_us` (microseconds since 1970 UTC) are closed: the changes that this
        lets go. State of closed windows is freed here if late rows do not come any more."""

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        """Writes what the operator keeps into `folder`, fsynced; see `RowStore.checkpoint`."""

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        """Takes back what `checkpoint` wrote, in place of `initial`.

        Args:
            parts: what the workers of the checkpoint wrote for this operator, one folder each.
            share: None if there are as many workers as then: `parts` is then this worker's own folder alone. Else the
                parts of all, of which the rows in `share` are this worker's.
        """

    def keeps(self) -> str:
        """What is kept, for `explain`: "nothing", or rows and groups with their number."""


class Stateless:
    """An operator without memory: everything but `step`."""

    def initial(self) -> pa.Table | None:
        return None

    def advance(self, closed_us: int) -> pa.Table | None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        return None

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        return None

    def keeps(self) -> str:
        return "nothing"
