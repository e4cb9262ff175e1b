"""The compiled loops over messages as librdkafka hands them over: one pass looks at them all, one copies their bytes.

A message is librdkafka's `rd_kafka_message_t` (rdkafka.h, "Message"), whose layout is part of its interface and the
same on every 64-bit machine: error (int32) at 0, topic handle at 8, partition (int32) at 16, payload and its length at
24 and 32, key and its length at 40 and 48, offset (int64) at 56. A payload or key at address 0 is null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from headwater.index.kernels import Bytes, Longs, compiled

ERROR, SLOT, OFFSET, TIME, VALUE, VALUE_SIZE, KEY, KEY_SIZE = range(8)
"""Columns of what `survey` finds of each message: the error's code, the number of its partition among those of the
batch, its offset, its time (milliseconds since 1970 UTC, -1 if it has none), and where its value and key are."""

FIELDS = 8
_INT, _LONG = ir.IntType(32), ir.IntType(64)
_longs, _bytes, _table = types.int64[::1], types.uint8[::1], types.int64[:, ::1]


def _number(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()))


def _load_long(_: Any, address: Any) -> Any:
    """The int64 at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _number(builder, arguments[0], _LONG)

    return types.int64(types.int64), generate


def _load_byte(_: Any, address: Any) -> Any:
    """The byte at an address, as int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(_number(builder, arguments[0], ir.IntType(8)), _LONG)

    return types.int64(types.int64), generate


def _load_int(_: Any, address: Any) -> Any:
    """The int32 at an address, as int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sext(_number(builder, arguments[0], _INT), _LONG)

    return types.int64(types.int64), generate


def _call_long(_: Any, function: Any, first: Any, second: Any) -> Any:
    """function(first, second) of pointers, which returns an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_LONG, [_LONG, _LONG]).as_pointer()
        return builder.call(builder.inttoptr(arguments[0], kind), list(arguments[1:]))

    return types.int64(types.int64, types.int64, types.int64), generate


def _call_int(_: Any, function: Any, first: Any, second: Any) -> Any:
    """function(first, second) of pointers, which returns an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_INT, [_LONG, _LONG]).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(arguments[0], kind), list(arguments[1:])), _LONG)

    return types.int64(types.int64, types.int64, types.int64), generate


def _call_five(_: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """function(a, b, c, d, e) of pointers and sizes, which returns an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_INT, [_LONG] * 5).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(arguments[0], kind), list(arguments[1:])), _LONG)

    return types.int64(*[types.int64] * 6), generate


def _call_void(_: Any, function: Any, first: Any) -> Any:
    """function(first), which returns nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_LONG]).as_pointer()
        builder.call(builder.inttoptr(arguments[0], kind), [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _memcpy(_: Any, out: Any, to: Any, source: Any, count: Any) -> Any:
    """Copies `count` bytes that are at an address to `out` at `to`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target = builder.gep(data, [arguments[1]])
        given = builder.inttoptr(arguments[2], ir.IntType(8).as_pointer())
        cgutils.raw_memcpy(builder, target, given, arguments[3], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(out, types.int64, types.int64, types.int64), generate


_long_at: Any = intrinsic(_load_long)
_byte_at: Any = intrinsic(_load_byte)
_int_at: Any = intrinsic(_load_int)
_long_of: Any = intrinsic(_call_long)
_int_of: Any = intrinsic(_call_int)
_five_of: Any = intrinsic(_call_five)
_void_of: Any = intrinsic(_call_void)
_copy: Any = intrinsic(_memcpy)


@compiled(types.int64(_longs, types.int64, types.int64, _table, _table))
def survey(messages: Longs, time_of: int, scratch: int, found: np.ndarray, pairs: np.ndarray) -> int:
    """Looks at every message.

    Args:
        messages: addresses.
        time_of: address of `rd_kafka_message_timestamp`.
        scratch: address of 8 bytes for it.
        found: out [message, FIELDS].
        pairs: out [partition of the batch, 2]: topic handle and partition.

    Returns:
        Number of pairs; -1 if `pairs` is too small.
    """
    count, slot = 0, -1
    topic, partition = np.int64(0), np.int64(-1)
    for i in range(len(messages)):
        at = messages[i]
        its_topic, its_partition = _long_at(at + 8), _int_at(at + 16)
        if slot < 0 or its_topic != topic or its_partition != partition:
            topic, partition = its_topic, its_partition
            slot = 0
            while slot < count and (pairs[slot, 0] != topic or pairs[slot, 1] != partition):
                slot += 1
            if slot == count:
                if count == len(pairs):
                    return -1
                pairs[slot, 0], pairs[slot, 1] = topic, partition
                count += 1
        found[i, 0] = _int_at(at)
        found[i, 1] = slot
        found[i, 2] = _long_at(at + 56)
        found[i, 3] = _long_of(time_of, at, scratch) if found[i, 0] == 0 else np.int64(-1)
        found[i, 4], found[i, 5] = _long_at(at + 24), _long_at(at + 32)
        found[i, 6], found[i, 7] = _long_at(at + 40), _long_at(at + 48)
    return count


@compiled(types.int64(_table, _longs, _longs))
def fresh(found: np.ndarray, expected: Longs, keep: Longs) -> int:
    """Numbers of the messages that are no errors and were not there before.

    Args:
        found: of `survey`.
        expected: by partition of the batch, the offset that comes next; moved on.
        keep: out: the numbers.

    Returns:
        How many there are.
    """
    count = 0
    for i in range(len(found)):
        slot, offset = found[i, 1], found[i, 2]
        if found[i, 0] == 0 and offset >= expected[slot]:
            expected[slot] = offset + 1
            keep[count] = i
            count += 1
    return count


@compiled(types.void(_table, _longs, types.int64, types.int32[::1]))
def starts(found: np.ndarray, rows: Longs, column: int, out: np.ndarray) -> None:
    """Where the values (`column` VALUE) or keys (KEY) of messages begin in what is made, and the last one's end."""
    end = np.int64(0)
    for i in range(len(rows)):
        out[i] = end
        if found[rows[i], column] != 0:
            end += found[rows[i], column + 1]
    out[len(rows)] = end


@compiled(types.void(_table, _longs, types.int64, types.int32[::1], _bytes, _bytes))
def fill(found: np.ndarray, rows: Longs, column: int, begin: np.ndarray, data: Bytes, valid: Bytes) -> None:
    """Copies the bytes of values or keys; `valid` takes a 1 for each that is not null."""
    for i in range(len(rows)):
        address = found[rows[i], column]
        valid[i] = address != 0
        if address != 0:
            _copy(data, np.int64(begin[i]), address, found[rows[i], column + 1])


@compiled(types.void(_longs, types.int64))
def release(messages: Longs, destroy: int) -> None:
    """Gives the messages back."""
    for i in range(len(messages)):
        _void_of(destroy, messages[i])


@compiled(types.int64(types.int64))
def _text_size(address: int) -> int:
    """Bytes of a C string."""
    size = np.int64(0)
    while _byte_at(address + size) != 0:
        size += 1
    return int(size)


@compiled(types.int64(_longs, _longs, _longs, types.int64, _longs))
def headers_of(messages: Longs, rows: Longs, functions: Longs, scratch: int, counts: Longs) -> int:
    """Counts the headers of messages.

    Args:
        messages: addresses.
        rows: which of them.
        functions: addresses of `rd_kafka_message_headers`, `rd_kafka_header_cnt` and `rd_kafka_header_get_all`.
        scratch: address of 32 bytes.
        counts: out: headers of each.

    Returns:
        How many there are in all.
    """
    total = np.int64(0)
    for i in range(len(rows)):
        counts[i] = 0
        if _int_of(functions[0], messages[rows[i]], scratch) == 0:
            counts[i] = _long_of(functions[1], _long_at(scratch), 0)
        total += counts[i]
    return int(total)


@compiled(types.void(_longs, _longs, _longs, types.int64, _table))
def list_headers(messages: Longs, rows: Longs, functions: Longs, scratch: int, found: np.ndarray) -> None:
    """Where the name and value of every header are: [header, address of the name, its size, of the value, its size]."""
    at = 0
    for i in range(len(rows)):
        if _int_of(functions[0], messages[rows[i]], scratch) != 0:
            continue
        headers = _long_at(scratch)
        for number in range(_long_of(functions[1], headers, 0)):
            _five_of(functions[2], headers, number, scratch + 8, scratch + 16, scratch + 24)
            found[at, 0] = _long_at(scratch + 8)
            found[at, 1] = _text_size(found[at, 0])
            found[at, 2], found[at, 3] = _long_at(scratch + 16), _long_at(scratch + 24)
            at += 1
