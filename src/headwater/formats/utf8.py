"""Which values are UTF-8."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.formats.spans import spans_of


def valid_utf8(values: pa.Array) -> NDArray[np.bool_]:
    """Of some binary values which are UTF-8; a null is."""
    good = np.ones(len(values), np.bool_)
    try:
        pc.cast(values, pa.string())
    except pa.ArrowInvalid:
        from headwater.formats.kernels_utf8 import mark_utf8

        spans = spans_of(values)
        mark_utf8(spans.data, spans.starts, spans.ends, good)
    return good
