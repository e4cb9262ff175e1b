"""Knows, for an operator whose keys belong to time windows, which of its rows belong to windows that are closed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.engine.delta import as_us
from headwater.engine.session import Session
from headwater.index.kernels import Longs, Mask
from headwater.sql.bind import quote
from headwater.sql.plan import Node

_MICROSECONDS = (pa.timestamp("us"), pa.timestamp("us", "UTC"))
"""Types whose values are what SQL's epoch_us says of them."""

NEVER = np.iinfo(np.int64).max


class WindowEnds:
    """The window ends seen, and how far they are closed.

    Args:
        node: whose rows are looked at.
        closes: SQL over the node's columns for the window's end in microseconds.
    """

    def __init__(self, node: Node, closes: str, session: Session) -> None:
        self._node, self._closes, self._session = node, closes, session
        self._open: set[int] = set()
        told = [c.name for c in node.columns if closes == f"epoch_us({quote(c.name)})" and c.arrow in _MICROSECONDS]
        self._column = told[0] if told else ""
        self.closed_us: int | None = None

    def of(self, rows: pa.Table) -> Longs:
        """Each row's window end; `NEVER` for rows of no window."""
        if self._column:
            ends = as_us(rows.column(self._column))
        else:
            ends = as_us(self._session.evaluate(self._closes, self._node, rows))
        never = ends == np.iinfo(np.int64).min
        return np.where(never, NEVER, ends) if never.any() else ends

    def note(self, ends: Longs) -> None:
        """Remembers windows as having rows here."""
        if len(ends):
            first, last = int(ends.min()), int(ends.max())
            self._open.update({first} if first == last else np.unique(ends).tolist())
            self._open.discard(NEVER)

    def closed(self, ends: Longs) -> Mask:
        """Which ends are closed already."""
        if self.closed_us is None:
            return np.zeros(len(ends), np.bool_)
        mask: Mask = ends <= self.closed_us
        return mask

    def advance(self, closed_us: int) -> bool:
        """Moves on; whether that closes windows that have rows here."""
        self.closed_us = closed_us
        done = {end for end in self._open if end <= closed_us}
        self._open -= done
        return bool(done)
