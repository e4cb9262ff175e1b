"""Log lines by a grok pattern: good ones become columns, each bad one is named and says nothing of the others."""

from __future__ import annotations

import random

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.formats.grok import GrokDecoder
from headwater.formats.settings import GrokFormat

PATTERN = "%{IP:ip} %{INT:n:int} %{HTTPDATE:at:timestamp}"
GOOD = b"10.0.0.1 7 10/Oct/2000:13:55:36 -0700"
POISON = [b"", b"\xff\xfe", b"\0" * 20, b"10.0.0.1 99999999999999999999 10/Oct/2000:13:55:36 -0700", b"x" * 100_000,
          b"10.0.0.1 7 31/Feb/2000:13:55:36 -0700"]  # fmt: skip
REASONS = ["no_match", "bad_utf8", "no_match", "bad_value", "no_match", "bad_value"]


def decoder() -> GrokDecoder:
    return GrokDecoder(GrokFormat(pattern=PATTERN))


def test_the_rest_flows_whatever_part_is_poison() -> None:
    for share in (0.01, 1.0):
        rng = random.Random(7)
        lines = [rng.choice(POISON) if rng.random() < share else GOOD for _ in range(2_000)]
        made = decoder().decode(pa.array(lines, pa.binary()))
        wrong = [number for number, line in enumerate(lines) if line != GOOD]
        assert [one.message for one in made.bad] == wrong
        assert [one.reason for one in made.bad] == [REASONS[POISON.index(lines[number])] for number in wrong]
        assert made.message.tolist() == [number for number, line in enumerate(lines) if line == GOOD]
        assert made.rows.num_rows == len(made.message)


def test_tombstones_are_no_lines() -> None:
    made = decoder().decode(pa.array([None, GOOD, None], pa.binary()))
    assert made.message.tolist() == [1] and not made.bad
    assert made.rows.to_pylist()[0]["n"] == 7


def test_a_pattern_without_fields_keeps_the_rows() -> None:
    made = GrokDecoder(GrokFormat(pattern="%{INT}")).decode(pa.array([b"1", b"x"], pa.binary()))
    assert (made.message.tolist(), [one.message for one in made.bad]) == ([0], [1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.just(GOOD) | st.none(), max_size=20))
def test_every_line_is_a_row_or_bad(lines: list[bytes | None]) -> None:
    made = DECODER.decode(pa.array(lines, pa.binary()))
    numbers = sorted([*made.message.tolist(), *(one.message for one in made.bad)])
    assert numbers == [number for number, line in enumerate(lines) if line is not None]
    assert len(made.message) == made.rows.num_rows


DECODER = decoder()
