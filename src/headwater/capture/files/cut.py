"""From the bytes of a file to records: lines, records of CSV whose quotes hold newlines, or events of several lines."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.files.kernels import Bytes, Longs, csv_ends, gather, line_ends, without_returns
from headwater.errors import UserError

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Cutting:
    """How the records of a file are told apart.

    Attributes:
        ends: what ends a record: a newline, or one outside of the quotes of CSV.
        event: of events of several lines, the expression (RE2) that says what a line is; empty for one line each.
        event_line: whether such a line begins an event, or continues the one before.
        delimiter, quote: of CSV.
        longest: bytes of the longest record.
    """

    ends: Literal["line", "csv"] = "line"
    event: str = ""
    event_line: Literal["begins", "continues"] = "begins"
    delimiter: str = ","
    quote: str = '"'
    longest: int = 16 << 20


@dataclass(frozen=True)
class Records:
    """Records cut out of a chunk.

    Attributes:
        values: the records in UTF-8 where the file's encoding is known, without their ends; else as they stand.
        starts: int64: where each begins in the file.
        used: bytes of the chunk that they are made of, ends included.
        too_long: the last is a piece of `longest` bytes of a record that is longer.
    """

    values: pa.BinaryArray
    starts: Longs
    used: int
    too_long: bool = False


def check_encoding(name: str) -> str:
    """The name of an encoding in which records can be told apart: UTF-8, UTF-16, or one that has ASCII's bytes.

    Raises:
        UserError: it is not known, or none of these.
    """
    try:
        codec = codecs.lookup(name).name
    except LookupError as error:
        raise UserError(f"there is no encoding {name!r}", hint="for instance utf-8, latin-1 or utf-16-le") from error
    if codec in ("utf-8", "utf-16-le", "utf-16-be"):
        return codec
    every = bytes(range(256))
    try:
        text = every.decode(codec, "surrogateescape")
    except (UnicodeError, LookupError):
        text = ""
    if len(text) != len(every) or text[:128] != every[:128].decode():
        hint = "utf-8, utf-16-le, utf-16-be, or one of a byte each, such as latin-1 or cp1252"
        raise UserError(f"records cannot be told apart in {name!r}", hint=hint)
    return codec


def encoding_of(head: bytes, given: str) -> tuple[str, int]:
    """The encoding of a file that begins with `head`, and the length of the mark that says so."""
    found = next(((name, len(mark)) for mark, name in BOMS if head.startswith(mark)), None)
    return found or (given, 0)


def cut(chunk: bytes, at: int, how: Cutting, encoding: str, *, final: bool) -> Records:
    """Cuts the records out of a chunk that begins with a record.

    Args:
        chunk: bytes of the file.
        at: where it stands in the file.
        how: what a record is.
        encoding: of the file.
        final: what has no end yet ends with the chunk.
    """
    wide = encoding.startswith("utf-16")
    usable = len(chunk) - len(chunk) % 2 if wide else len(chunk)
    data, origin = _plain(chunk[:usable], encoding)
    ends = line_ends(data) if how.ends == "line" else csv_ends(data, ord(how.delimiter), ord(how.quote))
    starts, ends, used = _spans(data, ends, final=final)
    too_long = not starts.size and len(chunk) >= how.longest
    if too_long:
        starts, ends, used = np.zeros(1, np.int64), np.array([data.size], np.int64), int(data.size)
    elif how.event and starts.size:
        starts, ends, used = _events(data, (starts, ends, used), how, final=final)
    values = _values(data, starts, ends, too_long=too_long)
    if origin is not None:
        return Records(values, origin[starts] + at, int(origin[used]), too_long)
    return Records(values, starts + at, used, too_long)


def _spans(data: Bytes, ends: Longs, *, final: bool) -> tuple[Longs, Longs, int]:
    """Beginnings and ends of the records, and how many bytes they take."""
    used = int(ends[-1]) + 1 if ends.size else 0
    if final and used < data.size:
        ends, used = np.append(ends, data.size), int(data.size)
    starts = np.zeros(ends.size, np.int64)
    starts[1:] = ends[:-1] + 1
    return starts, ends, used


def _values(data: Bytes, starts: Longs, ends: Longs, *, too_long: bool) -> pa.BinaryArray:
    if not too_long:
        ends = ends.copy()
        without_returns(data, starts, ends)
    out = np.empty(int((ends - starts).sum()), np.uint8)
    offsets = np.empty(starts.size + 1, np.int32)
    gather(data, starts, ends, out, offsets)
    return pa.Array.from_buffers(pa.binary(), starts.size, [None, pa.py_buffer(offsets), pa.py_buffer(out)])


def _events(data: Bytes, lines: tuple[Longs, Longs, int], how: Cutting, *, final: bool) -> tuple[Longs, Longs, int]:
    """Lines put together to events. The last is complete only when the next has begun."""
    starts, ends, used = lines
    values = _values(data, starts, ends, too_long=False)
    matches = pc.match_substring_regex(values, how.event).to_numpy(zero_copy_only=False)
    first = matches if how.event_line == "begins" else ~matches
    first[0] = True
    begins = np.flatnonzero(first)
    if not final:
        used = int(starts[begins[-1]])
        begins, last = begins[:-1], begins[1:] - 1
        if not begins.size and data.size >= how.longest:
            return starts[:1], ends[-1:], lines[2]
    else:
        last = np.append(begins[1:] - 1, starts.size - 1)
    return starts[begins], ends[last], used


def _plain(chunk: bytes, encoding: str) -> tuple[Bytes, Longs | None]:
    """The chunk in UTF-8, and where in the file each of its bytes comes from, which is known of the first byte of each
    character; None if they are the file's own. What is no character becomes no UTF-8, which the format refuses."""
    raw = np.frombuffer(chunk, np.uint8)
    if encoding == "utf-8" or (not encoding.startswith("utf-16") and not (raw & 0x80).any()):
        return raw, None
    if not encoding.startswith("utf-16"):
        return _recoded(chunk.decode(encoding, "surrogateescape"), np.arange(raw.size + 1))
    units = np.frombuffer(chunk, "<u2" if encoding.endswith("le") else ">u2")
    paired = np.zeros(units.size, np.bool_)
    paired[1:] = ((units[1:] & 0xFC00) == 0xDC00) & ((units[:-1] & 0xFC00) == 0xD800)
    places = np.append(2 * np.flatnonzero(~paired), len(chunk))
    return _recoded(chunk.decode(encoding, "surrogatepass"), places)


def _recoded(text: str, places: Longs) -> tuple[Bytes, Longs]:
    """UTF-8 of a text whose characters stand at `places`, with the end last."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    number = np.cumsum((data & 0xC0) != 0x80) - 1
    return data, np.append(places[number], places[-1])
