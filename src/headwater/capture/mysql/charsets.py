"""MySQL's and MariaDB's character sets: which collation belongs to which, and their text as UTF-8.

The snapshot is converted by the server (`SET NAMES utf8mb4`), rows of the binlog are in the column's own set, so the
conversion here must be the server's to the byte. Python's codecs are the starting point; where the server's tables
differ, the difference is written down here. `tests/capture/test_mysql_charsets.py` compares every code of every set
with what a server makes of it. What has no character is a question mark, as the server has it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headwater.capture.mysql import kernels_text
from headwater.capture.mysql.kernels_text import LEAD, LEAD_OF_THREE, NONE
from headwater.errors import SourceStopped

_COLLATIONS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "armscii8": ((32, 32), (64, 64)),
    "ascii": ((11, 11), (65, 65)),
    "big5": ((1, 1), (84, 84)),
    "binary": ((63, 63),),
    "cp1250": ((26, 26), (34, 34), (44, 44), (66, 66), (99, 99)),
    "cp1251": ((14, 14), (23, 23), (50, 52)),
    "cp1256": ((57, 57), (67, 67)),
    "cp1257": ((29, 29), (58, 59)),
    "cp850": ((4, 4), (80, 80)),
    "cp852": ((40, 40), (81, 81)),
    "cp866": ((36, 36), (68, 68)),
    "cp932": ((95, 96),),
    "dec8": ((3, 3), (69, 69)),
    "eucjpms": ((97, 98),),
    "euckr": ((19, 19), (85, 85)),
    "gb18030": ((248, 250),),
    "gb2312": ((24, 24), (86, 86)),
    "gbk": ((28, 28), (87, 87)),
    "geostd8": ((92, 93),),
    "greek": ((25, 25), (70, 70)),
    "hebrew": ((16, 16), (71, 71)),
    "hp8": ((6, 6), (72, 72)),
    "keybcs2": ((37, 37), (73, 73)),
    "koi8r": ((7, 7), (74, 74)),
    "koi8u": ((22, 22), (75, 75)),
    "latin1": ((5, 5), (8, 8), (15, 15), (31, 31), (47, 49), (94, 94)),
    "latin2": ((2, 2), (9, 9), (21, 21), (27, 27), (77, 77)),
    "latin5": ((30, 30), (78, 78)),
    "latin7": ((20, 20), (41, 42), (79, 79)),
    "macce": ((38, 38), (43, 43)),
    "macroman": ((39, 39), (53, 53)),
    "sjis": ((13, 13), (88, 88)),
    "swe7": ((10, 10), (82, 82)),
    "tis620": ((18, 18), (89, 89)),
    "ucs2": ((35, 35), (90, 90), (128, 151), (159, 159), (640, 642), (2560, 2727), (2744, 2759)),
    "ujis": ((12, 12), (91, 91)),
    "utf16": ((54, 55), (101, 124), (672, 674), (2816, 2983), (3000, 3015)),
    "utf16le": ((56, 56), (62, 62)),
    "utf32": ((60, 61), (160, 183), (736, 738), (3072, 3239), (3256, 3271)),
    "utf8mb3": ((33, 33), (76, 76), (83, 83), (192, 215), (223, 223), (576, 578), (2048, 2215), (2232, 2247)),
    "utf8mb4": ((45, 46), (224, 247), (255, 323), (608, 610), (2304, 2471), (2488, 2503)),
}
"""Numbers of collations, first and last of each range: `information_schema.COLLATIONS` of MariaDB 10.11, and of MySQL
9.4's the ones that MariaDB does not have (76, 248 to 250, 255 to 323)."""

_NOPAD = 1024
"""MariaDB's collations without padding have the number of their sibling plus this."""

MAX_COLUMN_BYTES = (1 << 31) - 1

UTF8 = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_WIDE = {
    "ucs2": kernels_text.UTF16_BE,
    "utf16": kernels_text.UTF16_BE,
    "utf16le": kernels_text.UTF16_LE,
    "utf32": kernels_text.UTF32_BE,
}

_SINGLE: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "ascii": ("ascii", {}),
    "cp1250": ("cp1250", {}),
    "cp1251": ("cp1251", {}),
    "cp1256": ("cp1256", dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), "?")),
    "cp1257": ("cp1257", {}),
    "cp850": ("cp850", {}),
    "cp852": ("cp852", {}),
    "cp866": ("cp866", {0xFC: "\u207f", 0xFD: "\xb2"}),
    "dec8": (
        "latin-1",
        {
            0xA8: "\xa4",
            0xD7: "\u0152",
            0xDD: "\u0178",
            0xF7: "\u0153",
            0xFD: "\xff",
            **dict.fromkeys(b"\xa4\xa6\xac\xad\xae\xaf\xb4\xb8\xbe\xd0\xde\xf0\xfe\xff", "?"),
        },
    ),
    "greek": ("iso8859_7", {0xA1: "\u02bd", 0xA2: "\u02bc", 0xA4: "?", 0xA5: "?", 0xAA: "?"}),
    "hebrew": ("iso8859_8", {0xAF: "\u203e"}),
    "hp8": ("hp_roman8", {}),
    "koi8r": ("koi8_r", {}),
    "koi8u": ("koi8_u", {0x95: "\u2022"}),
    "latin1": ("cp1252", {code: chr(code) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}),
    "latin2": ("iso8859_2", {}),
    "latin5": ("iso8859_9", {}),
    "latin7": ("iso8859_13", {}),
    "macce": ("mac_latin2", {}),
    "macroman": ("mac_roman", {}),
    "swe7": ("ascii", {**dict(zip(b"@[\\]^`{|}~", "ÉÄÖÅÜéäöåü", strict=True)), 0x7F: "?"}),
    "tis620": ("tis_620", dict.fromkeys((0xA0, *range(0xDB, 0xDF), *range(0xFC, 0x100)), "\ufffd")),
    "armscii8": (
        "latin-1",
        dict(
            enumerate(
                "❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'",  # noqa: RUF001
                0xA1,
            )
        ),
    ),
    "keybcs2": (
        "cp437",
        dict(enumerate("ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘťáíóúňŇŮÔšřŕŔ", 0x80)),
    ),
    "geostd8": (
        "latin-1",
        dict(enumerate("€?‚?„…†‡?‰?‹?????‘’“”•–—???›????", 0x80))  # noqa: RUF001
        | dict(enumerate("აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ", 0xC0))
        | dict.fromkeys(range(0xE6, 0x100), "?")
        | {0xFD: "№"},
    ),
}
"""Sets of one byte a character: a codec of Python's and the characters that are others on the server."""

_SHIFT_JIS_LEADS = (*range(0x81, 0xA0), *range(0xE0, 0xFD))
_DOUBLE: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "big5": ("big5", tuple(range(0xA1, 0xFA))),
    "cp932": ("cp932", _SHIFT_JIS_LEADS),
    "eucjpms": ("euc_jp", (0x8E, *range(0xA1, 0xFF))),
    "euckr": ("cp949", tuple(range(0x81, 0xFF))),
    "gb2312": ("gb2312", tuple(range(0xA1, 0xF8))),
    "gbk": ("gbk", tuple(range(0x81, 0xFF))),
    "sjis": ("shift_jis", _SHIFT_JIS_LEADS),
    "ujis": ("euc_jp", (0x8E, *range(0xA1, 0xFF))),
}
"""Sets of up to two bytes a character, three after 0x8F in ujis and eucjpms: a codec of Python's and the first bytes
of two."""

_EUC = frozenset({"ujis", "eucjpms"})
_DIFFERENT: Mapping[str, Mapping[int, str]] = {
    "big5": {
        **dict.fromkeys((0xA15A, 0xA1C3, 0xA1C5, 0xA1FE, 0xA240, 0xA2CC, 0xA2CE), "\ufffd"),
        **dict(enumerate("碁銹裏墻恒粧嫺", 0xF9D6)),
    },
    "sjis": {0x815F: "\\"},
    "ujis": {0xA1C0: "\\"},
    "eucjpms": {
        0xA1C1: "\uff5e",
        0xA1C2: "\u2225",
        0xA1DD: "\uff0d",
        0xA1F1: "\uffe0",
        0xA1F2: "\uffe1",
        0xA2CC: "\uffe2",
        0x8FA2B7: "\uff5e",
        0x8FA2C3: "\uffe4",
    },
}
"""Codes whose character is another one on the server."""


class Tables(NamedTuple):
    """What the kernel needs of a character set; see `kernels_text.transcode`."""

    kind: int
    one: NDArray[np.uint32]
    two: NDArray[np.uint32]
    three: NDArray[np.uint32]


def charset_of(collation: int) -> str | None:
    """The character set of a collation's number; None if the number is not known."""
    return _by_number().get(collation) or _by_number().get(collation - _NOPAD)


@cache
def _by_number() -> dict[int, str]:
    return {
        number: charset
        for charset, ranges in _COLLATIONS.items()
        for first, last in ranges
        for number in range(first, last + 1)
    }


def known(charset: str) -> bool:
    """Whether text of this character set can be converted."""
    return charset in UTF8 or charset in _COLLATIONS


def text(data: bytes, collation: int) -> str:
    """A statement's text; bytes that are no characters are shown as such, for statements are only read, never run."""
    charset = charset_of(collation) or "utf8mb4"
    if charset in UTF8 or charset == "binary":
        return data.decode(errors="backslashreplace")
    offsets = np.array([0, len(data)], np.int32)
    converted, _ = to_utf8(charset, np.frombuffer(data, np.uint8), offsets)
    return converted.tobytes().decode()


def to_utf8(
    charset: str, data: NDArray[np.uint8], offsets: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A column's text as UTF-8.

    Args:
        charset: as MySQL names it; `known`.
        data, offsets: the column as an Arrow binary array has it, offsets from 0.

    Returns:
        data, offsets: the same in UTF-8. Of the sets that are UTF-8 themselves the arguments, not validated.
    """
    if charset in UTF8 or charset == "binary":
        return data, offsets
    if charset == "gb18030":
        return _each(data, offsets, lambda value: value.decode("gb18030", errors="replace").encode())
    tables = _tables(charset)
    out, out_offsets = np.empty(3 * data.size, np.uint8), np.empty_like(offsets)
    size = kernels_text.transcode(data, offsets, *tables, out, out_offsets)
    require_room(size)
    return out[:size], out_offsets


def require_room(size: int) -> None:
    """Refuses what offsets of 32 bits cannot count.

    Args:
        size: bytes of a column's values in one run of rows.

    Raises:
        SourceStopped: there are too many.
    """
    if size > MAX_COLUMN_BYTES:
        raise SourceStopped(
            f"the values of a column in one event are {size:,} bytes, more than Arrow's arrays hold",
            hint="write them in several statements, or leave the table out: tables: [..., '!DATABASE.TABLE']",
        )


def _each(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], convert: Callable[[bytes], bytes]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The same by a codec that no table of two bytes can stand for, once for each distinct value."""
    seen: dict[bytes, bytes] = {}
    parts = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        value = data[begin:end].tobytes()
        if value not in seen:
            seen[value] = convert(value)
        parts.append(seen[value])
    sizes = np.fromiter(map(len, parts), np.int32, len(parts))
    return np.frombuffer(b"".join(parts), np.uint8), np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)


@cache
def _tables(charset: str) -> Tables:
    none = np.empty(0, np.uint32)
    if charset in _WIDE:
        return Tables(_WIDE[charset], none, none, none)
    if charset in _SINGLE:
        codec, others = _SINGLE[charset]
        one = _decoded((bytes([code]) for code in range(256)), codec, 256)
        for code, character in others.items():
            one[code] = ord(character)
        return Tables(kernels_text.TABLE, one, none, none)
    return _double(charset)


def _double(charset: str) -> Tables:
    codec, leads = _DOUBLE[charset]
    one = _decoded((bytes([code]) for code in range(256)), codec, 256)
    two = _decoded((bytes([code >> 8, code & 0xFF]) for code in range(65536)), codec, 65536)
    three = np.full(65536 if charset in _EUC else 0, NONE, np.uint32)
    one[list(leads)] = LEAD
    if charset in _EUC:
        three = _decoded((bytes([0x8F, code >> 8, code & 0xFF]) for code in range(65536)), codec, 65536)
        _extend_euc(charset, one, two, three)
    for code, character in _DIFFERENT.get(charset, {}).items():
        (two if code < 0x10000 else three)[code & 0xFFFF] = ord(character)
    return Tables(kernels_text.TABLE, one, two, three)


def _extend_euc(charset: str, one: NDArray[np.uint32], two: NDArray[np.uint32], three: NDArray[np.uint32]) -> None:
    """The server's rows for the user's own characters (private use area), and in eucjpms Windows' additions."""
    private = 0xE000
    for table in (two, three):
        for lead in range(0xF5, 0xFF):
            table[lead << 8 | 0xA1 : (lead << 8 | 0xFE) + 1] = np.arange(private, private + 94)
            private += 94
    one[0x8F] = LEAD_OF_THREE
    if charset != "eucjpms":
        return
    windows = _tables("cp932").two
    row_13 = np.concatenate((windows[0x8740:0x877F], windows[0x8780:0x879F]))
    two[0xADA1:0xADFF] = row_13
    # IBM's extensions, which Windows has from 0xFA40 on in the same order: signs, then the letters that JIS lacks.
    signs = np.concatenate((windows[0xFA40:0xFA54], windows[0xFA56:0xFA5B]))
    letters = np.concatenate((windows[0xFA5C:0xFA7F], windows[0xFA80:0xFAFD], windows[0xFB40:0xFB7F]))
    letters = np.concatenate((letters, windows[0xFB80:0xFBFD], windows[0xFC40:0xFC4C]))
    places = [*range(0xF3F3, 0xF3FF), *range(0xF4A1, 0xF4FF)]
    three[places] = np.concatenate((signs, letters[~np.isin(letters, three)]))


def _decoded(values: Iterator[bytes], codec: str, count: int) -> NDArray[np.uint32]:
    """What each code stands for where a codec makes one character of it, NONE elsewhere."""
    decode, found = codecs.getdecoder(codec), np.full(count, NONE, np.uint32)
    for place, value in enumerate(values):
        try:
            characters, _ = decode(value)
        except UnicodeDecodeError:
            continue
        if len(characters) == 1:
            found[place] = ord(characters)
    return found
