"""Mutated messages through the decoders: only declared outcomes, and of JSON the same verdict as Python's own parser.

`make fuzz-formats N=1000000`; a small number of them is in the suite (`test_fuzz.py`).
"""

from __future__ import annotations

import argparse
import json
import random

import pyarrow as pa

from headwater.formats.decoder import make_decoder
from headwater.formats.settings import CsvFormat, DebeziumJsonFormat, JsonFormat

BATCH = 2000
FORMATS = {
    "json": (
        JsonFormat(nan=True),
        [
            b'{"a":1,"b":[1,2.5,"x"],"c":{"d":null,"e":"\\u00e9\xc3\xa9"}}',
            b'{"id":12345678901234567890,"t":true,"l":[[1],[{"x":[]}]]}',
        ],
    ),
    "csv": (CsvFormat(), [b'1,"a,""b""",x', b"a,b,c\r\n"]),
    "debezium-json": (
        DebeziumJsonFormat(nan=False),
        [
            b'{"before":null,"after":{"id":1,"n":"x"},"op":"c","ts_ms":1}',
            b'{"schema":{"fields":[{"field":"after","fields":[{"field":"id","type":"int32"}]}]},'
            b'"payload":{"after":{"id":5},"op":"u"}}',
        ],
    ),
}
PIECES = [b"{", b"}", b"[", b"]", b'"', b",", b"\\u", b"\xff", b"1e9", b"-", b"null", b":"]
STRICTER = {"duplicate_key", "bad_escape", "too_deep", "too_many_fields"}
"""Reasons for which Python's parser has no counterpart."""


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A message with a few bytes changed, put in, taken out or doubled."""
    made = bytearray(seed)
    for _ in range(chance.randrange(1, 5)):
        at, kind = chance.randrange(len(made) + 1), chance.randrange(4)
        if kind == 0 and made:
            made[at % len(made)] = chance.randrange(256)
        elif kind == 1:
            made[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del made[at : at + chance.randrange(1, 6)]
        else:
            other = chance.randrange(len(made) + 1)
            made[at:at] = made[min(at, other) : max(at, other)]
    return bytes(made)


def is_object(message: bytes) -> bool:
    """Whether Python takes a message for a JSON object."""
    try:
        return isinstance(json.loads(message.decode("utf-8-sig"), parse_constant=float), dict)
    except (ValueError, RecursionError):
        return False


def fuzz(form: str, inputs: int, seed: int) -> int:
    """Decodes so many mutated messages; returns how many were bad.

    Raises:
        AssertionError: a message is neither read nor bad, or the verdict is not Python's.
    """
    chance = random.Random(f"{form}{seed}")
    settings, seeds = FORMATS[form]
    decoder, bad = make_decoder(settings), 0
    for _ in range(0, inputs, BATCH):
        messages = [mutated(chance.choice(seeds), chance) for _ in range(min(BATCH, inputs))]
        found = decoder.decode(pa.array(messages, pa.binary()))
        reasons = {one.message: one.reason for one in found.bad}
        assert len(reasons) + len(found.message) == len(messages)
        for number, message in enumerate(messages[:300]) if form == "json" else ():
            same = is_object(message) == (number not in reasons)
            assert same or reasons.get(number) in STRICTER, message
        bad += len(reasons)
    return bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for form in FORMATS:
        print(f"{form}: {given.inputs} inputs, {fuzz(form, given.inputs, given.seed)} bad, none undeclared")  # noqa: T201
