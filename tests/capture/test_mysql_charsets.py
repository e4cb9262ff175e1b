"""Every code of every character set becomes what the server itself makes of it."""

from itertools import pairwise

import numpy as np
import pytest

from headwater.capture.mysql import charsets
from headwater.errors import SourceStopped

DOUBLE = ("big5", "cp932", "eucjpms", "euckr", "gb2312", "gbk", "sjis", "ujis")
SINGLE = tuple(charsets._SINGLE)
WIDE = ("ucs2", "utf16", "utf16le", "utf32")


def codes_of(charset):
    """Every code that could be one."""
    if charset in WIDE:
        width, order = (4, "big") if charset == "utf32" else (2, "little" if charset == "utf16le" else "big")
        return [code.to_bytes(width, order) for code in range(0, 0x10000, 7) if not 0xD800 <= code < 0xE000]
    codes = [bytes([first]) for first in range(256)]
    if charset in DOUBLE:
        codes += [bytes([first, second]) for first in range(0x80, 256) for second in range(0x30, 256)]
    if charset in ("ujis", "eucjpms"):
        codes += [bytes([0x8F, first, second]) for first in range(0xA1, 255) for second in range(0xA1, 255)]
    return codes


@pytest.fixture(scope="module")
def cursor(mariadb):
    with mariadb.connect(charset="utf8mb4") as connection, connection.cursor() as made:
        made.execute("SET sql_mode = ''")
        made.execute("SET SESSION sql_log_bin = 0")
        made.execute("CREATE DATABASE charsets")
        made.execute("USE charsets")
        made.execute("CREATE TABLE codes (id int PRIMARY KEY, code varbinary(4)) ENGINE=MEMORY")
        yield made


@pytest.mark.parametrize("charset", (*SINGLE, *DOUBLE, *WIDE))
def test_every_code_is_converted_as_the_server_does(cursor, charset):
    codes = codes_of(charset)
    cursor.execute("TRUNCATE codes")
    for first in range(0, len(codes), 8000):
        part = enumerate(codes[first : first + 8000], first)
        cursor.execute("INSERT INTO codes VALUES " + ",".join(f"({place},x'{code.hex()}')" for place, code in part))
    # A code that the server does not take for one character comes back as something else.
    cursor.execute(
        f"SELECT code, HEX(CONVERT(CONVERT(code USING {charset}) USING utf8mb4)) FROM codes "
        f"WHERE CAST(CONVERT(code USING {charset}) AS BINARY) = code ORDER BY id"
    )
    rows = cursor.fetchall()
    assert len(rows) >= (128 if charset not in WIDE else 9000)
    offsets = np.concatenate(([0], np.cumsum([len(code) for code, _ in rows]))).astype(np.int32)
    data = np.frombuffer(b"".join(code for code, _ in rows), np.uint8)
    converted, ends = charsets.to_utf8(charset, data, offsets)
    made = [converted[begin:end].tobytes().hex() for begin, end in pairwise(ends)]
    wrong = [(code.hex(), is_, should) for (code, should), is_ in zip(rows, made, strict=True) if is_ != should.lower()]
    assert not wrong, wrong[:5]


def test_the_server_has_no_collation_that_we_do_not_know(cursor):
    cursor.execute(
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY "
        "WHERE ID IS NOT NULL"
    )
    listed = cursor.fetchall()
    assert len(listed) > 1000
    assert [(number, name) for number, name in listed if charsets.charset_of(number) != name] == []


def test_pairs_of_surrogates_and_halves_of_them():
    text = "a🐢".encode("utf-16-be") + b"\xd8\x00" + b"\x00b" + b"\xdc"
    converted, _ = charsets.to_utf8("utf16", np.frombuffer(text, np.uint8), np.array([0, len(text)], np.int32))
    assert converted.tobytes().decode() == "a🐢?b?"


def test_gb18030_has_codes_of_four_bytes():
    values = ["汉", "\U0001f422", "a", "汉"]
    data = b"".join(value.encode("gb18030") for value in values)
    offsets = np.cumsum([0, *(len(value.encode("gb18030")) for value in values)]).astype(np.int32)
    converted, ends = charsets.to_utf8("gb18030", np.frombuffer(data, np.uint8), offsets)
    assert converted.tobytes().decode() == "".join(values) and ends[-1] == converted.size


def test_a_column_larger_than_arrow_holds_stops(monkeypatch):
    monkeypatch.setattr(charsets, "MAX_COLUMN_BYTES", 5)
    data = "éé".encode("latin-1")
    assert charsets.to_utf8("latin1", np.frombuffer(data, np.uint8), np.array([0, 2], np.int32))[0].size == 4
    with pytest.raises(SourceStopped, match="6 bytes, more than Arrow's arrays hold"):
        charsets.to_utf8("latin1", np.frombuffer(data + b"\xe9", np.uint8), np.array([0, 3], np.int32))
