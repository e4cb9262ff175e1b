"""Reads values back from the words of an `OrderKey` over one column without NULLs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.engine.order_key import field_bits
from headwater.index.kernels import Mask, Words

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def values_of(words: Words, kind: pa.DataType, nulls: Mask, *, descending: bool) -> pa.Array:
    """The values that words stand for.

    Args:
        words: one row per value.
        kind: the column's type, for which `field_bits` is not 0.
        nulls: where the value is NULL, whatever the words.
        descending: the order was.
    """
    bits = field_bits(kind)
    sign = np.uint64(1 << (min(bits, 64) - 1))
    kept = words[:, 0] >> np.uint64(64 - min(bits, 64))
    if descending:
        kept = kept ^ (_ALL >> np.uint64(64 - min(bits, 64)))
    mask = None if not nulls.any() else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    if pa.types.is_boolean(kind):
        return pa.array(kept != 0, mask=nulls)
    if pa.types.is_decimal128(kind):
        pairs = np.empty((len(words), 2), np.uint64)
        if bits == 64:
            pairs[:, 0] = kept ^ sign
            pairs[:, 1] = (pairs[:, 0].view(np.int64) >> 63).view(np.uint64)
        else:
            pairs[:, 0], pairs[:, 1] = words[:, 1] ^ (_ALL if descending else np.uint64(0)), kept ^ sign
        return pa.Array.from_buffers(kind, len(words), [mask, pa.py_buffer(pairs)])
    if pa.types.is_floating(kind):
        kept = np.where(kept & sign, kept ^ sign, ~kept & (_ALL >> np.uint64(64 - bits)))
    elif not pa.types.is_unsigned_integer(kind):
        kept = kept ^ sign
    return pa.Array.from_buffers(kind, len(words), [mask, pa.py_buffer(kept.astype(f"u{bits // 8}"))])
