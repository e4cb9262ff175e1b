"""Packets out of a buffer of bytes from the server. Source: "MySQL Packets" in MySQL's manual of the protocol."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

HEADER_BYTES = 4
FULL_BYTES = 0xFFFFFF
"""A packet of this length goes on in the next one."""


@njit(cache=True, nogil=True)
def frame_packets(buffer: Bytes, start: int, end: int, begins: Integers, ends: Integers) -> tuple[int, int]:
    """Finds the whole packets in buffer[start:end]; one that was split is put together in place.

    Args:
        begins, ends: filled with where each packet's payload is, as many as there is room for.

    Returns:
        How many packets were found, and the first byte that belongs to none of them.
    """
    count, at = 0, start
    while count < begins.size:
        begin, stop, read = at + HEADER_BYTES, at + HEADER_BYTES, at
        while True:
            if read + HEADER_BYTES > end:
                return count, at
            length = np.int64(buffer[read]) | np.int64(buffer[read + 1]) << 8 | np.int64(buffer[read + 2]) << 16
            if read + HEADER_BYTES + length > end:
                return count, at
            read, stop = int(read + HEADER_BYTES + length), int(stop + length)
            if length < FULL_BYTES:
                break
        if read - stop > 0:
            _join(buffer, begin, stop)
        begins[count], ends[count] = begin, stop
        count, at = count + 1, read
    return count, at


@njit(cache=True, nogil=True)
def _join(buffer: Bytes, begin: int, stop: int) -> None:
    """Moves the parts of a split packet, all whole in the buffer, together; together they end at `stop`."""
    write, read = begin + FULL_BYTES, begin + FULL_BYTES
    while write < stop:
        length = np.int64(buffer[read]) | np.int64(buffer[read + 1]) << 8 | np.int64(buffer[read + 2]) << 16
        read += HEADER_BYTES
        for _ in range(length):
            buffer[write] = buffer[read]
            write, read = write + 1, read + 1
        if length < FULL_BYTES:
            return
