"""The compiled loops that number texts by an index of those met before, and write out texts by number.

The index is open addressing as in `headwater.index.kernels`, from which texts are not removed. They stand in an arena
one after the other, text i between `ends[i]` and `ends[i + 1]`; number 0 is NULL's, an empty text that no bucket leads
to. Texts are hashed, compared and copied a word of 8 bytes at a time, wherever it begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from headwater.index.kernels import Bytes, Longs, Mask, Words, compiled, inlined

Ints = NDArray[np.int32]

_bytes, _words, _longs = types.uint8[::1], types.uint64[::1], types.int64[::1]
_ints, _mask = types.int32[::1], types.boolean[::1]
_MIX, _LAST = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_OTHER = np.uint64(0x9E3779B97F4A7C15)
_EMPTY, _ONE, _HALF, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(8)
_SLOT = np.uint64(0xFFFFFFFF)
_FIRST = np.array([(1 << 8 * min(length, 8)) - 1 for length in range(17)], np.uint64)
_SECOND = np.array([(1 << 8 * max(length - 8, 0)) - 1 for length in range(17)], np.uint64)
"""Which bits of the first two words are a text's of so many bytes: a branch would often be guessed wrong."""


_BLOCK = 512

COUNT, USED_BYTES = 0, 1
"""Places in an index's counters: how many texts there are, NULL's place included, and how many bytes they take."""

OVERHANG = 16
"""So many bytes from where a text begins are read, whatever its length, and up to 8 behind it written."""


def _read(kind: Any) -> types.Array:
    return types.Array(kind, 1, "C", readonly=True)


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Pointer to the word that begins at a byte of an array."""
    base = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(base, [arguments[1]]), context.get_value_type(types.uint64).as_pointer())


def _loading(_: Any, data: Any, at: Any) -> Any:
    """The 8 bytes from `at` on as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature, arguments), align=1)

    return types.uint64(data, at), generate


def _storing(_: Any, data: Any, at: Any, word: Any) -> Any:
    """Writes a word to the 8 bytes from `at` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, signature, arguments), align=1)
        return context.get_dummy_value()

    return types.void(data, at, word), generate


_load: Any = intrinsic(_loading)
_store: Any = intrinsic(_storing)


@inlined
def _hash(data: Bytes, start: Any, end: Any) -> Any:
    """Two lanes of words mixed as murmur3 does. Of a text longer than 16 bytes the last ones are read twice where
    words do not come out even: that takes no branch."""
    length = end - start
    a, b = np.uint64(length) * _OTHER, _OTHER
    if length > 16:
        at = start
        while at + 16 < end:
            a = (a ^ _load(data, at)) * _MIX
            b = (b ^ _load(data, at + 8)) * _LAST
            a ^= a >> _HALF
            b ^= b >> _HALF
            at += 16
        a = (a ^ _load(data, end - 16)) * _MIX
        b = (b ^ _load(data, end - 8)) * _LAST
        a ^= a >> _HALF
        b ^= b >> _HALF
    else:
        a = (a ^ (_load(data, start) & _FIRST[length])) * _MIX
        b = (b ^ (_load(data, start + 8) & _SECOND[length])) * _LAST
    a ^= a >> _HALF
    a = (a ^ (b << np.uint64(29) | b >> np.uint64(35))) * _MIX
    a = (a ^ (a >> _HALF)) * _LAST
    return a ^ (a >> _HALF)


@inlined
def _same(data: Bytes, start: Any, arena: Bytes, other: Any, length: Any) -> Any:
    """Whether two texts of one length are equal."""
    differs = _EMPTY
    if length > 16:
        at = 0
        while at + 16 < length:
            differs |= _load(data, start + at) ^ _load(arena, other + at)
            differs |= _load(data, start + at + 8) ^ _load(arena, other + at + 8)
            at += 16
        differs |= _load(data, start + length - 16) ^ _load(arena, other + length - 16)
        differs |= _load(data, start + length - 8) ^ _load(arena, other + length - 8)
    else:
        differs = (_load(data, start) ^ _load(arena, other)) & _FIRST[length]
        differs |= (_load(data, start + 8) ^ _load(arena, other + 8)) & _SECOND[length]
    return differs == _EMPTY


@inlined
def _stands(entry: np.uint64, data: Bytes, start: Any, arena: Bytes, ends: Longs, length: Any) -> Any:
    """Whether the text of an entry is the one that begins at `start`."""
    slot = np.int64(entry & _SLOT)
    other = ends[slot]
    return ends[slot + 1] - other == length and _same(data, start, arena, other, length)


_NUMBERING = types.int64(
    _read(types.uint8), _read(types.int32), _mask, types.int64, types.int64, types.uint64,
    _words, _bytes, _longs, _longs, _ints,
)  # fmt: skip


@compiled(_NUMBERING)
def number_texts(
    data: Bytes,
    spans: Ints,
    valid: Mask,
    first: int,
    most: int,
    kept_bits: np.uint64,
    buckets: Words,
    arena: Bytes,
    ends: Longs,
    counters: Longs,
    numbers: Ints,
) -> int:
    """Numbers the texts from `first` on, taking in those not met before.

    Args:
        data: text i is `data[spans[i]:spans[i + 1]]` and begins `OVERHANG` bytes before the end at least.
        valid: which are not NULL; empty if all are.
        most: so many texts may be in the index.

    Returns:
        The text for which there is no room in the index; the number of texts if all were numbered.
    """
    size, tags, homes = np.uint64(len(buckets)), np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    for block in range(first, len(numbers), _BLOCK):
        until = min(block + _BLOCK, len(numbers))
        for i in range(block, until):
            tag = (_hash(data, np.int64(spans[i]), np.int64(spans[i + 1])) & kept_bits) >> _HALF
            tags[i - block], homes[i - block] = tag, buckets[(tag * size) >> _HALF]
        for i in range(block, until):
            if len(valid) and not valid[i]:
                numbers[i] = 0
                continue
            start, tag, entry = np.int64(spans[i]), tags[i - block], homes[i - block]
            length = np.int64(spans[i + 1]) - start
            bucket = (tag * size) >> _HALF
            # A home that was empty may have been taken since by a text of the same block.
            entry = entry if entry else buckets[bucket]
            while entry and not (entry >> _HALF == tag and _stands(entry, data, start, arena, ends, length)):
                bucket = bucket + _ONE if bucket + _ONE < size else _EMPTY
                entry = buckets[bucket]
            if not entry:
                slot, used = counters[COUNT], counters[USED_BYTES]
                if slot >= most or used + length + OVERHANG > len(arena):
                    return i
                arena[used : used + length] = data[start : start + length]
                counters[COUNT], counters[USED_BYTES], ends[slot + 1] = slot + 1, used + length, used + length
                entry = buckets[bucket] = tag << _HALF | np.uint64(slot)
            numbers[i] = np.int64(entry & _SLOT)
    return len(numbers)


@compiled(types.int64(_read(types.int32), _read(types.int32), _ints))
def place_texts(ends: Ints, numbers: Ints, starts: Ints) -> int:
    """Where the texts of these numbers begin when they follow each other; where they end, -1 if past 31 bits."""
    at = 0
    for i in range(len(numbers)):
        starts[i] = at
        at += ends[numbers[i] + 1] - ends[numbers[i]]
        if at > 0x7FFFFFFF:
            return -1
    starts[len(numbers)] = at
    return at


@compiled(types.void(_read(types.uint8), _read(types.int32), _read(types.int32), _ints, _bytes))
def write_texts(data: Bytes, ends: Ints, numbers: Ints, starts: Ints, out: Bytes) -> None:
    """Writes the texts of these numbers to their places: a word at a time, of which the last may reach into the next
    text, which is written after it."""
    for i in range(len(numbers)):
        source, at, end = np.int64(ends[numbers[i]]), np.int64(starts[i]), np.int64(starts[i + 1])
        while at < end:
            _store(out, at, _load(data, source))
            at += 8
            source += 8


@compiled(types.void(_read(types.uint8), _read(types.int32), types.uint8, _longs))
def count_bytes(data: Bytes, spans: Ints, wanted: np.uint8, counts: Longs) -> None:
    """How often a byte occurs in each text."""
    for i in range(len(counts)):
        count = np.int32(0)
        # Over a slice, and in 32 bits, the loop is one of vectors.
        for byte in data[spans[i] : spans[i + 1]]:
            count += np.int32(byte == wanted)
        counts[i] = count
