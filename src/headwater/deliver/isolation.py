"""Finds the records that a database refuses, so that the others of their batch go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Apply = Callable[[Places], str | None]
"""Applies some records, by their places, whole or not at all; None, or why one of them is refused."""


def isolate(count: int, apply: Apply) -> dict[int, str]:
    """Applies all records that can be; the places of those that cannot, with why. A record that was in the way of
    another (a unique value handed on) is not refused for it: what was refused is tried once more at the end."""
    refused = _halve(np.arange(count), apply)
    if not 0 < len(refused) < count:
        return refused
    return _halve(np.array(sorted(refused)), apply)


def _halve(places: Places, apply: Apply) -> dict[int, str]:
    why = apply(places) if len(places) else None
    if why is None:
        return {}
    if len(places) == 1:
        return {int(places[0]): why}
    middle = len(places) // 2
    return {**_halve(places[:middle], apply), **_halve(places[middle:], apply)}


def with_null(rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The places at which any of the columns is null, of each column's nulls as booleans."""
    return np.flatnonzero(np.logical_or.reduce(rows)) if rows else np.zeros(0, np.int64)
