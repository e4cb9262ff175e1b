"""Compiled conversion of temporal values: from row images and from text to dates and microseconds, and on from there.

Formats: temporal types as in `my_time.cc` of MySQL's source documentation (`my_datetime_packed_from_binary` and its
siblings), MariaDB's older temporal types as in its knowledge base ("Rows_event", and `Field_timestamp_hires`,
`Field_time_hires`, `Field_datetime_hires`).

In between a value is two int64: a date as year * 10000 + month * 100 + day, so that dates which are none (2020-00-10)
can be told and printed, and microseconds of the day, or signed ones of a TIME. Rows that have no value stay 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.capture.mysql.kernels_events import Bytes, Integers, little_endian
from headwater.capture.mysql.kernels_rows import VALUE
from headwater.capture.mysql.kernels_values import big_endian

_POWERS = np.array([10**i for i in range(10)], np.int64)
_DAY_US = 86_400_000_000
_SECOND_US = 1_000_000


@njit(cache=True, nogil=True)
def _fraction(buffer: Bytes, at: int, fsp: int) -> int:
    """Microseconds of the fraction that follows a temporal value: hundredths, ten-thousandths or millionths."""
    width = (fsp + 1) // 2
    value = int(big_endian(buffer, at, width))
    return value * (10000 if width == 1 else 100 if width == 2 else 1)


@njit(cache=True, nogil=True)
def _civil(days: int) -> int:
    """year * 10000 + month * 100 + day of days since 1970 (Hinnant, "chrono-compatible low-level date algorithms")."""
    days += 719468
    era = days // 146097
    day_of_era = days - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year * 10000 + month * 100 + day


@njit(cache=True, nogil=True)
def dates(buffer: Bytes, starts: Integers, kinds: Bytes, out: Integers) -> None:
    """DATE, three bytes, as year * 10000 + month * 100 + day."""
    for row in range(starts.size):
        if kinds[row] == VALUE:
            value = int(little_endian(buffer, starts[row], 3))
            out[row] = (value >> 9) * 10000 + (value >> 5 & 15) * 100 + (value & 31)


@njit(cache=True, nogil=True)
def datetimes(buffer: Bytes, starts: Integers, kinds: Bytes, fsp: int, days: Integers, micros: Integers) -> None:
    """DATETIME2: five bytes, high byte first, year * 13 + month and what follows in bits, and the fraction.

    Args:
        days: filled with year * 10000 + month * 100 + day.
        micros: filled with microseconds of the day.
    """
    for row in range(starts.size):
        if kinds[row] == VALUE:
            start = starts[row]
            value = int(big_endian(buffer, start, 5)) - 0x8000000000
            date, time = value >> 17, value & 0x1FFFF
            month = date >> 5
            days[row] = month // 13 * 10000 + month % 13 * 100 + (date & 31)
            seconds = (time >> 12) * 3600 + (time >> 6 & 63) * 60 + (time & 63)
            micros[row] = seconds * _SECOND_US + _fraction(buffer, start + 5, fsp)


@njit(cache=True, nogil=True)
def timestamps(
    buffer: Bytes, starts: Integers, kinds: Bytes, fsp: int, modern: bool, days: Integers, micros: Integers
) -> None:
    """TIMESTAMP2 (seconds since 1970 UTC, high byte first, and the fraction) or the older TIMESTAMP (low byte first,
    or `fsp` > 0: high byte first and the fraction as a number of its own digits); 0 is the zero date."""
    for row in range(starts.size):
        if kinds[row] == VALUE:
            start = starts[row]
            seconds = int(big_endian(buffer, start, 4)) if modern or fsp else int(little_endian(buffer, start, 4))
            fraction = _fraction(buffer, start + 4, fsp) if modern else _hires_fraction(buffer, start + 4, fsp)
            if seconds == 0 and fraction == 0:
                continue
            days[row] = _civil(seconds // 86400)
            micros[row] = seconds % 86400 * _SECOND_US + fraction


@njit(cache=True, nogil=True)
def _hires_fraction(buffer: Bytes, at: int, fsp: int) -> int:
    """Microseconds of the fraction of MariaDB's older types, in as few bytes as its digits need."""
    if fsp == 0:
        return 0
    width = 1 if fsp <= 2 else 2 if fsp <= 4 else 3
    return int(big_endian(buffer, at, width)) * int(_POWERS[6 - fsp])


@njit(cache=True, nogil=True)
def times(buffer: Bytes, starts: Integers, kinds: Bytes, fsp: int, micros: Integers) -> None:
    """TIME2: hours, minutes and seconds in the bits of three bytes and the fraction, all together offset and signed."""
    width = (fsp + 1) // 2
    for row in range(starts.size):
        if kinds[row] == VALUE:
            value = int(big_endian(buffer, starts[row], 3 + width)) - (1 << 23 + 8 * width)
            sign = -1 if value < 0 else 1
            value = abs(value)
            fraction = (value & ((1 << 8 * width) - 1)) * (
                0 if width == 0 else 10000 if width == 1 else 100 if width == 2 else 1
            )
            value >>= 8 * width
            seconds = (value >> 12 & 1023) * 3600 + (value >> 6 & 63) * 60 + (value & 63)
            micros[row] = sign * (seconds * _SECOND_US + fraction)


@njit(cache=True, nogil=True)
def old_datetimes(buffer: Bytes, starts: Integers, kinds: Bytes, fsp: int, days: Integers, micros: Integers) -> None:
    """The older DATETIME: the number YYYYMMDDhhmmss in 8 bytes; with `fsp` of MariaDB's a mixed-radix number."""
    width = 8 if fsp == 0 else 6 if fsp <= 2 else 7 if fsp <= 5 else 8
    for row in range(starts.size):
        if kinds[row] != VALUE:
            continue
        if fsp == 0:
            value = int(little_endian(buffer, starts[row], 8))
            days[row], clock = value // 1000000, value % 1000000
            seconds = clock // 10000 * 3600 + clock // 100 % 100 * 60 + clock % 100
            micros[row] = seconds * _SECOND_US
            continue
        scale = int(_POWERS[6 - fsp])
        value = int(big_endian(buffer, starts[row], width)) * scale
        micros[row] = value % _SECOND_US
        value //= _SECOND_US
        micros[row] += (value % 60 + value // 60 % 60 * 60 + value // 3600 % 24 * 3600) * _SECOND_US
        value //= 86400
        days[row] = value // 32 // 13 * 10000 + value // 32 % 13 * 100 + value % 32


@njit(cache=True, nogil=True)
def old_times(buffer: Bytes, starts: Integers, kinds: Bytes, fsp: int, micros: Integers) -> None:
    """The older TIME: the number hhmmss, signed, in 3 bytes; with `fsp` of MariaDB's an offset number of fractions."""
    width = 4 if fsp <= 2 else 5 if fsp <= 5 else 6
    for row in range(starts.size):
        if kinds[row] != VALUE:
            continue
        if fsp == 0:
            value = int(little_endian(buffer, starts[row], 3))
            value -= (value >> 23) << 24
            sign = -1 if value < 0 else 1
            value = abs(value)
            seconds = value // 10000 * 3600 + value // 100 % 100 * 60 + value % 100
            micros[row] = sign * seconds * _SECOND_US
            continue
        # 839 hours is the offset that makes it positive (`sec_part_shift` of TIME_MAX_VALUE_SECONDS).
        zero = (838 * 3600 + 59 * 60 + 59 + 1) * _SECOND_US
        value = int(big_endian(buffer, starts[row], width)) * int(_POWERS[6 - fsp])
        micros[row] = value - zero


@njit(cache=True, nogil=True)
def _days(date: int) -> int:
    """Days since 1970 of year * 10000 + month * 100 + day; the smallest int64 if there is no such day."""
    year, month, day = date // 10000, date // 100 % 100, date % 100
    if month < 1 or month > 12 or day < 1 or year > 9999:
        return np.iinfo(np.int64).min
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 if month in (4, 6, 9, 11) else 31 if month != 2 else 29 if leap else 28
    if day > longest:
        return np.iinfo(np.int64).min
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146097 + day_of_era - 719468


@njit(cache=True, nogil=True)
def moments(days: Integers, micros: Integers, kinds: Bytes, unit: int, out: Integers, bad: Bytes) -> bool:
    """Dates and times of day as days (`unit` 1) or microseconds (`unit` 86,400,000,000) since 1970.

    Args:
        days: year * 10000 + month * 100 + day.
        micros: microseconds of the day.
        out: int64, filled.
        bad: uint8, set to 1 where there is no such day (zero and partial dates) or time.

    Returns:
        Whether any is bad.
    """
    any_bad = False
    for row in range(days.size):
        if kinds[row] == VALUE:
            day = _days(days[row])
            if day == np.iinfo(np.int64).min or micros[row] < 0 or micros[row] >= _DAY_US:
                bad[row] = 1
                any_bad = True
            else:
                out[row] = day * unit + micros[row]
    return any_bad


@njit(cache=True, nogil=True)
def _number(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The digits at `at` as a number, and the offset after them."""
    value = 0
    while at < end and 48 <= data[at] <= 57 and value < 100_000_000:
        value = value * 10 + int(data[at]) - 48
        at += 1
    return value, at


@njit(cache=True, nogil=True)
def _clock(data: Bytes, at: int, end: int) -> int:
    """Microseconds of "h:mm:ss.ffffff"; -1 if it is not that."""
    hours, at = _number(data, at, end)
    if at >= end or data[at] != ord(":"):
        return -1
    minutes, at = _number(data, at + 1, end)
    if at >= end or data[at] != ord(":"):
        return -1
    seconds, at = _number(data, at + 1, end)
    micros = 0
    if at < end and data[at] == ord("."):
        begin = at + 1
        micros, at = _number(data, begin, end)
        if at - begin > 6:
            return -1
        micros *= int(_POWERS[6 - (at - begin)])
    if at != end:
        return -1
    return (hours * 3600 + minutes * 60 + seconds) * _SECOND_US + micros


@njit(cache=True, nogil=True)
def read_text(
    data: Bytes, offsets: NDArray[np.int32], kinds: Bytes, date: bool, time: bool, days: Integers, micros: Integers
) -> int:
    """Temporal values as the server writes them.

    Args:
        data, offsets: uint8, int32 of an Arrow binary array.
        date, time: whether a date, a time, or a date and a time stand there.
        days, micros: int64, filled as `datetimes` fills them, `micros` signed where there is a time alone.

    Returns:
        -1, or the first row that is not such a text.
    """
    for row in range(kinds.size):
        if kinds[row] != VALUE:
            continue
        at, end = int(offsets[row]), int(offsets[row + 1])
        if date:
            year, first = _number(data, at, end)
            if first >= end or data[first] != ord("-"):
                return row
            month, second = _number(data, first + 1, end)
            if second >= end or data[second] != ord("-"):
                return row
            day, at = _number(data, second + 1, end)
            days[row] = year * 10000 + month * 100 + day
            if time:
                if at >= end or data[at] != ord(" "):
                    return row
                at += 1
        if time:
            negative = not date and at < end and data[at] == ord("-")
            value = _clock(data, at + negative, end)
            if value < 0:
                return row
            micros[row] = -value if negative else value
        elif at != end:
            return row
    return -1


@njit(cache=True, nogil=True)
def _put(value: int, digits: int, out: Bytes, to: int) -> int:
    for i in range(digits):
        out[to + digits - 1 - i] = 48 + value % 10
        value //= 10
    return to + digits


@njit(cache=True, nogil=True)
def write_text(
    days: Integers,
    micros: Integers,
    kinds: Bytes,
    date: bool,
    time: bool,
    fsp: int,
    out: Bytes,
    offsets: NDArray[np.int32],
) -> None:
    """The reverse of `read_text`, with `fsp` digits after the second.

    Args:
        out: uint8, room for 32 a row.
        offsets: int32, one more than rows; filled.
    """
    to = 0
    offsets[0] = 0
    for row in range(kinds.size):
        if kinds[row] == VALUE:
            if date:
                to = _put(days[row] // 10000, 4, out, to)
                out[to] = ord("-")
                to = _put(days[row] // 100 % 100, 2, out, to + 1)
                out[to] = ord("-")
                to = _put(days[row] % 100, 2, out, to + 1)
                if time:
                    out[to] = ord(" ")
                    to += 1
            if time:
                value = micros[row]
                if value < 0:
                    out[to] = ord("-")
                    to += 1
                    value = -value
                seconds = value // _SECOND_US
                hours = seconds // 3600
                to = _put(hours, 3 if hours > 99 else 2, out, to)
                out[to] = ord(":")
                to = _put(seconds // 60 % 60, 2, out, to + 1)
                out[to] = ord(":")
                to = _put(seconds % 60, 2, out, to + 1)
                if fsp:
                    out[to] = ord(".")
                    to = _put(value % _SECOND_US // _POWERS[6 - fsp], fsp, out, to + 1)
        offsets[row + 1] = to
