"""Numbers texts as they are met, and writes texts out by number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.index.kernels import Bytes, Mask, upper_bits
from headwater.index.key_index import roomier
from headwater.index.memory import Arrays
from headwater.index.text_kernels import COUNT, OVERHANG, USED_BYTES, Ints, number_texts, place_texts, write_texts

_LEAST = 1 << 10
_ALL_VALID = np.zeros(0, np.bool_)


class TextIndex:
    """The numbers of texts, from 0, which is NULL's, in the order in which they were met.

    A text takes 21 to 40 bytes and its own.

    Args:
        memory: where arrays come from.
        hash_bits: how many bits of the hash are used; less than 64 only to force collisions in tests.
    """

    def __init__(self, *, memory: Arrays | None = None, hash_bits: int = 64) -> None:
        self._memory = memory or Arrays()
        self._kept_bits = upper_bits(hash_bits)
        self.clear()

    def __len__(self) -> int:
        """How many texts there are, NULL among them."""
        return int(self._counters[COUNT])

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(array.nbytes for array in (self._buckets, self._arena, self._ends))

    def clear(self) -> None:
        """Forgets all texts."""
        self._counters = np.array([1, 0], np.int64)
        self._buckets = np.zeros(2 * _LEAST, np.uint64)
        self._arena = np.zeros(16 * _LEAST, np.uint8)
        self._ends = np.zeros(_LEAST, np.int64)

    def numbers(self, texts: pa.StringArray, most_new: int) -> Ints | None:
        """The number of each text, those not met before taken in; None if these are more than `most_new`, of which
        some are taken in."""
        numbers = np.empty(len(texts), np.int32)
        _, offsets, buffer = texts.buffers()
        spans = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(buffer, np.uint8) if buffer is not None else np.zeros(0, np.uint8)
        valid: Mask = np.asarray(texts.is_valid().to_numpy(zero_copy_only=False)) if texts.null_count else _ALL_VALID
        # Of the last texts more is read than is there.
        last = int(np.searchsorted(spans[:-1], len(data) - OVERHANG, side="right"))
        tail = np.concatenate([data[spans[last] :], np.zeros(OVERHANG, np.uint8)])
        end = len(self) + most_new
        done = self._number(data, spans[: last + 1], valid[:last], end, numbers[:last])
        done = done and self._number(tail, spans[last:] - spans[last], valid[last:], end, numbers[last:])
        return numbers if done else None

    def _number(self, data: Bytes, spans: Ints, valid: Mask, end: int, numbers: Ints) -> bool:
        """Whether all were numbered before there were `end`."""
        done = 0
        while True:
            most = min(end, len(self._ends) - 1, len(self._buckets) // 2)
            arrays = (self._buckets, self._arena, self._ends, self._counters, numbers)
            done = number_texts(data, spans, valid, done, most, self._kept_bits, *arrays)
            if done == len(numbers):
                return True
            if len(self) == end:
                return False
            self._make_room(int(spans[done + 1] - spans[done]))

    def texts(self, first: int = 0) -> pa.StringArray:
        """The texts numbered `first` and up, in order."""
        ends = self._ends[first : len(self) + 1]
        spans = (ends - ends[0]).astype(np.int32)
        data = pa.py_buffer(self._arena[ends[0] : ends[-1]].tobytes())
        nulls = pa.py_buffer(np.packbits(np.arange(first, len(self)) > 0, bitorder="little"))
        return pa.Array.from_buffers(pa.string(), len(ends) - 1, [None if first else nulls, pa.py_buffer(spans), data])

    def _make_room(self, length: int) -> None:
        """For one more text of so many bytes, at least."""
        count, used = len(self), int(self._counters[USED_BYTES])
        self._ends = self._memory.grown(self._ends, count + 2)
        self._arena = self._memory.grown(self._arena, used + length + OVERHANG)
        self._buckets = roomier(self._buckets, count + count // 2, self._memory)


class TextWriter:
    """Texts of which columns are made by number.

    Args:
        texts: at most 2 GiB of them; NULLs are written as such.
    """

    def __init__(self, texts: pa.StringArray) -> None:
        _, offsets, buffer = texts.buffers()
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        first, end = int(ends[0]), int(ends[-1])
        self._ends = np.ascontiguousarray(ends - first)
        self._data = np.zeros(end - first + OVERHANG, np.uint8)
        if buffer is not None:
            self._data[: end - first] = np.frombuffer(buffer, np.uint8)[first:end]
        self._valid = np.asarray(texts.is_valid().to_numpy(zero_copy_only=False)) if texts.null_count else None

    def written(self, numbers: Ints) -> pa.ChunkedArray:
        """The texts of these numbers; several chunks if they are too long for one."""
        starts = np.empty(len(numbers) + 1, np.int32)
        end = place_texts(self._ends, numbers, starts)
        if end < 0:
            half = len(numbers) // 2
            parts = (self.written(numbers[:half]), self.written(numbers[half:]))
            return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        data = np.empty(end + OVERHANG, np.uint8)
        write_texts(self._data, self._ends, numbers, starts, data)
        valid = self._valid[numbers] if self._valid is not None else None
        nulls = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        buffers = [nulls, pa.py_buffer(starts), pa.py_buffer(data[:end])]
        return pa.chunked_array([pa.Array.from_buffers(pa.string(), len(numbers), buffers)], pa.string())
