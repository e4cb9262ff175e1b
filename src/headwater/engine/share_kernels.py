"""The compiled loops that share rows out among workers: one hash per row, one stable partition."""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.index.kernels import Bytes, Longs, Words, compiled

_words, _longs = types.uint64[::1], types.int64[::1]
_read_words = types.Array(types.uint64, 1, "C", readonly=True)
_read_longs = types.Array(types.int64, 1, "C", readonly=True)
_read_bytes = types.Array(types.uint8, 1, "C", readonly=True)

_MIX = np.uint64(0xFF51AFD7ED558CCD)
_HALF = np.uint64(32)
_BYTE, _EIGHT, _SEVEN = np.uint64(8), np.int64(8), np.int64(7)


@compiled(types.void(_read_words, _words))
def mix(column: Words, hashes: Words) -> None:
    """Works one column's words into the hashes of the rows: murmur3's finaliser, a word at a time."""
    for i in range(len(hashes)):
        h = (hashes[i] ^ column[i]) * _MIX
        hashes[i] = h ^ (h >> _HALF)


@compiled(types.void(_read_bytes, _read_longs, _words))
def hash_texts(data: Bytes, offsets: Longs, out: Words) -> None:
    """A word per text, text i being `data[offsets[i]:offsets[i + 1]]`."""
    for i in range(len(out)):
        at, end = offsets[i], offsets[i + 1]
        h = np.uint64(end - at)
        while at + _EIGHT <= end:
            word = np.uint64(0)
            for j in range(8):
                word |= np.uint64(data[at + j]) << (np.uint64(j) * _BYTE)
            h = (h ^ word) * _MIX
            h ^= h >> _HALF
            at += _EIGHT
        word = np.uint64(0)
        while at < end:
            word = (word << _BYTE) | np.uint64(data[at])
            at += 1
        h = (h ^ word) * _MIX
        out[i] = h ^ (h >> _HALF)


@compiled(types.void(_words, types.uint64, _longs))
def owners_of(hashes: Words, count: np.uint64, out: Longs) -> None:
    """Each hash's worker. The index picks its buckets by the low bits and its tags by the high ones of a hash that
    may be the same: these bits are from between, and mixed once more."""
    for i in range(len(out)):
        h = hashes[i] * _MIX
        out[i] = np.int64((((h >> np.uint64(24)) & np.uint64(0xFFFF)) * count) >> np.uint64(16))


@compiled(types.void(_longs, _longs, _longs))
def partition(owners: Longs, starts: Longs, order: Longs) -> None:
    """A stable counting sort: writes where each worker's rows start (one more than there are workers), and the row
    numbers in the order of their workers."""
    for owner in owners:
        starts[owner + 1] += 1
    for k in range(1, len(starts)):
        starts[k] += starts[k - 1]
    at = starts.copy()
    for i in range(len(owners)):
        order[at[owners[i]]] = i
        at[owners[i]] += 1
