"""Where the values of a binary array lie in its bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spans:
    """Values as spans of bytes.

    Attributes:
        data: uint8.
        starts, ends: int64 by value; a null ends one before it starts.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def spans_of(values: pa.Array) -> Spans:
    """The spans of a binary or text array, of 32 or 64 bit offsets."""
    wide = pa.types.is_large_binary(values.type) or pa.types.is_large_string(values.type)
    _, offsets, data = values.buffers()
    kind = np.dtype(np.int64 if wide else np.int32)
    if offsets is None or not len(values):
        offsets = pa.py_buffer(np.zeros(len(values) + values.offset + 1, kind))
    places = np.frombuffer(offsets, kind, len(values) + 1, values.offset * kind.itemsize).astype(np.int64)
    starts, ends = places[:-1].copy(), places[1:].copy()
    if values.null_count:
        missing = values.is_null().to_numpy(zero_copy_only=False)
        ends[missing] = starts[missing] - 1
    held = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return Spans(held, starts, ends)
