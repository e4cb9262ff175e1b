"""Types of the compiled loops' arguments."""

from __future__ import annotations

from numba import types

SOURCE = types.Array(types.uint8, 1, "C", readonly=True)
LONGS_SOURCE = types.Array(types.int64, 1, "C", readonly=True)
BYTES, LONGS, TABLE, WORDS = types.uint8[::1], types.int64[::1], types.int64[:, ::1], types.uint64[:, ::1]
INTS, FLAGS = types.int32[::1], types.boolean[::1]
LONG, FLAG, NOTHING = types.int64, types.boolean, types.void


def several(*parts: types.Type) -> types.Type:
    """A tuple of these types."""
    return types.Tuple(parts)  # type: ignore[no-untyped-call]


ARENA = several(LONGS, LONGS, LONGS, LONGS, BYTES)
"""Starts, room, counts, values, valid; see `nodes.Arena`."""
PAIR = several(LONG, LONG)
