"""Dates, times and timestamps from PostgreSQL's ISO text, every value that PostgreSQL has.

PostgreSQL's dates go from 4713 BC to the year 5874897, its timestamps to 294276, and both know infinity, which tables
of validity use all the time (`valid_to = 'infinity'`). Arrow's and Parquet's integers hold them all; infinity is what
DuckDB takes for it, the largest integer and its negative, so that `= 'infinity'`, comparisons and ordering in a model
are PostgreSQL's. A finite timestamp from 294247-01-10 04:00:54.775807 on has no microseconds since 1970 in 64 bits.

Text: "Date/Time Output", style ISO; `EncodeDateTime` writes four digits of year or more, " BC" last, and with
`timezone=UTC` the zone "+00".
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]
Flags = NDArray[np.bool_]
Longs = NDArray[np.int64]

INFINITE_DATE = 2**31 - 1
INFINITE_TIME = 2**63 - 1
DAY_US = 86_400_000_000
_LAST_DAY = INFINITE_TIME // DAY_US
_MINUS, _COLON, _POINT, _BLANK, _PLUS, _ZERO, _NINE = (ord(sign) for sign in "-:. +09")


@njit(cache=True, nogil=True)
def _number(data: Bytes, at: int, end: int, most: int) -> tuple[int, int]:
    """The unsigned number at `at` of at most `most` digits, and the place after it."""
    value, start = 0, at
    while at < end and at - start < most and _ZERO <= data[at] <= _NINE:
        value = value * 10 + int(data[at]) - _ZERO
        at += 1
    return value, at


@njit(cache=True, nogil=True)
def _two(data: Bytes, at: int, end: int) -> int:
    """The number of two digits at `at`; -1 if there is none."""
    value, after = _number(data, at, end, 2)
    return value if after == at + 2 else -1


@njit(cache=True, nogil=True)
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar with a year 0 (eras of 400 years from March)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@njit(cache=True, nogil=True)
def _infinity(data: Bytes, at: int, end: int) -> int:
    """1 or -1 if infinity stands there, else 0. It is told by its length and first letter, which no date has."""
    if end - at == 8 and data[at] == ord("i"):
        return 1
    return -1 if end - at == 9 and data[at] == _MINUS and data[at + 1] == ord("i") else 0


@njit(cache=True, nogil=True)
def _is_bc(data: Bytes, at: int, end: int) -> bool:
    return end - at == 3 and data[at] == _BLANK and data[at + 1] == ord("B") and data[at + 2] == ord("C")


@njit(cache=True, nogil=True)
def _date(data: Bytes, at: int, end: int, bc: bool) -> tuple[int, int]:
    """Days of `YYYY-MM-DD`, and the place after it; -1 for the place if it is none."""
    year, after = _number(data, at, end, 7)
    if after - at < 4 or after + 6 > end or data[after] != _MINUS or data[after + 3] != _MINUS:
        return 0, -1
    month, day = _two(data, after + 1, end), _two(data, after + 4, end)
    if month < 1 or month > 12 or day < 1 or day > 31 or year < 1:
        return 0, -1
    return _days(1 - year if bc else year, month, day), after + 6


@njit(cache=True, nogil=True)
def _time(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Microseconds of `HH:MM:SS[.ffffff]`, and the place after it; -1 for the place if it is none before 24:00."""
    if at + 8 > end or data[at + 2] != _COLON or data[at + 5] != _COLON:
        return 0, -1
    hour, minute, second = _two(data, at, end), _two(data, at + 3, end), _two(data, at + 6, end)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return 0, -1
    at += 8
    micros = 0
    if at < end and data[at] == _POINT:
        micros, after = _number(data, at + 1, end, 6)
        if after == at + 1:
            return 0, -1
        for _ in range(6 - (after - at - 1)):
            micros *= 10
        at = after
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, at


@njit(cache=True, nogil=True)
def parse_dates(data: Bytes, offsets: Offsets, valid: Flags, out: Longs) -> int:
    """Days since 1970 of `date` text.

    Args:
        data, offsets: uint8 and int32 of an Arrow binary array.
        valid: bool per value; the others are left alone.
        out: int64 per value.

    Returns:
        The number of values that are no dates.
    """
    bad = 0
    for row in range(out.size):
        at, end = int(offsets[row]), int(offsets[row + 1])
        if not valid[row]:
            continue
        sign = _infinity(data, at, end)
        if sign:
            out[row] = sign * INFINITE_DATE
            continue
        bc = _is_bc(data, end - 3, end) if end - at > 10 else False
        days, after = _date(data, at, end - 3 if bc else end, bc)
        if after != (end - 3 if bc else end):
            bad += 1
        else:
            out[row] = days
    return bad


@njit(cache=True, nogil=True)
def parse_timestamps(data: Bytes, offsets: Offsets, valid: Flags, zoned: bool, out: Longs) -> int:
    """Microseconds since 1970 (UTC) of `timestamp` or, `zoned`, `timestamptz` text; see `parse_dates`. A value that
    64 bits cannot hold counts as bad."""
    bad = 0
    for row in range(out.size):
        at, end = int(offsets[row]), int(offsets[row + 1])
        if not valid[row]:
            continue
        sign = _infinity(data, at, end)
        if sign:
            out[row] = sign * INFINITE_TIME
            continue
        bc = _is_bc(data, end - 3, end) if end - at > 10 else False
        end -= 3 if bc else 0
        days, after = _date(data, at, end, bc)
        micros = 0
        fits = after > 0 and after < end and data[after] == _BLANK
        if fits:
            micros, after = _time(data, after + 1, end)
            fits = after > 0
        if fits and zoned:
            fits = after + 3 == end and data[after] == _PLUS and _two(data, after + 1, end) == 0
        elif fits:
            fits = after == end
        fits = fits and (days < _LAST_DAY or (days == _LAST_DAY and micros < INFINITE_TIME - _LAST_DAY * DAY_US))
        if fits:
            out[row] = days * DAY_US + micros
        else:
            bad += 1
    return bad


@njit(cache=True, nogil=True)
def parse_times(data: Bytes, offsets: Offsets, valid: Flags, out: Longs) -> int:
    """Microseconds of `time` text; see `parse_dates`. "24:00:00", which Arrow's and Parquet's times do not have, counts
    as bad."""
    bad = 0
    for row in range(out.size):
        at, end = int(offsets[row]), int(offsets[row + 1])
        if not valid[row]:
            continue
        micros, after = _time(data, at, end)
        if after != end:
            bad += 1
        else:
            out[row] = micros
    return bad
