"""The compiled loops that gather values of Arrow buffers by their address.

Value i of what is made is value `rows[i]` of source `which[i]` (of the first where `which` is empty). A source is one
row of `places`: where its values are (of texts: where their ends are, and their bytes), and where its bits of validity
are, 0 if nothing is NULL, with the number of the first of them. A text is copied by one memcpy; that is twice as fast
as Arrow's `take`, and more where there are several sources.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from headwater.index.kernels import Bytes, Longs, Mask, Words, compiled

_longs, _bytes, _mask = types.int64[::1], types.uint8[::1], types.boolean[::1]
_places = types.int64[:, ::1]
_ONE, _THREE, _SEVEN = np.uint8(1), np.int64(3), np.int64(7)
_AHEAD, _LINE = np.int64(8), np.int64(64)
_WORD = ir.IntType(32)


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _loader(kind: Any) -> Any:
    """Reads the number that is at an address."""

    def load(_: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_pointer(builder, arguments[0], kind.bitwidth), align=1)

        return kind(address), generate

    return intrinsic(load)


def _memcpy(_: Any, out: Any, to: Any, source: Any, count: Any) -> Any:
    """Copies `count` bytes that are at an address to `out` at `to`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target = builder.gep(data, [arguments[1]])
        given = _pointer(builder, arguments[2], 8)
        cgutils.raw_memcpy(builder, target, given, arguments[3], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(out, to, source, count), generate


def _touch(_: Any, address: Any) -> Any:
    """Has the cache fetch what is at an address, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _pointer(builder, arguments[0], 8)
        kind = ir.FunctionType(ir.VoidType(), [place.type, _WORD, _WORD, _WORD])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # To read it, soon and again, as data.
        builder.call(fetch, [place, _WORD(0), _WORD(3), _WORD(1)])
        return context.get_dummy_value()

    return types.void(address), generate


def _load(_: Any, address: Any, like: Any) -> Any:
    """Reads the number that is at an address, of the kind that an array holds."""
    kind = like.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, arguments[0], kind.bitwidth), align=1)

    return kind(address, like), generate


_load1, _load4, _load8 = (_loader(kind) for kind in (types.uint8, types.uint32, types.uint64))
_value: Any = intrinsic(_load)
_copy: Any = intrinsic(_memcpy)
_prefetch: Any = intrinsic(_touch)

_KINDS = (types.uint8, types.uint16, types.uint32, types.uint64)


# A loop made by a function, for each kind one, would be compiled anew in every process: what such a loop is given from
# outside is part of the key by which Numba finds it in its cache, and an intrinsic is another one each time.
@compiled([types.void(_places, _longs, _longs, kind[::1]) for kind in _KINDS])
def collect(places: Longs, which: Longs, rows: Longs, out: np.ndarray) -> None:
    """Values of one, two, four or eight bytes."""
    width = np.int64(out.itemsize)
    if len(which):
        for i in range(len(rows)):
            out[i] = _value(places[which[i], 0] + rows[i] * width, out)
    else:
        for i in range(len(rows)):
            out[i] = _value(places[0, 0] + rows[i] * width, out)


@compiled(types.void(_places, _longs, _longs, types.uint64[:, ::1]))
def collect_wide(places: Longs, which: Longs, rows: Longs, out: Words) -> None:
    """Values of several words of eight bytes."""
    words = out.shape[1]
    for i in range(len(rows)):
        start = places[which[i] if len(which) else 0, 0] + rows[i] * words * 8
        for word in range(words):
            out[i, word] = _load8(start + word * 8)


@compiled(types.void(_places, types.int64, _longs, _longs, _mask))
def collect_bits(places: Longs, column: int, which: Longs, rows: Longs, out: Mask) -> None:
    """Bits, least significant first: their address and the number of the first one are two columns of `places` from
    `column` on. Those of no address are set."""
    for i in range(len(rows)):
        source = which[i] if len(which) else 0
        bit = places[source, column + 1] + rows[i]
        start = places[source, column]
        out[i] = start == 0 or (_load1(start + (bit >> _THREE)) >> np.uint8(bit & _SEVEN)) & _ONE


@compiled(types.void(_places, types.int64, _longs, _longs, _longs))
def collect_starts(places: Longs, width: int, which: Longs, rows: Longs, out: Longs) -> None:
    """Where texts begin in what is made, and the last one's end; their ends are numbers of `width` bytes."""
    end = np.int64(0)
    for i in range(len(rows)):
        at = places[which[i] if len(which) else 0, 0] + rows[i] * width
        if width == 8:
            size = np.int64(_load8(at + width)) - np.int64(_load8(at))
        else:
            size = np.int64(_load4(at + width)) - np.int64(_load4(at))
        out[i] = end
        end += size
    out[len(rows)] = end


@compiled(types.void(_places, types.int64, _longs, _longs, _longs, _bytes))
def collect_texts(places: Longs, width: int, which: Longs, rows: Longs, starts: Longs, out: Bytes) -> None:
    """Texts, to where `starts` says. Rows out of a store are anywhere in memory: those of the next few are fetched
    while one is copied, which is 1.7 times as fast."""
    for i in range(len(rows)):
        if i + 2 * _AHEAD < len(rows):
            j = i + 2 * _AHEAD
            _prefetch(places[which[j] if len(which) else 0, 0] + rows[j] * width)
        if i + _AHEAD < len(rows):
            j = i + _AHEAD
            soon = which[j] if len(which) else 0
            at = places[soon, 0] + rows[j] * width
            text = places[soon, 1] + (np.int64(_load8(at)) if width == 8 else np.int64(_load4(at)))
            _prefetch(text)
            _prefetch(text + _LINE)
        source = which[i] if len(which) else 0
        at = places[source, 0] + rows[i] * width
        start = np.int64(_load8(at)) if width == 8 else np.int64(_load4(at))
        _copy(out, starts[i], places[source, 1] + start, starts[i + 1] - starts[i])
