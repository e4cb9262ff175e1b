"""Where arrays that grow come from: the heap, unless whoever keeps state says otherwise."""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

Value = TypeVar("Value", bound=np.generic)

_LARGE_BYTES = 1 << 22


class Arrays:
    """Gives out arrays. `headwater.engine.state.memory.Memory` is one that keeps to a budget."""

    def zeros(self, size: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A new array of zeros."""
        return np.zeros(size, dtype)

    def grown(self, array: NDArray[Value], size: int) -> NDArray[Value]:
        """The array with room for `size` values; new values are zero.

        If it must grow it at least doubles, a large one grows by half at least; so each value is moved a few times.
        """
        if size <= len(array):
            return array
        half_more = len(array) + len(array) // 2
        room = max(size, half_more if array.nbytes >= _LARGE_BYTES else 2 * len(array))
        larger = cast("NDArray[Value]", self.zeros(room, array.dtype))
        larger[: len(array)] = array
        return larger
