"""Compiled reading of JSON's tokens: text, numbers and white space (RFC 8259), UTF-8 checked.

All functions read `data[at:end]` and return the place after what they read, or a negative number, the negated code of
what is wrong (`NOT_JSON` and so on).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]

NOT_JSON, ENDS_EARLY, BAD_UTF8, BAD_ESCAPE, DUPLICATE_KEY = 1, 2, 3, 4, 5
TOO_DEEP, TOO_MANY_FIELDS, NOT_AN_OBJECT, EMPTY, TOO_MANY_VALUES = 6, 7, 8, 9, 10

NULL, BOOL, INT, DOUBLE, DECIMAL, TEXT, OBJECT, JSON = range(8)
"""Codes of types. JSON: kept as it is written, for it is mixed, or a number that no type holds."""
LIST = 8
"""Added to the code of the items: once for a list, twice for a list of lists."""

_PLAIN, _QUOTE, _ESCAPE, _CONTROL, _WIDE = range(5)
_CLASS = np.full(256, _PLAIN, np.uint8)
_CLASS[:32] = _CONTROL
_CLASS[128:] = _WIDE
_CLASS[ord('"')] = _QUOTE
_CLASS[ord("\\")] = _ESCAPE

_HEX = np.full(256, 255, np.uint8)
for _digit in range(16):
    _HEX[ord(f"{_digit:x}")] = _digit
    _HEX[ord(f"{_digit:X}")] = _digit

_MOST_DIGITS = 38
_LARGEST_EXPONENT = 308


@njit(cache=True, nogil=True)
def skip_blanks(data: Bytes, at: int, end: int) -> int:
    """The place of the next byte that is no white space; `end` if there is none."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@njit(cache=True, nogil=True)
def utf8_length(data: Bytes, at: int, end: int) -> int:
    """Bytes of the character of two or more that begins here; 0 if it is none (RFC 3629, no surrogates)."""
    first = data[at]
    if first < 0xC2 or first > 0xF4:
        return 0
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if at + length > end:
        return 0
    second = data[at + 1]
    low, high = 0x80, 0xBF
    if first == 0xE0:
        low = 0xA0
    elif first == 0xED:
        high = 0x9F
    elif first == 0xF0:
        low = 0x90
    elif first == 0xF4:
        high = 0x8F
    if second < low or second > high:
        return 0
    for place in range(at + 2, at + length):
        if data[place] & 0xC0 != 0x80:
            return 0
    return length


@njit(cache=True, nogil=True)
def _hex4(data: Bytes, at: int, end: int) -> int:
    """Four hexadecimal digits as a number; -1 if they are not."""
    if at + 4 > end:
        return -1
    code = 0
    for place in range(at, at + 4):
        digit = int(np.int64(_HEX[data[place]]))
        if digit > 15:
            return -1
        code = code << 4 | digit
    return code


@njit(cache=True, nogil=True)
def _pass_escape(data: Bytes, at: int, end: int) -> int:
    """The place after the escape at `at`; surrogates have to come in pairs."""
    if at + 1 >= end:
        return -ENDS_EARLY
    sign = data[at + 1]
    if sign != 117:  # u
        known = sign == 34 or sign == 92 or sign == 47 or sign == 98 or sign == 102
        return at + 2 if known or sign == 110 or sign == 114 or sign == 116 else -NOT_JSON
    code = _hex4(data, at + 2, end)
    if code < 0:
        return -NOT_JSON
    if code < 0xD800 or code > 0xDFFF:
        return at + 6
    if code > 0xDBFF or at + 8 > end or data[at + 6] != 92 or data[at + 7] != 117:
        return -BAD_ESCAPE
    low = _hex4(data, at + 8, end)
    return at + 12 if 0xDC00 <= low <= 0xDFFF else -BAD_ESCAPE


@njit(cache=True, nogil=True)
def pass_text(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The place of the quotation mark that ends the text beginning at `at`, and whether there are escapes in it."""
    escaped = 0
    while at < end:
        kind = _CLASS[data[at]]
        if kind == _PLAIN:
            at += 1
        elif kind == _QUOTE:
            return at, escaped
        elif kind == _WIDE:
            length = utf8_length(data, at, end)
            if length == 0:
                return -BAD_UTF8, escaped
            at += length
        elif kind == _ESCAPE:
            escaped = 1
            at = _pass_escape(data, at, end)
            if at < 0:
                return at, escaped
        else:
            return -NOT_JSON, escaped
    return -ENDS_EARLY, escaped


@njit(cache=True, nogil=True)
def _put(code: int, out: Bytes, to: int) -> int:
    """Writes a character as UTF-8; returns the place after it."""
    if code < 0x80:
        out[to] = code
        return to + 1
    if code < 0x800:
        out[to] = 0xC0 | code >> 6
        out[to + 1] = 0x80 | code & 0x3F
        return to + 2
    if code < 0x10000:
        out[to] = 0xE0 | code >> 12
        out[to + 1] = 0x80 | code >> 6 & 0x3F
        out[to + 2] = 0x80 | code & 0x3F
        return to + 3
    out[to] = 0xF0 | code >> 18
    out[to + 1] = 0x80 | code >> 12 & 0x3F
    out[to + 2] = 0x80 | code >> 6 & 0x3F
    out[to + 3] = 0x80 | code & 0x3F
    return to + 4


@njit(cache=True, nogil=True)
def _meant(sign: int) -> int:
    """The character that a short escape stands for."""
    if sign == 98:
        return 8
    if sign == 102:
        return 12
    if sign == 110:
        return 10
    if sign == 114:
        return 13
    return 9 if sign == 116 else sign


@njit(cache=True, nogil=True)
def unescape(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Writes text that `pass_text` has passed with its escapes undone, never more bytes than it has; returns the place
    after it."""
    while at < end:
        if data[at] != 92:
            out[to] = data[at]
            at += 1
            to += 1
        elif data[at + 1] != 117:
            to = _put(_meant(int(np.int64(data[at + 1]))), out, to)
            at += 2
        else:
            code = _hex4(data, at + 2, end)
            at += 6
            if 0xD800 <= code <= 0xDBFF:
                code = 0x10000 + (code - 0xD800 << 10) + (_hex4(data, at + 2, end) - 0xDC00)
                at += 6
            to = _put(code, out, to)
    return to


@njit(cache=True, nogil=True)
def _digits(data: Bytes, at: int, end: int) -> int:
    while at < end and 48 <= data[at] <= 57:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _whole(data: Bytes, first: int, last: int, negative: bool) -> tuple[int, int]:
    """Code and value of the digits of a whole number."""
    count = last - first
    if count > 19:
        return (DECIMAL if count <= _MOST_DIGITS else JSON), 0
    value = np.uint64(0)
    for place in range(first, last):
        value = value * np.uint64(10) + np.uint64(data[place] - 48)
    limit = np.uint64(9223372036854775807)
    if value <= limit:
        return INT, -int(np.int64(value)) if negative else int(np.int64(value))
    if negative and value == limit + np.uint64(1):
        return INT, -9223372036854775807 - 1
    return DECIMAL, 0


@njit(cache=True, nogil=True)
def _exponent(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The place after the digits of an exponent whose sign or first digit stands at `at`, and the exponent."""
    negative = at < end and data[at] == 45
    if at < end and (data[at] == 43 or data[at] == 45):
        at += 1
    last = _digits(data, at, end)
    if last == at:
        return (-ENDS_EARLY if at == end else -NOT_JSON), 0
    value = 0
    for place in range(at, last):
        value = min(value * 10 + int(np.int64(data[place] - 48)), 100_000)
    return last, -value if negative else value


@njit(cache=True, nogil=True)
def pass_number(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """The place after the number at `at`, its code, and its value if that is INT."""
    negative = data[at] == 45
    first = at + 1 if negative else at
    at = _digits(data, first, end)
    if at == first or (data[first] == 48 and at > first + 1):
        return (-ENDS_EARLY if first == end else -NOT_JSON), 0, 0
    if at == end or (data[at] != 46 and data[at] != 101 and data[at] != 69):
        code, value = _whole(data, first, at, negative)
        return at, code, value
    power = at - first - 1
    if data[at] == 46:
        begin = at + 1
        at = _digits(data, begin, end)
        if at == begin:
            return (-ENDS_EARLY if at == end else -NOT_JSON), 0, 0
    if at < end and (data[at] == 101 or data[at] == 69):
        at, exponent = _exponent(data, at + 1, end)
        if at < 0:
            return at, 0, 0
        power += exponent
    return at, DOUBLE if power < _LARGEST_EXPONENT else JSON, 0


@njit(cache=True, nogil=True)
def pass_word(data: Bytes, at: int, end: int, word: Bytes) -> int:
    """The place after a word that has to stand at `at`."""
    for place in range(word.size):
        if at + place >= end:
            return -ENDS_EARLY
        if data[at + place] != word[place]:
            return -NOT_JSON
    return at + word.size
