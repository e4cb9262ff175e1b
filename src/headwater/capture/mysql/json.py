"""MySQL's binary JSON as the text that the server prints, and the changes of partial updates applied to it.

Sources: `json_binary.h`, `Json_wrapper::to_string`, `my_gcvt` and `Json_diff_vector` in MySQL's source documentation;
worklog 2955 for partial updates (`binlog_row_value_options = PARTIAL_JSON`).

Whole documents are walked by `kernels_json`. A document with changes is rare, and is read into lists and dicts here.
"""

from __future__ import annotations

import base64
import re
import struct
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.capture.mysql import charsets, kernels_json, kernels_values
from headwater.capture.mysql.events import broken
from headwater.capture.mysql.kernels_rows import DIFF, VALUE
from headwater.capture.mysql.payload import packed

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

Tree: TypeAlias = "dict[bytes, Tree] | list[Tree] | bytes"
"""A document: an object, an array, or the text of anything else."""

_TIMESTAMP, _DATE, _TIME, _DATETIME, _NEWDECIMAL = 7, 10, 11, 12, 246
_REPLACE, _INSERT, _REMOVE = 0, 1, 2
_LEG = re.compile(rb'\.(?:"((?:[^"\\]|\\.)*)"|([^."\[\]]+))|\[(\d+)\]')
_MAX_F_FORMAT = 15
"""`my_gcvt` writes numbers whose point stands farther than this from the digits with an exponent."""


def to_text(
    buffer: Bytes, starts: Integers, lengths: Integers, kinds: Bytes, bases: Integers | None
) -> tuple[pa.Array, NDArray[np.bool_] | None]:
    """A column of documents as text.

    Args:
        buffer, starts, lengths, kinds: where they are (`kernels_rows`).
        bases: int64 [2, row]: where `kinds` is DIFF, start and length of the document that is changed.

    Returns:
        The texts as bytes, UTF-8 if the documents' strings are, and where there is no document (None if nowhere).

    Raises:
        SourceStopped: changes do not fit the document that they are changes to.
    """
    rows = kinds.size
    bad, offsets = np.zeros(rows, np.uint8), np.zeros(rows + 1, np.int32)
    where = buffer, starts, lengths, kinds
    nothing, no_pieces = np.empty(0, np.uint8), np.empty((0, 2), np.int64)
    no_ends = np.zeros(1, np.int64)
    size, count = kernels_json.documents(
        *where, kernels_json.MEASURE, nothing, offsets, bad, nothing, no_ends, no_pieces
    )
    texts, ends = nothing, no_ends
    if count:
        pieces = np.empty((count, 2), np.int64)
        kernels_json.documents(*where, kernels_json.COLLECT, nothing, offsets, bad, nothing, no_ends, pieces)
        texts, ends = _pieces(buffer, pieces)
    charsets.require_room(size + texts.size)
    out = np.empty(size + texts.size, np.uint8)
    kernels_json.documents(*where, kernels_json.WRITE, out, offsets, bad, texts, ends, no_pieces)
    valid = (kinds == VALUE) & (bad == 0)
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    array = pa.Array.from_buffers(pa.binary(), rows, [bitmap, pa.py_buffer(offsets), pa.py_buffer(out)])
    if bases is not None and (kinds == DIFF).any():
        array = _with_changes(array, buffer, starts, lengths, kinds, bases)
    return array, bad.astype(bool) if bad.any() else None


def _pieces(buffer: Bytes, pieces: Integers) -> tuple[Bytes, Integers]:
    """Texts of the values that the kernel leaves to us, end to end, and where each begins; a double is made once."""
    made: list[bytes] = []
    seen: dict[bytes, bytes] = {}
    for kind, at in pieces.tolist():
        if kind == kernels_json.DOUBLE:
            raw = buffer[at : at + 8].tobytes()
            if raw not in seen:
                seen[raw] = json_double(struct.unpack("<d", raw)[0]).encode()
            made.append(seen[raw])
        else:
            size, after = _length(buffer, at + 1)
            made.append(_opaque(int(buffer[at]), buffer[after : after + size].tobytes()))
    ends = np.zeros(len(made) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, made), np.int64, len(made)), out=ends[1:])
    return np.frombuffer(b"".join(made), np.uint8), ends


def double_text(value: float) -> str:
    """A DOUBLE as the server prints it: the fewest digits that read back the same, plain up to 15 places from the
    point or if there are digits after it, else with an exponent."""
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a number")
    text = "".join(map(str, digits)).rstrip("0") or "0"
    exponent += len(digits) - len(text)
    point = len(text) + exponent
    if text == "0":
        shown = "0"
    elif point < 1 - _MAX_F_FORMAT or (point > _MAX_F_FORMAT and point >= len(text)):
        shown = text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{point - 1}"
    elif point <= 0:
        shown = "0." + "0" * -point + text
    elif point >= len(text):
        shown = text + "0" * (point - len(text))
    else:
        shown = text[:point] + "." + text[point:]
    return "-" + shown if sign else shown


def json_double(value: float) -> str:
    """The same in a JSON document, where a whole number shows that it is a double."""
    text = double_text(value)
    return text if any(mark in text for mark in ".e") else text + ".0"


def _length(data: Bytes | bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(5):
        value |= (int(data[at + i]) & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise ValueError("a length of more than 5 bytes")


def _opaque(kind: int, data: bytes) -> bytes:
    """A decimal as a number, dates and times in quotes, anything else in base64."""
    if kind == _NEWDECIMAL and len(data) > 2:
        return _decimal(data)
    if kind in (_TIMESTAMP, _DATE, _TIME, _DATETIME) and len(data) == 8:
        return b'"%s"' % _moment(kind, struct.unpack("<q", data)[0]).encode()
    return b'"base64:type%d:%s"' % (kind, base64.b64encode(data))


def _decimal(data: bytes) -> bytes:
    precision, scale = data[0], data[1]
    whole = precision - scale
    groups = kernels_values.DIGITS_TO_BYTES
    size = int(whole // 9 * 4 + groups[whole % 9] + scale // 9 * 4 + groups[scale % 9]) if whole >= 0 else -1
    if size != len(data) - 2 or precision > 65:
        raise broken("a JSON document holds a decimal that is none")
    out, offsets = np.empty(precision + 3, np.uint8), np.empty(2, np.int32)
    one, value = np.zeros(1, np.int64), np.full(1, VALUE, np.uint8)
    raw = np.frombuffer(data[2:], np.uint8)
    if kernels_values.decimal_text(raw, one, value, whole, scale, out, offsets) >= 0:
        raise broken("a JSON document holds a decimal that is none")
    return out[: offsets[1]].tobytes()


def _moment(kind: int, value: int) -> str:
    """A date or time from its packed form: the microseconds in the low 24 bits, the rest as in DATETIME2."""
    sign = "-" if value < 0 else ""
    value = abs(value)
    micros, whole = value & 0xFFFFFF, value >> 24
    clock = whole & 0x1FFFF
    if kind == _TIME:
        return f"{sign}{whole >> 12 & 0x3FF:02}:{whole >> 6 & 63:02}:{whole & 63:02}.{micros:06}"
    date = whole >> 17
    month = date >> 5
    text = f"{month // 13:04}-{month % 13:02}-{date & 31:02}"
    if kind == _DATE:
        return text
    return f"{text} {clock >> 12:02}:{clock >> 6 & 63:02}:{clock & 63:02}.{micros:06}"


def _with_changes(
    array: pa.Array, buffer: Bytes, starts: Integers, lengths: Integers, kinds: Bytes, bases: Integers
) -> pa.Array:
    """The column with the documents of partial updates put in."""
    values = array.to_pylist()
    for row in np.flatnonzero(kinds == DIFF).tolist():
        before = buffer[int(bases[0, row]) : int(bases[0, row] + bases[1, row])].tobytes()
        changes = buffer[int(starts[row]) : int(starts[row] + lengths[row])].tobytes()
        try:
            values[row] = render(apply(read_document(before), changes))
        except (ValueError, IndexError, KeyError, struct.error) as error:
            raise broken(f"changes to a JSON document do not fit it ({error})") from error
    return pa.array(values, pa.binary())


def read_document(data: bytes) -> Tree:
    """A binary document as objects, arrays and texts.

    Raises:
        ValueError, IndexError, struct.error: it is none.
    """
    if not data:
        return b"null"
    return _Reader(data).value(data[0], 1, 0)


class _Reader:
    """Reads the values of one document, no more of them than it has bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = len(data)

    def value(self, kind: int, at: int, depth: int) -> Tree:
        """The value of type `kind` at `at`."""
        self._left -= 1
        if self._left < 0 or depth > kernels_json.MAX_DEPTH:
            raise ValueError("its parts overlap, or it is too deep")
        if kind <= kernels_json.LARGE_ARRAY:
            return self._container(kind, at, depth)
        return _scalar(self._data, kind, at)

    def _container(self, kind: int, at: int, depth: int) -> Tree:
        offset = 2 if kind in (kernels_json.SMALL_OBJECT, kernels_json.SMALL_ARRAY) else 4
        data, count = self._data, int.from_bytes(self._data[at : at + offset], "little")
        entries = at + 2 * offset
        if kind > kernels_json.LARGE_OBJECT:
            return [self._element(entries, i, offset, at, depth) for i in range(count)]
        found: dict[bytes, Tree] = {}
        values = entries + count * (offset + 2)
        for i in range(count):
            key = entries + i * (offset + 2)
            begin = at + int.from_bytes(data[key : key + offset], "little")
            size = int.from_bytes(data[key + offset : key + offset + 2], "little")
            self._left -= size
            found[data[begin : begin + size]] = self._element(values, i, offset, at, depth)
        return found

    def _element(self, entries: int, number: int, offset: int, base: int, depth: int) -> Tree:
        at = entries + number * (1 + offset)
        kind = self._data[at]
        small = (kernels_json.LITERAL, kernels_json.INT16, kernels_json.UINT16)
        if kind in small or (offset == 4 and kind in (kernels_json.INT32, kernels_json.UINT32)):
            return self.value(kind, at + 1, depth + 1)
        where = int.from_bytes(self._data[at + 1 : at + 1 + offset], "little")
        return self.value(kind, base + where, depth + 1)


_FORMATS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q"}


def _scalar(data: bytes, kind: int, at: int) -> bytes:
    if kind == kernels_json.LITERAL:
        return (b"null", b"true", b"false")[data[at]]
    if kind in _FORMATS:
        return str(struct.unpack_from(_FORMATS[kind], data, at)[0]).encode()
    if kind == kernels_json.DOUBLE:
        return json_double(struct.unpack_from("<d", data, at)[0]).encode()
    if kind == kernels_json.STRING:
        size, after = _length(data, at)
        if after + size > len(data):
            raise ValueError("a string is cut short")
        return _quoted(data[after : after + size])
    if kind == kernels_json.OPAQUE:
        size, after = _length(data, at + 1)
        return _opaque(data[at], data[after : after + size])
    raise ValueError(f"a value of the unknown type {kind}")


_ESCAPES = {**{code: b"\\u%04x" % code for code in range(32)}, 8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}
_SPECIAL = re.compile(rb'[\x00-\x1f"\\]')


def _quoted(text: bytes) -> bytes:
    return b'"%s"' % _SPECIAL.sub(lambda found: _ESCAPES.get(found[0][0], b"\\" + found[0]), text)


def render(tree: Tree) -> bytes:
    """The document's text, members in the order in which the server keeps them: short names first."""
    if isinstance(tree, bytes):
        return tree
    if isinstance(tree, list):
        return b"[%s]" % b", ".join(map(render, tree))
    names = sorted(tree, key=lambda name: (len(name), name))
    return b"{%s}" % b", ".join(b"%s: %s" % (_quoted(name), render(tree[name])) for name in names)


def apply(tree: Tree, changes: bytes) -> Tree:
    """Applies the changes of a partial update, one after the other: operation, path, and a document unless it removes.

    Raises:
        ValueError, IndexError, KeyError, struct.error: they do not fit the document, or are no changes.
    """
    at = 0
    while at < len(changes):
        operation = changes[at]
        size, at = packed(changes, at + 1)
        path, at = changes[at : at + size], at + size
        if at > len(changes) or operation > _REMOVE:
            raise ValueError("not an operation and a path")
        value: Tree = b"null"
        if operation != _REMOVE:
            size, at = packed(changes, at)
            if at + size > len(changes):
                raise ValueError("a document is cut short")
            value, at = read_document(changes[at : at + size]), at + size
        tree = _changed(tree, operation, _legs(path), value)
    return tree


def _legs(path: bytes) -> list[bytes | int]:
    """The steps of a path: `$[1].name."other name"`."""
    at, legs = 1, list[bytes | int]()
    if not path.startswith(b"$"):
        raise ValueError("not a path")
    while at < len(path):
        found = _LEG.match(path, at)
        if not found:
            raise ValueError("not a path")
        quoted, plain, index = found.groups()
        legs.append(int(index) if index else plain if plain is not None else _unquoted(quoted))
        at = found.end()
    return legs


def _unquoted(text: bytes) -> bytes:
    import json

    return str(json.loads(b'"%s"' % text)).encode()


def _changed(tree: Tree, operation: int, legs: list[bytes | int], value: Tree) -> Tree:
    if not legs:
        if operation != _REPLACE:
            raise ValueError("the whole document is neither inserted nor removed")
        return value
    parent: Tree = tree
    for leg in legs[:-1]:
        parent = _child(parent, leg)
    last = legs[-1]
    if operation != _INSERT:
        _child(parent, last)
    if isinstance(parent, dict) and isinstance(last, bytes):
        parent.pop(last) if operation == _REMOVE else parent.update({last: value})
    elif isinstance(parent, list) and isinstance(last, int):
        # An insertion moves the elements from there on, the others stand in the place of one.
        parent[last : last + (operation != _INSERT)] = [] if operation == _REMOVE else [value]
    else:
        raise ValueError("a step of the path does not fit")
    return tree


def _child(parent: Tree, leg: bytes | int) -> Tree:
    if isinstance(parent, dict) and isinstance(leg, bytes):
        return parent[leg]
    if isinstance(parent, list) and isinstance(leg, int):
        return parent[leg]
    raise ValueError("a step of the path does not fit")
