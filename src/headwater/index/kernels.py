"""The compiled loops of the hash index.

The index is open addressing with linear probing and backward-shift deletion (Knuth, TAOCP vol. 3, 6.4, algorithm R), so
there are no tombstones. A bucket is one uint64: the hash's upper 32 bits as a tag, and slot + 1 in the lower 32 (0:
empty). A tag that agrees is only a hint: the key's words are compared before a slot is answered.

All kernels release the GIL. Signatures are explicit, so that each is compiled once and found in the cache afterwards.
Under NUMBA_DISABLE_JIT=1 they are plain Python; callers then silence NumPy's warnings on wrapping uint64 arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Kernel = TypeVar("Kernel", bound=Callable[..., object])

_words, _longs, _mask = types.uint64[::1], types.int64[::1], types.boolean[::1]
_bytes = types.uint8[::1]
_source = types.Array(types.uint8, 1, "C", readonly=True)

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_TAG = np.uint64(0xFFFFFFFF00000000)
_SLOT = np.uint64(0x00000000FFFFFFFF)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_LAST = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(32)

FRESH, FREED, USED_WORDS = 0, 1, 2
"""Places in an index's counters: the next slot never used, how many slots wait for re-use, words used in the arena."""


def compiled(signature: object) -> Callable[[Kernel], Kernel]:
    """`numba.njit` with the house's settings, typed so that a kernel keeps its own signature for the type checker."""
    return cast(Callable[[Kernel], Kernel], njit(signature, cache=True, nogil=True))


def inlined(part: Kernel) -> Kernel:
    """Makes a function part of the kernels that call it: a call with array arguments would cost ten probes."""
    return cast(Kernel, njit(part, inline="always"))


@compiled(types.void(_bytes, _longs, _source, _longs, _longs))
def copy_spans(target: Bytes, target_starts: Longs, source: Bytes, source_starts: Longs, lengths: Longs) -> None:
    """Copies span i of `source` to `target_starts[i]`; starts and lengths in bytes."""
    for i in range(len(lengths)):
        to, start, length = target_starts[i], source_starts[i], lengths[i]
        target[to : to + length] = source[start : start + length]


@compiled(types.void(_words, _longs, types.uint64, _words))
def hash_rows(words: Words, offsets: Longs, kept_bits: np.uint64, out: Words) -> None:
    """Hashes rows of words (row i is `words[offsets[i]:offsets[i + 1]]`) with murmur3's 64-bit finaliser per word."""
    for i in range(len(out)):
        h = _SEED
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ words[j]) * _MIX
            h ^= h >> _HALF
        h = h * _LAST
        out[i] = (h ^ (h >> _HALF)) & kept_bits


@inlined
def _same(arena: Words, start: np.int64, length: int, words: Words, at: int, end: int) -> bool:
    """Whether the arena's `length` words from `start` are those of `words[at:end]`."""
    if length != end - at:
        return False
    same = 0
    while same < length and arena[start + same] == words[at + same]:
        same += 1
    return same == length


@inlined
def _probe(
    buckets: Words,
    arena: Words,
    starts: Longs,
    lengths: Longs,
    width: int,
    words: Words,
    at: int,
    end: int,
    h: np.uint64,
) -> np.uint64:
    """The bucket that holds this key, or the empty one where it belongs."""
    mask = np.uint64(len(buckets) - 1)
    bucket = h & mask
    tag = h & _TAG
    while True:
        entry = buckets[bucket]
        if entry == _EMPTY:
            return bucket
        if (entry & _TAG) == tag:
            slot = np.int64(entry & _SLOT) - 1
            start = slot * width if width else starts[slot]
            if _same(arena, start, width if width else lengths[slot], words, at, end):
                return bucket
        bucket = (bucket + _ONE) & mask


@compiled(types.void(_words, _words, _longs, _longs, types.int64, _words, _longs, _words, _longs))
def find(
    buckets: Words,
    arena: Words,
    starts: Longs,
    lengths: Longs,
    width: int,
    words: Words,
    offsets: Longs,
    hashes: Words,
    out: Longs,
) -> None:
    """Writes each row's slot, or -1. `width` is the words per key; 0: keys vary, see `starts` and `lengths` by slot.

    First the bucket whose tag agrees, then the key's words: in two loops, so that a processor waits for the memory of
    many rows at once (a fifth faster on 5 M keys). Where only the tag agreed, the probe begins again.
    """
    mask = np.uint64(len(buckets) - 1)
    for i in range(len(out)):
        bucket = hashes[i] & mask
        tag = hashes[i] & _TAG
        while buckets[bucket] != _EMPTY and (buckets[bucket] & _TAG) != tag:
            bucket = (bucket + _ONE) & mask
        out[i] = np.int64(buckets[bucket] & _SLOT) - 1
    for i in range(len(out)):
        slot = out[i]
        if slot < 0:
            continue
        start = slot * width if width else starts[slot]
        if not _same(arena, start, width if width else lengths[slot], words, offsets[i], offsets[i + 1]):
            bucket = _probe(buckets, arena, starts, lengths, width, words, offsets[i], offsets[i + 1], hashes[i])
            out[i] = np.int64(buckets[bucket] & _SLOT) - 1


_arrays = (_words, _words, _words, _longs, _longs, types.int64, _longs, _longs)


@compiled(types.void(*_arrays, _words, _longs, _words, _longs, _longs, _mask))
def insert(
    buckets: Words,
    slot_hashes: Words,
    arena: Words,
    starts: Longs,
    lengths: Longs,
    width: int,
    freed: Longs,
    counters: Longs,
    words: Words,
    offsets: Longs,
    hashes: Words,
    rows: Longs,
    out: Longs,
    created: Mask,
) -> None:
    """Finds or inserts the given rows in order. The caller has made room in every array."""
    for i in rows:
        at, end = offsets[i], offsets[i + 1]
        bucket = _probe(buckets, arena, starts, lengths, width, words, at, end, hashes[i])
        if buckets[bucket] != _EMPTY:
            out[i] = np.int64(buckets[bucket] & _SLOT) - 1
            continue
        if counters[FREED] > 0:
            counters[FREED] -= 1
            slot = freed[counters[FREED]]
        else:
            slot = counters[FRESH]
            counters[FRESH] += 1
        start = slot * width
        if not width:
            start = counters[USED_WORDS]
            counters[USED_WORDS] += end - at
            starts[slot] = start
            lengths[slot] = end - at
        arena[start : start + end - at] = words[at:end]
        slot_hashes[slot] = hashes[i]
        buckets[bucket] = (hashes[i] & _TAG) | np.uint64(slot + 1)
        out[i] = slot
        created[i] = True


@compiled(types.void(_words, _words, _words))
def rebuild(old: Words, slot_hashes: Words, buckets: Words) -> None:
    """Moves every entry of the buckets `old` into the larger, empty `buckets`."""
    mask = np.uint64(len(buckets) - 1)
    for entry in old:
        if entry != _EMPTY:
            bucket = slot_hashes[np.int64(entry & _SLOT) - 1] & mask
            while buckets[bucket] != _EMPTY:
                bucket = (bucket + _ONE) & mask
            buckets[bucket] = entry


@inlined
def _close_gap(buckets: Words, slot_hashes: Words, hole: np.uint64) -> None:
    """Empties a bucket and shifts back the entries after it that had been pushed past their home."""
    mask = np.uint64(len(buckets) - 1)
    at = hole
    while True:
        at = (at + _ONE) & mask
        entry = buckets[at]
        if entry == _EMPTY:
            break
        home = slot_hashes[np.int64(entry & _SLOT) - 1] & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            buckets[hole] = entry
            hole = at
    buckets[hole] = _EMPTY


@compiled(types.int64(_words, _words, _longs, _longs, _longs))
def remove(buckets: Words, slot_hashes: Words, freed: Longs, counters: Longs, slots: Longs) -> int:
    """Removes slots; stops at the first that is not in use and returns how many were removed."""
    mask = np.uint64(len(buckets) - 1)
    for i in range(len(slots)):
        wanted = np.uint64(slots[i] + 1)
        bucket = slot_hashes[slots[i]] & mask
        while (buckets[bucket] & _SLOT) != wanted:
            if buckets[bucket] == _EMPTY:
                return i
            bucket = (bucket + _ONE) & mask
        _close_gap(buckets, slot_hashes, bucket)
        freed[counters[FREED]] = slots[i]
        counters[FREED] += 1
    return len(slots)
