"""Gathers rows of several Arrow batches into one, each value copied once.

Arrow's own way would be to take the rows of each batch, to put these in one piece, and to take them again in the order
wanted: three copies of every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from headwater.engine import gather_kernels as kernels
from headwater.index.kernels import Longs, Mask

_FEW_ROWS = 256
"""So few rows of one batch cost less with Arrow."""

_MOST_BYTES = (1 << 31) - 1
_NONE = np.zeros(0, np.int64)
_VALUES, _VALID = 0, 2
"""Where in a `Place` the address of values, and that of validity bits, stands."""

_LARGE = frozenset(kind.id for kind in (pa.large_string(), pa.large_binary()))
_TEXTS = _LARGE | {pa.string().id, pa.binary().id}
_FIXED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_WIDE = (16, 32)

Place = tuple[int, int, int, int]


class Block:
    """A batch whose values are found by their address; made once for a batch that is read often.

    Args:
        batch: the rows. It must live as long as the addresses are used.
    """

    __slots__ = ("_places", "batch")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._places: dict[str, tuple[pa.DataType, Place]] = {}

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def place(self, name: str) -> tuple[pa.DataType, Place]:
        """A column's type, and a row of what the kernels call `places`."""
        found = self._places.get(name)
        if found is None:
            array = self.batch.column(name)
            found = self._places[name] = array.type, _place(array)
        return found


def gathered(schema: pa.Schema, blocks: Sequence[Block], rows: Longs, which: Longs | None = None) -> pa.RecordBatch:
    """A batch in which row i is row `rows[i]` of block `which[i]`.

    Args:
        schema: of the blocks, which may have other columns too.
        which: None: of the first block.
    """
    if not len(rows):
        return pa.RecordBatch.from_pylist([], schema=schema)
    if len(blocks) == 1:
        which = None
        if len(rows) <= _FEW_ROWS:
            taken = blocks[0].batch.select(schema.names).take(pa.array(rows))
            return taken if taken.schema.equals(schema) else taken.cast(schema)
    chosen = _NONE if which is None else which
    columns = [_column(field, blocks, rows, chosen) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def pieces_of(rows: Longs, which: Longs | None, blocks: int) -> list[tuple[int, Longs, Longs]]:
    """The same block by block: its number, the rows there, and which of `rows` these are."""
    if which is None or blocks == 1:
        return [(0, rows, np.arange(len(rows)))] if len(rows) else []
    order = np.argsort(which.astype(np.uint16 if blocks < 1 << 16 else np.int64), kind="stable")
    bounds = np.searchsorted(which[order], np.arange(blocks + 1)).tolist()
    spans = enumerate(pairwise(bounds))
    return [(number, rows[order[begin:end]], order[begin:end]) for number, (begin, end) in spans if begin < end]


def _place(array: pa.Array) -> Place:
    kind, buffers = array.type, array.buffers()
    valid = buffers[0].address if array.null_count and buffers[0] is not None else 0
    if _texts(kind):
        data = buffers[2].address if buffers[2] is not None else 0
        return _address(buffers[1]) + array.offset * (8 if _large(kind) else 4), data, valid, array.offset
    if pa.types.is_boolean(kind):
        return _address(buffers[1]), array.offset, valid, array.offset
    width = _width(kind)
    return (_address(buffers[1]) + array.offset * width if width else 0), 0, valid, array.offset


def _address(buffer: pa.Buffer | None) -> int:
    return 0 if buffer is None else int(buffer.address)


def _texts(kind: pa.DataType) -> bool:
    return kind.id in _TEXTS


def _large(kind: pa.DataType) -> bool:
    return kind.id in _LARGE


def _width(kind: pa.DataType) -> int:
    """Bytes of a value of a type whose values stand one after the other, else 0."""
    flat = pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind)
    return int(kind.bit_width // 8) if flat else 0


def _column(field: pa.Field, blocks: Sequence[Block], rows: Longs, which: Longs) -> pa.Array:
    kind, found = field.type, [block.place(field.name) for block in blocks]
    places = np.array([place for _, place in found], np.int64)
    if any(own != kind for own, _ in found):
        return _by_arrow(field, blocks, rows, which)
    width = _width(kind)
    if pa.types.is_boolean(kind):
        data = [None, _packed(_bits(places, _VALUES, rows, which))]
    elif _texts(kind):
        texts = _texts_of(places, _large(kind), rows, which)
        if texts is None:
            return _by_arrow(field, blocks, rows, which)
        data = [None, *texts]
    elif width in _FIXED:
        unsigned = _FIXED[width]
        values = np.empty(len(rows), unsigned)
        kernels.collect(places, which, rows, values)
        data = [None, pa.py_buffer(values)]
    elif width in _WIDE:
        words = np.empty((len(rows), width // 8), np.uint64)
        kernels.collect_wide(places, which, rows, words)
        data = [None, pa.py_buffer(words)]
    else:
        return _by_arrow(field, blocks, rows, which)
    if places[:, _VALID].any():
        data[0] = _packed(_bits(places, _VALID, rows, which))
    return pa.Array.from_buffers(kind, len(rows), data)


def _packed(bits: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(bits, bitorder="little"))


def _bits(places: Longs, column: int, rows: Longs, which: Longs) -> Mask:
    found = np.empty(len(rows), np.bool_)
    kernels.collect_bits(places, column, which, rows, found)
    return found


def _texts_of(places: Longs, large: bool, rows: Longs, which: Longs) -> tuple[pa.Buffer, pa.Buffer] | None:
    """Where texts begin and end, and what they are; None if they are too long together for their type."""
    starts, width = np.empty(len(rows) + 1, np.int64), 8 if large else 4
    kernels.collect_starts(places, width, which, rows, starts)
    if not large and starts[-1] > _MOST_BYTES:
        return None
    found = np.empty(int(starts[-1]), np.uint8)
    kernels.collect_texts(places, width, which, rows, starts, found)
    return pa.py_buffer(starts if large else starts.astype(np.int32)), pa.py_buffer(found)


def _by_arrow(field: pa.Field, blocks: Sequence[Block], rows: Longs, which: Longs) -> pa.Array:
    """Nested, dictionary and other types."""
    pieces = pieces_of(rows, which if len(which) else None, len(blocks))
    parts = [blocks[number].batch.column(field.name).take(pa.array(own)) for number, own, _ in pieces]
    joined = pa.chunked_array([part.cast(field.type) for part in parts], field.type).combine_chunks()
    if len(pieces) == 1:
        return joined
    return joined.take(pa.array(np.argsort(np.concatenate([at for _, _, at in pieces]))))
