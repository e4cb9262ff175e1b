"""One value per slot: keys, and what a group shows that is not computed from words."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
from numba import types
from numpy.typing import NDArray

from headwater.engine.accumulators.records import longs_in, longs_out
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Bytes, Longs, compiled, copy_spans

_bytes_in = types.Array(types.uint8, 1, "C", readonly=True)
_LEAST_DEAD_BYTES = 1 << 16
_MOST_CHUNKS = 64


class SlotValues(Protocol):
    """Values by slot; NULL at first."""

    def reserve(self, slots: int) -> None:
        """Sees to it that slots below `slots` can be used."""

    def put(self, slots: Longs, values: pa.Array) -> None:
        """Writes values, one per slot; no slot twice."""

    def get(self, slots: Longs) -> pa.Array:
        """The values of slots."""

    def clear(self, slots: Longs) -> None:
        """Makes slots NULL."""


def slot_values(kind: pa.DataType, memory: Memory) -> SlotValues:
    """Values of a type."""
    if _is_text(kind):
        return TextValues(kind, memory)
    return FixedValues(kind, memory) if _width(kind) else OtherValues(kind, memory)


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.binary())


def _width(kind: pa.DataType) -> int:
    """Bytes per value; 0 if they vary."""
    if pa.types.is_boolean(kind):
        return 1
    whole = pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind)
    return int(kind.bit_width // 8) if whole else 0


class FixedValues:
    """Values of fixed width."""

    def __init__(self, kind: pa.DataType, memory: Memory) -> None:
        self._kind, self._memory, self._width = kind, memory, _width(kind)
        # Whole numbers are copied several times as fast as rows of bytes.
        self._dtype = np.dtype(f"u{self._width}" if self._width in (1, 2, 4, 8) else (np.void, self._width))
        self._values: NDArray[np.generic] = np.zeros(0, self._dtype)
        self._valid: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def reserve(self, slots: int) -> None:
        self._values = self._memory.grown(self._values, slots)
        self._valid = self._memory.grown(self._valid, slots)

    def put(self, slots: Longs, values: pa.Array) -> None:
        self._valid[slots] = values.is_valid().to_numpy(zero_copy_only=False) if values.null_count else True
        if pa.types.is_boolean(self._kind):
            self._values[slots] = values.fill_null(False).to_numpy(zero_copy_only=False)
        elif len(values):
            start = values.offset * self._width
            self._values[slots] = np.frombuffer(values.buffers()[1], self._dtype, len(values), start)

    def get(self, slots: Longs) -> pa.Array:
        values, valid = self._values[slots], self._valid[slots]
        if pa.types.is_boolean(self._kind):
            return pa.array(values != 0, mask=~valid)
        bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(self._kind, len(slots), [bits, pa.py_buffer(values.view(np.uint8))])

    def clear(self, slots: Longs) -> None:
        self._valid[slots] = False


@compiled(
    types.void(types.uint8[::1], longs_out, longs_out, longs_out, longs_in, _bytes_in, longs_in, longs_in, longs_out)
)
def _put_texts(
    arena: Bytes, starts: Longs, lengths: Longs, rooms: Longs, slots: Longs, data: Bytes, begins: Longs, sizes: Longs,
    counters: Longs,
) -> None:  # fmt: skip
    """Writes texts in place of the old ones where they fit, else behind everything. `counters`: bytes used, dead."""
    for i in range(len(slots)):
        slot, size = slots[i], max(sizes[i], 0)
        if size > rooms[slot]:
            counters[1] += rooms[slot]
            starts[slot] = counters[0]
            rooms[slot] = size
            counters[0] += size
        lengths[slot] = sizes[i]
        start, begin = starts[slot], begins[i]
        for j in range(size):
            arena[start + j] = data[begin + j]


class TextValues:
    """Strings and binaries in one arena.

    Attributes:
        arena, starts, lengths: the bytes of slot s are `lengths[s]` (-1: NULL) from `starts[s]`.
    """

    def __init__(self, kind: pa.DataType, memory: Memory) -> None:
        self._kind, self._memory = kind, memory
        self.arena: Bytes = np.zeros(0, np.uint8)
        self.starts: Longs = np.zeros(0, np.int64)
        self.lengths: Longs = np.zeros(0, np.int64)
        self._rooms: Longs = np.zeros(0, np.int64)
        self._counters = np.zeros(2, np.int64)

    def reserve(self, slots: int) -> None:
        known = len(self.lengths)
        self.starts, self.lengths, self._rooms = (
            self._memory.grown(array, slots) for array in (self.starts, self.lengths, self._rooms)
        )
        self.lengths[known:] = -1

    def put(self, slots: Longs, values: pa.Array) -> None:
        data, begins, sizes = texts_of(values)
        self._tidy()
        self.arena = self._memory.grown(self.arena, int(self._counters[0] + np.maximum(sizes, 0).sum()))
        arrays = (self.arena, self.starts, self.lengths, self._rooms)
        _put_texts(*arrays, np.ascontiguousarray(slots), data, begins, sizes, self._counters)

    def get(self, slots: Longs) -> pa.Array:
        lengths = self.lengths[slots]
        sizes = np.maximum(lengths, 0)
        offsets = np.zeros(len(slots) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        data = np.empty(offsets[-1], np.uint8)
        copy_spans(data, offsets[:-1].copy(), self.arena, self.starts[slots], sizes)
        bits = None if (lengths >= 0).all() else pa.py_buffer(np.packbits(lengths >= 0, bitorder="little"))
        buffers = [bits, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        return pa.Array.from_buffers(self._kind, len(slots), buffers)

    def clear(self, slots: Longs) -> None:
        self.lengths[slots] = -1

    def _tidy(self) -> None:
        """Moves the texts together once more than half of the arena is dead."""
        used, dead = self._counters.tolist()
        if dead < _LEAST_DEAD_BYTES or dead * 2 < used:
            return
        rooms = np.maximum(self.lengths, 0)
        ends = np.cumsum(rooms)
        arena = self._memory.grown(np.zeros(0, np.uint8), int(ends[-1]))
        copy_spans(arena, ends - rooms, self.arena, self.starts, rooms)
        self.arena, self.starts, self._rooms = arena, ends - rooms, rooms
        self._counters[:] = ends[-1], 0


def texts_of(values: pa.Array) -> tuple[Bytes, Longs, Longs]:
    """The bytes of strings or binaries: data, where each begins, and how long it is (-1: NULL)."""
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.zeros(1, np.int32)
    if len(values):
        offsets = np.frombuffer(offsets_buffer, np.int32)[values.offset : values.offset + len(values) + 1]
    begins, sizes = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    if values.null_count:
        sizes[np.asarray(values.is_null().to_numpy(zero_copy_only=False))] = -1
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return data, begins, sizes


class OtherValues:
    """Values of any other type, as Arrow has them: in the order in which they came, moved together now and then."""

    def __init__(self, kind: pa.DataType, memory: Memory) -> None:
        self._kind, self._memory = kind, memory
        self._values = pa.chunked_array([], kind)
        self._places: Longs = np.zeros(0, np.int64)

    def reserve(self, slots: int) -> None:
        self._places = self._memory.grown(self._places, slots)

    def put(self, slots: Longs, values: pa.Array) -> None:
        self._places[slots] = len(self._values) + 1 + np.arange(len(slots))
        self._values = pa.chunked_array([*self._values.chunks, values.cast(self._kind)], self._kind)
        if self._values.num_chunks > _MOST_CHUNKS:
            living = np.flatnonzero(self._places)
            moved = self._values.take(pa.array(self._places[living] - 1))
            self._values = pa.chunked_array([moved.combine_chunks()], self._kind)
            self._places[living] = 1 + np.arange(len(living))

    def get(self, slots: Longs) -> pa.Array:
        places = self._places[slots] - 1
        found = self._values.take(pa.array(places, mask=places < 0))
        return found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)

    def clear(self, slots: Longs) -> None:
        self._places[slots] = 0
