"""Confluent's wire format: a zero byte, the schema's id as four bytes, big end first, then the message."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.formats.nodes import Longs
from headwater.formats.spans import Spans

SIZE = 5
NO_FRAME = -1
TOMBSTONE = -2


def schema_ids(spans: Spans) -> Longs:
    """The schema id of each message: `TOMBSTONE` of a null, `NO_FRAME` of one that does not begin as it should."""
    lengths = spans.ends - spans.starts
    ids = np.full(len(lengths), NO_FRAME, np.int64)
    ids[lengths < 0] = TOMBSTONE
    framed = np.flatnonzero(lengths >= SIZE)
    starts = spans.starts[framed]
    framed, starts = framed[spans.data[starts] == 0], starts[spans.data[starts] == 0]
    found = np.zeros(len(framed), np.int64)
    for place in range(1, SIZE):
        found = found << 8 | spans.data[starts + place]
    ids[framed] = found
    return ids


def header(identifier: int) -> bytes:
    """What stands before a message of this schema."""
    return b"\0" + identifier.to_bytes(4, "big")


def chosen(spans: Spans, mask: NDArray[np.bool_], skip: int) -> Spans:
    """The messages of a mask without their first `skip` bytes; the others as if they were null."""
    return Spans(spans.data, np.where(mask, spans.starts + skip, 1), np.where(mask, spans.ends, 0))
