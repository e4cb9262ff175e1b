"""Compiled loops over row images: which bytes are which value, for a whole run of events at once.

Formats: "Rows_event" in MySQL's source documentation (post-header, columns present, then for each row a bitmap of nulls
over the present columns and their values), `Partial_update_rows_event` (worklog 2955: options and a bit for every JSON
column before an after image), and "Text Resultset Row" of the client protocol. All of them return where they stopped
rather than raise, since a raise costs a copy of the arguments. Nothing outside of an event's bytes is read.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.capture.mysql.kernels_events import Bytes, Integers, little_endian

Flags = NDArray[np.bool_]
Weights = NDArray[np.int8]
Fields = tuple[Integers, Integers, Bytes]
"""Starts, lengths and kinds: int64, int64, uint8 [column, row]."""

NULL, VALUE, ABSENT, DIFF = 0, 1, 2, 3
"""What stands in a field; ABSENT was left out of the image (MINIMAL, NOBLOB), DIFF is changes to a JSON document."""

FIXED, PREFIXED = 0, 1
"""How a value's size is found: always the same, or before it in so many bytes."""

_INSERT, _UPDATE, _DELETE = 1, 2, 3
_WRITE_V1, _UPDATE_V1, _DELETE_V1 = 23, 24, 25
_WRITE_V2, _UPDATE_V2, _DELETE_V2, _PARTIAL = 30, 31, 32, 39

BROKEN = -1


@njit(cache=True, nogil=True)
def _packed(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """A packed integer and the offset after it; offset BROKEN if there is none."""
    if at >= end:
        return 0, BROKEN
    first = int(buffer[at])
    if first < 251:
        return first, at + 1
    width = 2 if first == 252 else 3 if first == 253 else 8 if first == 254 else 0
    if width == 0 or at + 1 + width > end:
        return 0, BROKEN
    return int(little_endian(buffer, at + 1, width)), at + 1 + width


@njit(cache=True, nogil=True)
def _bit(buffer: Bytes, at: int, number: int) -> bool:
    return bool((buffer[at + (number >> 3)] >> (number & 7)) & 1)


@njit(cache=True, nogil=True)
def open_event(buffer: Bytes, kind: int, begin: int, end: int, width: int) -> tuple[int, int, int]:
    """Offsets of the two bitmaps of present columns (the same if there is one) and of the first row; BROKEN if the
    event is not one of our width."""
    at = begin + 8
    if kind >= _WRITE_V2:
        if at + 2 > end:
            return 0, 0, BROKEN
        extra = int(little_endian(buffer, at, 2))
        if extra < 2:
            return 0, 0, BROKEN
        at += extra
    columns, at = _packed(buffer, at, end)
    size = (width + 7) // 8
    second = size if _is_update(kind) else 0
    if at < 0 or columns != width or at + size + second > end:
        return 0, 0, BROKEN
    return at, at + second, at + size + second


@njit(cache=True, nogil=True)
def _is_update(kind: int) -> bool:
    return kind in (_UPDATE_V1, _UPDATE_V2, _PARTIAL)


@njit(cache=True, nogil=True)
def _present(buffer: Bytes, bitmap: int, width: int) -> int:
    """How many columns an image has."""
    count = 0
    for column in range(width):
        count += _bit(buffer, bitmap, column)
    return count


@njit(cache=True, nogil=True)
def _value(buffer: Bytes, at: int, end: int, mode: int, size: int) -> tuple[int, int]:
    """Where the value at `at` begins and its length; BROKEN if it does not end before `end`."""
    if mode == PREFIXED:
        if at + size > end:
            return BROKEN, 0
        length = int(little_endian(buffer, at, size))
        at += size
    else:
        length = size
    return (at, length) if 0 <= length <= end - at else (BROKEN, 0)


@njit(cache=True, nogil=True)
def _image(
    buffer: Bytes,
    at: int,
    end: int,
    bitmap: int,
    count: int,
    sizes: Integers,
    row: int,
    fields: Fields,
    partial: int,
    json: Flags,
) -> int:
    """Finds the fields of the image at `at`; returns the offset after it, or BROKEN.

    Args:
        bitmap, count: offset of the bitmap of present columns, and how many there are.
        row: where to note the fields; -1 to pass over them.
        partial: offset of a bit for each JSON column, set where changes follow instead of a document; -1 if none.
        json: which columns are JSON.
    """
    starts, lengths, kinds = fields
    nulls, place, documents = at, 0, 0
    at += (count + 7) // 8
    if at > end:
        return BROKEN
    for column in range(sizes.shape[1]):
        kind = VALUE
        if partial >= 0 and json[column]:
            kind = DIFF if _bit(buffer, partial, documents) else VALUE
            documents += 1
        if not _bit(buffer, bitmap, column):
            kind = ABSENT
        else:
            kind = NULL if _bit(buffer, nulls, place) else kind
            place += 1
        if kind in (VALUE, DIFF):
            start, length = _value(buffer, at, end, sizes[0, column], sizes[1, column])
            if start < 0:
                return BROKEN
            at = start + length
            if row >= 0:
                starts[column, row] = start
                lengths[column, row] = length
        if row >= 0:
            kinds[column, row] = kind
    return at


@njit(cache=True, nogil=True)
def _after_options(buffer: Bytes, at: int, end: int, json: Flags) -> tuple[int, int]:
    """Reads what stands before the after image of a partial update: offset of the bits of JSON columns (-1 if there are
    none) and of the image; the latter BROKEN if it is not what it should be."""
    options, at = _packed(buffer, at, end)
    if at < 0 or options > 1:
        return -1, BROKEN
    if options == 0:
        return -1, at
    size = (int(json.sum()) + 7) // 8
    if at + size > end:
        return -1, BROKEN
    return at, at + size


@njit(cache=True, nogil=True)
def _both_images(
    buffer: Bytes,
    at: int,
    end: int,
    kind: int,
    bitmaps: tuple[int, int],
    counts: tuple[int, int],
    sizes: Integers,
    rows: tuple[int, int],
    fields: Fields,
    json: Flags,
) -> tuple[int, int]:
    """Finds the fields of an update's two images; returns the offset after them, or BROKEN, and that of the bits of
    JSON columns (-1 if there are none)."""
    partial = -1
    at = _image(buffer, at, end, bitmaps[0], counts[0], sizes, rows[0], fields, -1, json)
    if at >= 0 and kind == _PARTIAL:
        partial, at = _after_options(buffer, at, end, json)
    if at >= 0:
        at = _image(buffer, at, end, bitmaps[1], counts[1], sizes, rows[1], fields, partial, json)
    return at, partial


@njit(cache=True, nogil=True)
def count_rows(
    buffer: Bytes, types: Bytes, begins: Integers, ends: Integers, sizes: Integers, json: Flags, counts: Integers
) -> int:
    """Counts the rows of events, an update as one.

    Args:
        buffer: uint8.
        types, begins, ends: per event, its type and body.
        sizes: int64 [2, column], FIXED or PREFIXED and how many bytes.
        json: bool per column.
        counts: int64 per event, filled.

    Returns:
        0, or -1 - i if event i is not what it should be.
    """
    width = sizes.shape[1]
    nothing = np.empty((0, 0), np.int64), np.empty((0, 0), np.int64), np.empty((0, 0), np.uint8)
    for i in range(begins.size):
        kind, end = int(types[i]), int(ends[i])
        before, after, at = open_event(buffer, kind, int(begins[i]), end, width)
        if at < 0:
            return -1 - i
        present = _present(buffer, before, width), _present(buffer, after, width)
        rows = 0
        while at < end:
            begin = at
            if _is_update(kind):
                at, _ = _both_images(buffer, at, end, kind, (before, after), present, sizes, (-1, -1), nothing, json)
            else:
                at = _image(buffer, at, end, before, present[0], sizes, -1, nothing, -1, json)
            if at <= begin:
                return -1 - i
            rows += 1
        counts[i] = rows
    return 0


@njit(cache=True, nogil=True)
def _same_key(buffer: Bytes, key: Flags, one: int, other: int, fields: Fields) -> bool:
    """Whether two images have the same key, byte for byte; what the other leaves out is taken over into it first."""
    same = True
    for column in range(key.size):
        if key[column]:
            same = _same_value(buffer, column, one, other, fields) and same
    return same


@njit(cache=True, nogil=True)
def _same_value(buffer: Bytes, column: int, one: int, other: int, fields: Fields) -> bool:
    starts, lengths, kinds = fields
    if kinds[column, other] == ABSENT:
        kinds[column, other] = kinds[column, one]
        starts[column, other] = starts[column, one]
        lengths[column, other] = lengths[column, one]
        return True
    if kinds[column, one] != kinds[column, other]:
        return False
    if kinds[column, one] == NULL:
        return True
    length = lengths[column, one]
    if length != lengths[column, other]:
        return False
    first, second, same = starts[column, one], starts[column, other], True
    for i in range(length):
        same = same and buffer[first + i] == buffer[second + i]
    return same


@njit(cache=True, nogil=True)
def _fill(old: int, new: int, fields: Fields) -> None:
    """Takes over from the old image what the new one leaves out."""
    starts, lengths, kinds = fields
    for column in range(starts.shape[0]):
        if kinds[column, new] == ABSENT:
            kinds[column, new] = kinds[column, old]
            starts[column, new] = starts[column, old]
            lengths[column, new] = lengths[column, old]


@njit(cache=True, nogil=True)
def _bases(old: int, row: int, fields: Fields, bases: Integers) -> bool:
    """Notes for changes to JSON documents in `row` where the documents stand; False if one was not sent."""
    starts, lengths, kinds = fields
    for column in range(starts.shape[0]):
        if kinds[column, row] == DIFF:
            if kinds[column, old] != VALUE:
                return False
            bases[0, column, row] = starts[column, old]
            bases[1, column, row] = lengths[column, old]
    return True


@njit(cache=True, nogil=True)
def _move(source: int, to: int, fields: Fields) -> None:
    starts, lengths, kinds = fields
    for column in range(starts.shape[0]):
        kinds[column, to] = kinds[column, source]
        starts[column, to] = starts[column, source]
        lengths[column, to] = lengths[column, source]


@njit(cache=True, nogil=True)
def _only_key(row: int, key: Flags, kinds: Bytes) -> None:
    for column in range(key.size):
        if not key[column]:
            kinds[column, row] = NULL


@njit(cache=True, nogil=True)
def _updated(
    buffer: Bytes,
    row: int,
    key: Flags,
    keyed: bool,
    partial: bool,
    fields: Fields,
    bases: Integers,
    ops: Bytes,
    weights: Weights,
) -> int:
    """Turns the two images of an update into rows; returns the row after them, or BROKEN. Of a keyed table the old
    image stands in the last row and the new one in `row`, of another they stand in `row` and after it."""
    old, new = (fields[0].shape[1] - 1, row) if keyed else (row, row + 1)
    if partial and not _bases(old, new, fields, bases):
        return BROKEN
    ops[row], weights[row] = _UPDATE, 1
    if keyed and _same_key(buffer, key, old, new, fields):
        return row + 1
    if keyed:
        _move(new, row + 1, fields)
        if partial:
            bases[:, :, row + 1] = bases[:, :, row]
        _move(old, row, fields)
        _only_key(row, key, fields[2])
        ops[row] = _DELETE
    else:
        _fill(old, new, fields)
    weights[row] = -1
    ops[row + 1], weights[row + 1] = _UPDATE, 1
    return row + 2


@njit(cache=True, nogil=True)
def _event_rows(
    buffer: Bytes,
    kind: int,
    at: int,
    end: int,
    sizes: Integers,
    json: Flags,
    key: Flags,
    keyed: bool,
    room: tuple[Fields, Integers, Integers, Bytes, Weights],
    row: int,
) -> int:
    """Finds the fields of one event's rows; returns the row after them, or BROKEN."""
    fields, bases, heads, ops, weights = room
    number, width, insert = 0, sizes.shape[1], kind in (_WRITE_V1, _WRITE_V2)
    before, after, at = open_event(buffer, kind, at, end, width)
    if at < 0:
        return BROKEN
    present = _present(buffer, before, width), _present(buffer, after, width)
    while at < end:
        begin, first = at, row
        if _is_update(kind):
            images = (fields[0].shape[1] - 1, row) if keyed else (row, row + 1)
            at, partial = _both_images(buffer, at, end, kind, (before, after), present, sizes, images, fields, json)
            if at >= 0:
                row = _updated(buffer, row, key, keyed, partial >= 0, fields, bases, ops, weights)
        else:
            at = _image(buffer, at, end, before, present[0], sizes, row, fields, -1, json)
            ops[row], weights[row] = (_INSERT, 1) if insert else (_DELETE, -1)
            if keyed and not insert:
                _only_key(row, key, fields[2])
            row += 1
        if at <= begin or row < 0:
            return BROKEN
        heads[1, first:row], heads[2, first:row], heads[3, first:row] = number, begin, at
        number += 1
    return row


@njit(cache=True, nogil=True)
def scan_rows(
    buffer: Bytes,
    types: Bytes,
    begins: Integers,
    ends: Integers,
    sizes: Integers,
    json: Flags,
    key: Flags,
    keyed: bool,
    fields: Fields,
    bases: Integers,
    heads: Integers,
    ops: Bytes,
    weights: Weights,
) -> int:
    """Finds every field of a run of row events of one table.

    Of a keyed table an update is its new row; one that changes the key a deletion of the old key and the new row. Of a
    table without a key it is both rows, the new one whole.

    Args:
        buffer, types, begins, ends, sizes, json: as for `count_rows`.
        key: bool per column, part of the key.
        keyed: whether the table has a key.
        fields: starts, lengths, kinds: int64, int64, uint8 [column, row], room for two rows an update and two more.
        bases: int64 [2, column, row], filled where the kind is DIFF: start and length of the document; may be empty if
            no event is a partial update.
        heads: int64 [4, row]: the event, the record's number in it, and the record's bytes, both images of an update.
        ops, weights: uint8, int8 per row.

    Returns:
        Number of rows, or -1 - i if event i is not what it should be (it leaves out a document that it has changes to,
        for instance).
    """
    row, room = 0, (fields, bases, heads, ops, weights)
    for i in range(begins.size):
        first = row
        row = _event_rows(buffer, int(types[i]), int(begins[i]), int(ends[i]), sizes, json, key, keyed, room, row)
        if row < 0:
            return -1 - i
        heads[0, first:row] = i
    return row


@njit(cache=True, nogil=True)
def scan_text_rows(
    buffer: Bytes, begins: Integers, ends: Integers, starts: Integers, lengths: Integers, kinds: Bytes
) -> int:
    """Finds the fields of rows of the client's text protocol.

    Args:
        buffer: uint8.
        begins, ends: int64 per row, the payload of its packet.
        starts, lengths, kinds: int64, int64, uint8 [column, row], filled.

    Returns:
        Number of rows, or -1 - i if row i does not have that many fields.
    """
    for row in range(begins.size):
        at, end = int(begins[row]), int(ends[row])
        for column in range(starts.shape[0]):
            if at < end and buffer[at] == 251:
                kinds[column, row] = NULL
                at += 1
                continue
            length, at = _packed(buffer, at, end)
            if at < 0 or length < 0 or length > end - at:
                return -1 - row
            kinds[column, row] = VALUE
            starts[column, row] = at
            lengths[column, row] = length
            at += length
        if at != end:
            return -1 - row
    return int(begins.size)


@njit(cache=True, nogil=True)
def measure(lengths: Integers, kinds: Bytes, pad: int) -> int:
    """Bytes of a column's values together, each at least `pad`."""
    total = 0
    for row in range(lengths.size):
        if kinds[row] == VALUE:
            total += max(int(lengths[row]), pad)
    return total


@njit(cache=True, nogil=True)
def gather(
    buffer: Bytes, starts: Integers, lengths: Integers, kinds: Bytes, pad: int, out: Bytes, offsets: NDArray[np.int32]
) -> None:
    """Copies a column's values end to end, each filled up to `pad` bytes with zeros.

    Args:
        out: uint8, as many as `measure` says.
        offsets: int32, one more than rows; filled.
    """
    to = 0
    offsets[0] = 0
    for row in range(starts.size):
        if kinds[row] == VALUE:
            start, length = starts[row], lengths[row]
            for i in range(length):
                out[to + i] = buffer[start + i]
            to += length
            for _ in range(length, pad):
                out[to] = 0
                to += 1
        offsets[row + 1] = to
