"""Regions of an arena as Arrow arrays: how the entries of each kind of node are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.formats.kernel_types import BYTES, FLAGS, INTS, LONG, LONGS, NOTHING, SOURCE
from headwater.formats.nodes import Arena, Bytes, Longs, Node
from headwater.index.kernels import compiled

Flags = NDArray[np.bool_]


@compiled(LONG(LONGS, FLAGS, INTS))
def measure(spans: Longs, valid: Flags, offsets: NDArray[np.int32]) -> int:
    """Writes the offsets of what spans mean, gathered; returns how many bytes that takes, -1 if it is 2 GiB."""
    total = np.int64(0)
    offsets[0] = 0
    for i in range(len(spans)):
        if valid[i]:
            total += spans[i] & 0xFFFFFFFF
        if total > 0x7FFFFFFF:
            return -1
        offsets[i + 1] = total
    return int(total)


@compiled(NOTHING(SOURCE, LONGS, FLAGS, INTS, BYTES))
def gather(buffer: Bytes, spans: Longs, valid: Flags, offsets: NDArray[np.int32], out: Bytes) -> None:
    """Copies what spans mean."""
    for i in range(len(spans)):
        if valid[i]:
            start = spans[i] >> 32
            to = offsets[i]
            for j in range(spans[i] & 0xFFFFFFFF):
                out[to + j] = buffer[start + j]


@compiled(NOTHING(SOURCE, LONGS, FLAGS, LONGS))
def gather_decimals(buffer: Bytes, spans: Longs, valid: Flags, out: Longs) -> None:
    """Big-endian numbers in two's complement as 128 bits, little end first: two words each."""
    for i in range(len(spans)):
        if not valid[i]:
            out[2 * i] = out[2 * i + 1] = 0
            continue
        start, length = spans[i] >> 32, spans[i] & 0xFFFFFFFF
        sign = np.int64(-1) if buffer[start] & 0x80 else np.int64(0)
        low, high = sign, sign
        for j in range(max(0, length - 16), length):
            high = high << np.int64(8) | (low >> np.int64(56) & np.int64(0xFF))
            low = low << np.int64(8) | np.int64(buffer[start + j])
        out[2 * i], out[2 * i + 1] = low, high


def build(node: Node, arena: Arena, buffer: Bytes) -> pa.Array:
    """The array of a node's entries.

    Args:
        node: which.
        arena: the entries.
        buffer: what spans point into.

    Raises:
        pa.ArrowInvalid: the text of a column would take 2 GiB.
    """
    values, valid = arena.entries(node.id)
    return _KINDS[node.kind](node, values, valid, arena, buffer)


def _bitmap(valid: Flags) -> pa.Buffer | None:
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _plain_of(to: pa.DataType, count: int, values: NDArray[np.generic], valid: Flags) -> pa.Array:
    return pa.Array.from_buffers(to, count, [_bitmap(valid), pa.py_buffer(values)])


def _plain(to: pa.DataType, values: NDArray[np.generic], valid: Flags) -> pa.Array:
    return _plain_of(to, len(values), np.ascontiguousarray(values), valid)


def _numbers(dtype: type[np.generic], times: int = 1) -> _Build:
    def made(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
        found = values * times if times != 1 else values.copy() if dtype is np.int64 else values.astype(dtype)
        return _plain(node.type, found, valid)

    return made


def _floats(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return _plain(node.type, values.astype(np.uint32).view(np.float32), valid)


def _doubles(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return _plain(node.type, values.copy().view(np.float64), valid)


def _booleans(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return _plain_of(node.type, len(values), np.packbits(values.astype(np.bool_), bitorder="little"), valid)


def _nothing(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return pa.nulls(len(values))


def _spans(to: pa.DataType, values: Longs, valid: Flags, buffer: Bytes) -> pa.Array:
    offsets = np.empty(len(values) + 1, np.int32)
    size = measure(values, valid, offsets)
    if size < 0:
        raise pa.ArrowInvalid("more than 2 GiB of text in one batch")
    out = np.empty(size, np.uint8)
    gather(buffer, values, valid, offsets, out)
    return pa.Array.from_buffers(to, len(values), [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(out)])


def _text(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return _spans(node.type, values, valid, buffer)


def _symbols(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    return pa.array(node.names, pa.string()).take(_plain(pa.int64(), values, valid))


def _open_symbols(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    """Names of numbers, of which some may have none."""
    found, places = np.unique(values, return_inverse=True)
    names = dict(zip(reversed(node.numbers), reversed(node.names), strict=True))
    return pa.array([names.get(number, str(number)) for number in found.tolist()], pa.string()).take(
        _plain(pa.int64(), places.astype(np.int64), valid)
    )


def _unsigned(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    """Numbers of 64 bits without a sign, as decimals of 128 bits."""
    out = np.zeros(2 * len(values), np.int64)
    out[0::2] = values
    return _plain_of(node.type, len(values), out, valid)


def _instants(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    seconds, nanos = (arena.entries(child.id)[0] for child in node.children)
    return _plain(node.type, np.where(valid, seconds * 1_000_000 + nanos // 1000, 0), valid)


def _time_spans(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    """Seconds and nanoseconds as Protocol Buffers write them in JSON: "-1.500000000s"."""
    seconds, nanos = (arena.entries(child.id)[0] for child in node.children)
    sign = pc.if_else(pa.array((seconds < 0) | (nanos < 0)), "-", "")
    whole = pa.array(np.abs(seconds)).cast(pa.string())
    rest = pc.utf8_slice_codeunits(pa.array(1_000_000_000 + np.abs(nanos)).cast(pa.string()), 1)
    text = pc.binary_join_element_wise(sign, whole, ".", rest, "s", "")
    return pc.if_else(pa.array(valid), text, None)


def _wrapped(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    inner = build(node.children[0], arena, buffer)
    return inner if valid.all() else pc.if_else(pa.array(valid), inner, None)


def _decimals(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    out = np.empty(2 * len(values), np.int64)
    gather_decimals(buffer, values, valid, out)
    return _plain_of(node.type, len(values), out, valid)


def _big_decimals(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    found = _spans(pa.binary(), values, valid, buffer).to_pylist()
    return pa.array([None if each is None else _decimal_text(each, node.scale) for each in found], pa.string())


def _decimal_text(value: bytes, scale: int) -> str:
    number = int.from_bytes(value, "big", signed=True)
    digits = _digits(abs(number)).rjust(scale + 1, "0")
    whole = digits[: len(digits) - scale]
    return f"{'-' if number < 0 else ''}{whole}{'.' + digits[len(whole) :] if scale else ''}"


def _digits(number: int) -> str:
    """Decimal digits of any number: `str` refuses more than 4,300 of them, since it takes quadratic time."""
    if number < 10**4000:
        return str(number)
    high, low = divmod(number, 10**4000)
    return _digits(high) + str(low).rjust(4000, "0")


def _uuids(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    """16 bytes as text: 8-4-4-4-12 digits."""
    raw = _spans(pa.binary(), values, valid, buffer)
    data = np.frombuffer(raw.buffers()[2] or b"", np.uint8).reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(data), 36), ord("-"), np.uint8)
    places = [i for i in range(36) if i not in (8, 13, 18, 23)]
    text[:, places[0::2]], text[:, places[1::2]] = digits[data >> 4], digits[data & 15]
    offsets = np.concatenate(([0], np.cumsum(np.where(valid, 36, 0)))).astype(np.int32)
    buffers = [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _durations(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    """Months, days and milliseconds as ISO 8601 writes them: P1M2DT3.004S."""
    raw = _spans(pa.binary(), values, valid, buffer)
    parts = np.frombuffer(raw.buffers()[2] or b"", "<u4").reshape(-1, 3).astype(np.int64)
    whole = np.zeros((len(values), 3), np.int64)
    whole[valid] = parts
    months, days, seconds, millis = whole[:, 0], whole[:, 1], whole[:, 2] // 1000, whole[:, 2] % 1000
    numbers = [pa.array(each).cast(pa.string()) for each in (months, days, seconds, 1000 + millis)]
    tail = pc.utf8_slice_codeunits(numbers[3], 1)
    text = pc.binary_join_element_wise("P", numbers[0], "M", numbers[1], "DT", numbers[2], ".", tail, "S", "")
    return pc.if_else(pa.array(valid), text, None)


def _offsets(values: Longs, items: int) -> pa.Buffer:
    if items > 0x7FFFFFFF:
        raise pa.ArrowInvalid("more than 2^31 items in one batch")
    return pa.py_buffer(np.concatenate(([0], values)).astype(np.int32))


def _lists(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    items = build(node.children[0], arena, buffer)
    buffers = [_bitmap(valid), _offsets(values, len(items))]
    return pa.Array.from_buffers(node.type, len(values), buffers, children=[items])


def _maps(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    keys, items = (build(child, arena, buffer) for child in node.children)
    keep = _last_of_each_key(values, keys)
    if keep is not None:
        values = np.searchsorted(keep, values)
        keys, items = keys.take(pa.array(keep)), items.take(pa.array(keep))
    pair = pa.struct([pa.field("key", keys.type, nullable=False), pa.field("value", items.type)])
    entries = pa.Array.from_buffers(pair, len(keys), [None], children=[keys, items])
    buffers = [_bitmap(valid), _offsets(values, len(keys))]
    return pa.Array.from_buffers(node.type, len(values), buffers, children=[entries])


def _last_of_each_key(ends: Longs, keys: pa.Array) -> Longs | None:
    """Places of the last entry of each key of each map, in order; None if no key comes twice in one map."""
    rows = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    table = pa.table({"row": rows, "key": keys, "place": np.arange(len(rows))})
    last = table.group_by(["row", "key"], use_threads=False).aggregate([("place", "max")]).column("place_max")
    return None if len(last) == len(rows) else np.sort(last.to_numpy())


def _structs(node: Node, values: Longs, valid: Flags, arena: Arena, buffer: Bytes) -> pa.Array:
    children = [build(child, arena, buffer) for child in node.children]
    return pa.Array.from_buffers(node.type, len(values), [_bitmap(valid)], children=children)


_Build = Callable[[Node, Longs, Flags, Arena, Bytes], pa.Array]
_KINDS: Final[dict[str, _Build]] = {
    "int": _numbers(np.int32),
    "date": _numbers(np.int32),
    "long": _numbers(np.int64),
    "time_ms": _numbers(np.int64, 1000),
    "moment_ms": _numbers(np.int64, 1000),
    "float": _floats,
    "double": _doubles,
    "boolean": _booleans,
    "null": _nothing,
    "bytes": _text,
    "string": _text,
    "enum": _symbols,
    "decimal": _decimals,
    "big_decimal": _big_decimals,
    "uuid": _uuids,
    "duration": _durations,
    "list": _lists,
    "map": _maps,
    "struct": _structs,
    "open_enum": _open_symbols,
    "unsigned": _unsigned,
    "instant": _instants,
    "span": _time_spans,
    "wrapper": _wrapped,
}
