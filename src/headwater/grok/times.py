"""Times written in the formats of Logstash's date filter, read by DuckDB.

A format is one of Joda's patterns (`dd/MMM/yyyy:HH:mm:ss Z`) or one of the words ISO8601, UNIX (seconds since 1970),
UNIX_MS and TAI64N. A time without a zone is one of the zone given. A format without a year is refused: Logstash takes
the year of the clock, by which the same line would mean another time when it is read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from headwater.errors import UserError

_LETTERS = {
    "yyyy": "%Y",
    "YYYY": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "M": "%-m",
    "dd": "%d",
    "d": "%-d",
    "HH": "%H",
    "H": "%-H",
    "hh": "%I",
    "h": "%-I",
    "mm": "%M",
    "m": "%-M",
    "ss": "%S",
    "s": "%-S",
    "SSS": "%g",
    "SSSSSS": "%f",
    "SSSSSSSSS": "%n",
    "a": "%p",
    "EEE": "%a",
    "E": "%a",
    "EEEE": "%A",
    "D": "%-j",
    "DDD": "%j",
    "Z": "%z",
    "ZZ": "%z",
    "ZZZ": "%Z",
}
_PART = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|%|[^A-Za-z'%]+")
_ZONED = ("%z", "%Z")
_TAI_OFFSET_S = (1 << 62) + 10
"""TAI64 counts from 2^62; labels were ten seconds ahead of UTC in 1970, which is all that Logstash takes off."""


def to_strptime(pattern: str) -> str:
    """A pattern of Joda's in the language of DuckDB's strptime.

    Raises:
        UserError: it holds a letter that is not known, or no year.
    """
    parts, at = [], 0
    for found in _PART.finditer(pattern):
        if found.start() != at:
            break
        at = found.end()
        parts.append(_part(found, pattern))
    if at != len(pattern):
        raise UserError(f"the date format {pattern!r} cannot be read at character {at + 1}", hint="quote words with '")
    made = "".join(parts)
    if "%Y" not in made and "%y" not in made:
        hint = "put the year in front of both: log_time('2026 ' || text, 'yyyy MMM d HH:mm:ss')"
        raise UserError(f"the date format {pattern!r} has no year", hint=hint)
    return made


def _part(found: re.Match[str], pattern: str) -> str:
    whole = found[0]
    if whole == "%":
        return "%%"
    if whole.startswith("'"):
        return (found[1].replace("''", "'") or "'").replace("%", "%%")
    if found[2] is None:
        return whole
    if whole not in _LETTERS:
        raise UserError(f"the date format {pattern!r} has {whole!r}", hint=f"known are {', '.join(_LETTERS)}")
    return _LETTERS[whole]


def time_sql(text: str, formats: Iterable[str], zone: str) -> str:
    """SQL of the time that a text says in the first of `formats` that fits; TIMESTAMP WITH TIME ZONE, NULL if none
    does.

    Args:
        text: SQL of the text.
        formats: see the module.
        zone: of times that do not say theirs.

    Raises:
        UserError: a format cannot be read.
    """
    parts = [_one(text, form, zone) for form in formats]
    if not parts:
        raise UserError("there is no date format", hint="for instance ['ISO8601']")
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"


def _one(text: str, form: str, zone: str) -> str:
    local = _quoted(zone)
    match form:
        case "ISO8601":
            zoned = f"regexp_matches({text}, '(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)$') AND {text}[11] IN ('T', ' ')"
            dotted = f"replace({text}, ',', '.')"
            return (
                f"CASE WHEN {zoned} THEN TRY_CAST({dotted} AS TIMESTAMPTZ)"
                f" ELSE timezone({local}, TRY_CAST({dotted} AS TIMESTAMP)) END"
            )
        case "UNIX":
            return f"to_timestamp(TRY_CAST({text} AS DOUBLE))"
        case "UNIX_MS":
            return f"make_timestamptz(TRY_CAST({text} AS BIGINT) * 1000)"
        case "TAI64N":
            digits = f"regexp_extract({text}, '^@?([0-9a-f]{{16}})([0-9a-f]{{8}})?$', ['s', 'n'])"
            seconds = f"TRY_CAST('0x' || {digits}.s AS HUGEINT) - {_TAI_OFFSET_S}"
            rest = f"coalesce(TRY_CAST('0x' || nullif({digits}.n, '') AS BIGINT), 0) // 1000"
            return f"make_timestamptz(CAST(({seconds}) * 1000000 + {rest} AS BIGINT))"
    made = to_strptime(form)
    parsed = f"try_strptime({text}, {_quoted(made)})"
    return parsed if any(part in made for part in _ZONED) else f"timezone({local}, {parsed})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
