"""The compiled loops of the hash index.

The index is open addressing with linear probing and backward-shift deletion (Knuth, TAOCP vol. 3, 6.4, algorithm R), so
there are no tombstones. A bucket is one uint64: the hash's upper 32 bits as a tag, and slot + 1 in the lower 32 (0:
empty). A tag that agrees is only a hint: the key's words are compared before a slot is answered. A tag's home is
tag * buckets / 2**32 (Lemire, Fast random integer generation in an interval, 2019): any number of buckets will do, and
since homes are in the order of tags, growing moves the buckets in order and looks at nothing else.

Keys stand in an arena of words, either all of one width, key i at i * width, or (width 0) as `starts` and `lengths`
say. Keys of one width are `values` words, and where an index has seen a NULL words of null bits after them, which
count for the hash only if they are not 0; so a key without NULLs has the same hash in both forms.

All kernels release the GIL. Signatures are explicit, so that each is compiled once and found in the cache afterwards,
when it is first called: most processes use few of them.
Under NUMBA_DISABLE_JIT=1 they are plain Python, in which uint64 arithmetic wraps without a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.core.compiler_lock import global_compiler_lock
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Links = NDArray[np.uint32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Kernel = TypeVar("Kernel", bound=Callable[..., object])

_words, _longs, _mask = types.uint64[::1], types.int64[::1], types.boolean[::1]
_links = types.uint32[::1]
_bytes = types.uint8[::1]
_source = types.Array(types.uint8, 1, "C", readonly=True)

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_SLOT = np.uint64(0x00000000FFFFFFFF)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_LAST = np.uint64(0xC4CEB9FE1A85EC53)
_HALF = np.uint64(32)
_BLOCK = 512
"""Keys whose homes are touched without a branch before they are probed, so that their memory is waited for at once."""

FRESH, FREED, USED_WORDS = 0, 1, 2
"""Places in an index's counters: the next slot never used, how many slots wait for re-use, words used in the arena."""


class LateKernel:
    """A function that is compiled, or taken from the cache, when it or a kernel that calls it is first called.

    Args:
        function: what the kernel does.
        signature: its types, as `numba.njit` takes them.
    """

    def __init__(self, function: Callable[..., object], signature: object) -> None:
        update_wrapper(self, function)
        self._function, self._signature = function, signature
        self._kernel: Any = None

    def __call__(self, *arguments: object) -> object:
        return (self._kernel or self.load())(*arguments)

    def load(self) -> Any:
        """Numba's dispatcher, compiled."""
        with global_compiler_lock:
            if self._kernel is None:
                self._kernel = njit(self._signature, cache=True, nogil=True)(self._function)
        return self._kernel

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for where another kernel calls it."""
        return self.load()._numba_type_


def load_kernels(module: ModuleType) -> None:
    """Compiles, or takes from the cache, each kernel that a module has made or imported."""
    for kernel in list(vars(module).values()):
        if isinstance(kernel, LateKernel):
            kernel.load()


def compiled(signature: object) -> Callable[[Kernel], Kernel]:
    """`numba.njit` with the house's settings, typed so that a kernel keeps its own signature for the type checker."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return cast(Callable[[Kernel], Kernel], np.errstate(over="ignore"))

    def late(function: Kernel) -> Kernel:
        return cast(Kernel, LateKernel(function, signature))

    return late


def inlined(part: Kernel) -> Kernel:
    """Makes a function part of the kernels that call it: a call with array arguments would cost ten probes."""
    return cast(Kernel, njit(part, inline="always"))


@compiled(types.void(_bytes, _longs, _source, _longs, _longs))
def copy_spans(target: Bytes, target_starts: Longs, source: Bytes, source_starts: Longs, lengths: Longs) -> None:
    """Copies span i of `source` to `target_starts[i]`; starts and lengths in bytes."""
    for i in range(len(lengths)):
        to, start, length = target_starts[i], source_starts[i], lengths[i]
        target[to : to + length] = source[start : start + length]


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None where they are not compiled."""
    kernel: object = copy_spans
    return Path(kernel.load().stats.cache_path) if isinstance(kernel, LateKernel) else None


def upper_bits(count: int) -> np.uint64:
    """The mask of the `count` uppermost of 64 bits."""
    return np.uint64(((1 << count) - 1) << (64 - count))


@inlined
def _hash(words: Words, start: int, values: int, length: int) -> np.uint64:
    """Murmur3's 64-bit finaliser per word; words past `values` count if they are not 0."""
    h = _SEED
    for j in range(length):
        word = words[start + j]
        if j < values or word:
            h = (h ^ word) * _MIX
            h ^= h >> _HALF
    h = h * _LAST
    return h ^ (h >> _HALF)


@compiled(types.void(_words, _longs, types.uint64, _words))
def hash_rows(words: Words, offsets: Longs, kept_bits: np.uint64, out: Words) -> None:
    """Hashes rows of words (row i is `words[offsets[i]:offsets[i + 1]]`)."""
    for i in range(len(out)):
        length = offsets[i + 1] - offsets[i]
        out[i] = _hash(words, offsets[i], length, length) & kept_bits


@compiled(types.void(_words, types.int64, types.int64, types.uint64, _words))
def hash_keys(words: Words, values: int, width: int, kept_bits: np.uint64, out: Words) -> None:
    """Hashes keys of one width."""
    for i in range(len(out)):
        out[i] = _hash(words, i * width, values, width) & kept_bits


@inlined
def bucket_of(buckets: Words, tag: np.uint64) -> np.uint64:
    """The first bucket from the tag's home that is empty or has the tag."""
    size = np.uint64(len(buckets))
    at = (tag * size) >> _HALF
    while buckets[at] != _EMPTY and (buckets[at] >> _HALF) != tag:
        at += _ONE
        if at == size:
            at = _EMPTY
    return at


@inlined
def _same(arena: Words, start: int | np.int64, words: Words, at: int, end: int) -> bool:
    """Whether the arena's key from `start` is that of `words[at:end]`. No key's words begin another's, so that its
    length need not be looked at."""
    while at < end and arena[start] == words[at]:
        start, at = start + 1, at + 1
    return at == end


@inlined
def _probe(
    buckets: Words,
    arena: Words,
    starts: Longs,
    width: int,
    words: Words,
    at: int,
    end: int,
    tag: np.uint64,
    bucket: np.uint64,
) -> np.uint64:
    """The bucket, from the one given on, that holds this key, or the empty one where it belongs."""
    size = np.uint64(len(buckets))
    while buckets[bucket] != _EMPTY:
        if (buckets[bucket] >> _HALF) == tag:
            slot = np.int64(buckets[bucket] & _SLOT) - 1
            if _same(arena, slot * width if width else starts[slot], words, at, end):
                break
        bucket += _ONE
        if bucket == size:
            bucket = _EMPTY
    return bucket


@inlined
def _slot_of(
    buckets: Words, arena: Words, starts: Longs, width: int, words: Words, at: int, end: int, h: np.uint64
) -> np.int64:
    """The slot of this key, or -1."""
    tag = h >> _HALF
    home = (tag * np.uint64(len(buckets))) >> _HALF
    return np.int64(buckets[_probe(buckets, arena, starts, width, words, at, end, tag, home)] & _SLOT) - 1


@compiled(types.void(_words, _words, _longs, types.int64, _words, _longs, _words, _longs))
def find(
    buckets: Words, arena: Words, starts: Longs, width: int, words: Words, offsets: Longs, hashes: Words, out: Longs
) -> None:
    """Writes each key's slot, or -1. `offsets` are not looked at where there is a `width`.

    First the bucket whose tag agrees, then the key's words: in two loops, so that a processor waits for the memory of
    many keys at once. Where only the tag agreed, the probe begins again.
    """
    for i in range(len(out)):
        out[i] = np.int64(buckets[bucket_of(buckets, hashes[i] >> _HALF)] & _SLOT) - 1
    if width == 1:
        for i in range(len(out)):
            if out[i] >= 0 and arena[np.uint64(out[i])] != words[i]:
                out[i] = _slot_of(buckets, arena, starts, 1, words, i, i + 1, hashes[i])
        return
    if width == 2:
        for i in range(len(out)):
            if out[i] >= 0:
                first = np.uint64(2 * out[i])
                if arena[first] != words[2 * i] or arena[first + _ONE] != words[2 * i + 1]:
                    out[i] = _slot_of(buckets, arena, starts, 2, words, 2 * i, 2 * i + 2, hashes[i])
        return
    for i in range(len(out)):
        slot = out[i]
        if slot < 0:
            continue
        at, end = (i * width, i * width + width) if width else (offsets[i], offsets[i + 1])
        if not _same(arena, slot * width if width else starts[slot], words, at, end):
            out[i] = _slot_of(buckets, arena, starts, width, words, at, end, hashes[i])


_arrays = (_words, _words, _longs, _links, types.int64, _links, _longs)


@compiled(types.void(*_arrays, _words, _longs, _words, _longs, _longs, _mask))
def insert(
    buckets: Words,
    arena: Words,
    starts: Longs,
    lengths: Links,
    width: int,
    freed: Links,
    counters: Longs,
    words: Words,
    offsets: Longs,
    hashes: Words,
    rows: Longs,
    out: Longs,
    created: Mask,
) -> None:
    """Finds or inserts the given rows in order. The caller has made room in every array.

    The probe is `_probe`, written out because it is half as fast again.
    """
    size, left, fresh, used = np.uint64(len(buckets)), counters[FREED], counters[FRESH], counters[USED_WORDS]
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK]
        for i in block:
            out[i] = np.int64(buckets[((hashes[i] >> _HALF) * size) >> _HALF])
        for i in block:
            begin, end = (i * width, i * width + width) if width else (offsets[i], offsets[i + 1])
            tag = hashes[i] >> _HALF
            bucket = (tag * size) >> _HALF
            while buckets[bucket] != _EMPTY:
                if (buckets[bucket] >> _HALF) == tag:
                    slot, at = np.int64(buckets[bucket] & _SLOT) - 1, begin
                    start = slot * width if width else starts[slot]
                    while at < end and arena[start] == words[at]:
                        start, at = start + 1, at + 1
                    if at == end:
                        break
                bucket = bucket + _ONE if bucket + _ONE < size else _EMPTY
            if buckets[bucket] == _EMPTY:
                slot, fresh, left = (np.int64(freed[left - 1]), fresh, left - 1) if left else (fresh, fresh + 1, left)
                start = slot * width
                if not width:
                    start, used = used, used + end - begin
                    starts[slot], lengths[slot] = start, np.uint32(end - begin)
                for j in range(end - begin):
                    arena[start + j] = words[begin + j]
                buckets[bucket] = (tag << _HALF) | np.uint64(slot + 1)
                created[i] = True
            out[i] = np.int64(buckets[bucket] & _SLOT) - 1
    counters[FREED], counters[FRESH], counters[USED_WORDS] = left, fresh, used


@compiled(types.void(_words, _words))
def rebuild(old: Words, buckets: Words) -> None:
    """Moves every entry of the buckets `old` into the larger, empty `buckets`."""
    size = np.uint64(len(buckets))
    for entry in old:
        if entry != _EMPTY:
            at = ((entry >> _HALF) * size) >> _HALF
            while buckets[at] != _EMPTY:
                at += _ONE
                if at == size:
                    at = _EMPTY
            buckets[at] = entry


@inlined
def close_gap(buckets: Words, hole: np.uint64) -> None:
    """Empties a bucket and shifts back the entries after it that had been pushed past their home."""
    size = np.uint64(len(buckets))
    at = hole
    while True:
        at += _ONE
        if at == size:
            at = _EMPTY
        entry = buckets[at]
        if entry == _EMPTY:
            break
        home = ((entry >> _HALF) * size) >> _HALF
        from_home = at - home if at >= home else at + size - home
        from_hole = at - hole if at >= hole else at + size - hole
        if from_home >= from_hole:
            buckets[hole] = entry
            hole = at
    buckets[hole] = _EMPTY


@compiled(types.int64(_words, _words, _longs, _links, types.int64, types.int64, types.uint64, _links, _longs, _longs))
def remove(
    buckets: Words,
    arena: Words,
    starts: Longs,
    lengths: Links,
    values: int,
    width: int,
    kept_bits: np.uint64,
    freed: Links,
    counters: Longs,
    slots: Longs,
) -> int:
    """Removes slots; stops at the first that is not in use and returns how many were removed."""
    size, hashes, homes = np.uint64(len(buckets)), np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    for first in range(0, len(slots), _BLOCK):
        block = slots[first : first + _BLOCK]
        for i in range(len(block)):
            length = width if width else int(lengths[block[i]])
            start = block[i] * width if width else starts[block[i]]
            hashes[i] = (_hash(arena, start, values if width else length, length) & kept_bits) >> _HALF
            homes[i] = buckets[(hashes[i] * size) >> _HALF]
        for i in range(len(block)):
            wanted = np.uint64(block[i] + 1)
            bucket = (hashes[i] * size) >> _HALF
            while (buckets[bucket] & _SLOT) != wanted:
                if buckets[bucket] == _EMPTY:
                    return first + i
                bucket = bucket + _ONE if bucket + _ONE < size else _EMPTY
            close_gap(buckets, bucket)
            freed[counters[FREED]] = np.uint32(block[i])
            counters[FREED] += 1
    return len(slots)
