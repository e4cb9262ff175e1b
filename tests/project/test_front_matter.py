"""Settings and SELECT are told apart, and lines and columns count as in the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.project.front_matter import split

CASES = [
    ("SELECT 1", "", "SELECT 1", 1),
    ("\n\n  SELECT 1;\n", "", "  SELECT 1", 3),
    ("/* about this */\nSELECT 1", "", "/* about this */\nSELECT 1", 1),
    ("/*\nkey: [a]\n*/\n\nSELECT 1", "  \nkey: [a]\n", "SELECT 1", 5),
    ("/* key: a */ SELECT 1 ;", "   key: a ", " " * 13 + "SELECT 1", 1),
    ("\n/*\nemit: final */\n  SELECT 1", "\n  \nemit: final ", "  SELECT 1", 4),
    ("/* see http://x */ SELECT 1", "", "/* see http://x */ SELECT 1", 1),
    ("-- first\n/*\nkey: a\n*/ SELECT 1", "", "-- first\n/*\nkey: a\n*/ SELECT 1", 1),
    ("/* key: a */", "   key: a ", "", 1),
]


@pytest.mark.parametrize(("text", "front_matter", "sql", "first_line"), CASES)
def test_split(text: str, front_matter: str, sql: str, first_line: int) -> None:
    found = split(text)
    assert (found.front_matter, found.sql.rstrip(), found.first_line) == (front_matter, sql, first_line)


@given(st.text(alphabet="/* \n;:kS", max_size=40), st.text(alphabet=" \n", max_size=5))
def test_every_character_keeps_its_line_and_column(noise: str, space: str) -> None:
    """Wherever the SELECT's line begins, what the split gives for it is the same line of the file, blanks apart."""
    text = f"{space}/*{space}key: a{space}*/{noise}X"
    found = split(text)
    lines = text.split("\n")
    for number, line in enumerate(found.sql.split("\n"), start=found.first_line):
        assert all(a in (" ", b) for a, b in zip(line, lines[number - 1], strict=False))
    assert found.sql.endswith("X")
