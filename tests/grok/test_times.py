"""Times in the formats of Logstash's date filter."""

from __future__ import annotations

import duckdb
import pytest

from headwater.errors import UserError
from headwater.grok.times import time_sql


def read(text: str, formats: list[str], zone: str = "UTC") -> str | None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = f"SELECT strftime({time_sql('text', formats, zone)}, '%Y-%m-%d %H:%M:%S.%f') FROM (SELECT ? AS text)"
        row = connection.execute(sql, [text]).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0]).removesuffix(".000000")


@pytest.mark.parametrize(
    ("text", "formats", "zone", "expected"),
    [
        ("10/Oct/2000:13:55:36 -0700", ["dd/MMM/yyyy:HH:mm:ss Z"], "UTC", "2000-10-10 20:55:36"),
        ("2026-11-22T01:02:03.456Z", ["ISO8601"], "Europe/Berlin", "2026-11-22 01:02:03.456000"),
        ("2026-11-22T01:02:03,456", ["ISO8601"], "Europe/Berlin", "2026-11-22 00:02:03.456000"),
        ("2026-11-22 01:02:03+01:00", ["ISO8601"], "UTC", "2026-11-22 00:02:03"),
        ("2026-11-22", ["ISO8601"], "Europe/Berlin", "2026-11-21 23:00:00"),
        ("1700000000.5", ["UNIX"], "UTC", "2023-11-14 22:13:20.500000"),
        ("1700000000123", ["UNIX_MS"], "UTC", "2023-11-14 22:13:20.123000"),
        ("@4000000050d506482dbdf024", ["TAI64N"], "UTC", "2012-12-22 01:00:46.767422"),
        ("22.11.2026 5:06", ["dd/MM/yyyy", "dd.MM.yyyy H:mm"], "America/New_York", "2026-11-22 10:06:00"),
        ("Sun Nov 22 01:02:03.000123 2026", ["EEE MMM dd HH:mm:ss.SSSSSS yyyy"], "UTC", "2026-11-22 01:02:03.000123"),
        ("2026 Nov  2 01:02:03", ["yyyy MMM d HH:mm:ss"], "UTC", "2026-11-02 01:02:03"),
        ("at 03 o'clock PM on 22/11/26", ["'at' hh 'o''clock' a 'on' dd/MM/yy"], "UTC", "2026-11-22 15:00:00"),
        ("nonsense", ["ISO8601", "UNIX", "UNIX_MS", "TAI64N", "yyyy"], "UTC", None),
        ("2026-02-30T00:00:00", ["ISO8601"], "UTC", None),
    ],
)
def test_formats(text: str, formats: list[str], zone: str, expected: str | None) -> None:
    assert read(text, formats, zone) == expected


@pytest.mark.parametrize(
    ("form", "said"), [("MMM d HH:mm:ss", "has no year"), ("yyyy QQ", "'QQ'"), ("yyyy 'x", "character 6")]
)
def test_formats_that_cannot_be_read(form: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        time_sql("text", [form], "UTC")
    assert said in raised.value.message
