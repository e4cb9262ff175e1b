"""Mutated messages for every decoder: `python -m tests.fuzz.formats --format avro --inputs 1000000`.

Whatever a message holds, `decode` returns: every message is a row, a tombstone or bad, each once; the good messages
around a bad one give what they give alone; time and memory are bounded. With NUMBA_BOUNDSCHECK=1 (and a cache folder of
its own, see the Makefile) every index of the kernels is checked. A failure prints the seed of its round: --seed N
--inputs 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import avro_cases
import protobuf_cases

from headwater.formats.decoder import make_decoder
from headwater.formats.schema_source import SchemaText
from headwater.formats.settings import JsonFormat

ROUND = 200
SECONDS_PER_ROUND = 5.0
GROWTH_BYTES = 600 << 20
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


@dataclass(frozen=True)
class Case:
    """A decoder and messages that it reads."""

    settings: object
    good: list[bytes]
    registry: object = None


@dataclass
class Held:
    """A registry of schemas by id."""

    schemas: dict[int, SchemaText] = field(default_factory=dict)

    def schema(self, identifier):
        return self.schemas.get(identifier)

    def version(self, subject, version):
        return None


def _avro(settings):
    """Random schemas, bare and by id."""
    cases, held = [], Held()
    framed = []
    for seed in range(12):
        maker = avro_cases.Maker(random.Random(seed))
        schema = maker.record(3)
        good = avro_cases.written(schema, [maker.value(schema)[0] for _ in range(8)])
        cases.append(Case(settings.AvroFormat(framing="none", schema=json.dumps(schema)), good))
        held.schemas[seed] = SchemaText(seed, "AVRO", json.dumps(schema))
        framed += [b"\0" + seed.to_bytes(4, "big") + each for each in good]
    return [*cases, Case(settings.AvroFormat(), framed, held)]


def _protobuf(settings):
    """Everything of proto3, something of proto2, bare and by id."""
    good = [each.SerializeToString() for each in protobuf_cases.seeded(1, 30)]
    held = Held({1: SchemaText(1, "PROTOBUF", protobuf_cases.PROTO)})
    framed = [b"\0\0\0\0\1\2\2" + each for each in good] + [b"\0\0\0\0\1\0\x09" + bytes(8)]
    two = [b"\x08\x01\x22\x02\x08\x01", b"\x08\x05\x12\x01a\x18\x05\x1a\x02\x05\x06\x22\x02\x08\x00"]
    return [
        Case(settings.ProtobufFormat(framing="none", schema=protobuf_cases.PROTO, message="Everything"), good),
        Case(settings.ProtobufFormat(framing="none", schema=protobuf_cases.PROTO2, message="Two"), two),
        Case(settings.ProtobufFormat(), framed, held),
    ]


def _json(settings):
    """Objects of all that JSON has."""
    return [
        Case(settings.JsonFormat(), [
            b'{"id": 1, "name": "caf\xc3\xa9", "tags": ["a", "b"], "at": {"x": 1.5, "y": null}}',
            b'{"id": 12345678901234567890, "text": "\\u00e9\\ud83d\\ude00\\n", "flag": true, "deep": [[1], [2, 3]]}',
            b'{"a": {"b": {"c": {"d": [{"e": 1}, {"e": "x"}]}}}, "n": -1.5e-300}',
        ])
    ]  # fmt: skip


def _csv(settings):
    """Lines with and without quotes."""
    given = settings.CsvFormat(header=("id", "name", "note"))
    return [Case(given, [b"1,a,b", b'2,"a ""quoted"", text",', "3,café,\u2028".encode(), b'4,"two\nlines",x'])]


def _debezium(settings):
    """Envelopes with and without their schema, and tombstones of all kinds."""
    return [
        Case(settings.DebeziumJsonFormat(), [
            b'{"before":null,"after":{"id":1,"n":"x"},"op":"c","ts_ms":1}',
            b'{"schema":{"fields":[{"field":"after","fields":[{"field":"id","type":"int32"}]}]},'
            b'"payload":{"after":{"id":5},"op":"u"}}',
            b'{"before":{"id":1,"n":"x"},"after":null,"op":"d"}',
        ])
    ]  # fmt: skip


def _raw(settings):
    """Bytes, and text."""
    return [
        Case(settings.RawFormat(), [b"any", b"\xff\x00", b""]),
        Case(settings.RawFormat(text=True), [b"any", "caf\u00e9 \u2028".encode(), b""]),
    ]


def _grok(settings):
    """Lines of a web server, and of a log with a typed time and a number."""
    line = (
        b'127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326 "http://e.x/" "Mozilla (X11)"'
    )
    typed = "%{TIMESTAMP_ISO8601:at:timestamp} %{LOGLEVEL:level} %{INT:took:int} %{GREEDYDATA:message}"
    return [
        Case(settings.GrokFormat(pattern="%{COMBINEDAPACHELOG}"), [line, line.replace(b"2326", b"-")]),
        Case(settings.GrokFormat(pattern=typed), [b"2026-11-22T01:02:03.004Z INFO 12 all is \xc3\xa9"]),
    ]


FORMATS = {
    "avro": _avro, "protobuf": _protobuf, "json": _json, "csv": _csv, "debezium-json": _debezium, "raw": _raw,
    "grok": _grok,
}  # fmt: skip
STRICTER = {"duplicate_key", "bad_escape", "too_deep", "too_many_fields", "number_out_of_range"}
"""Reasons for which Python's parser has no counterpart."""


def is_object(message):
    """Whether Python takes a message for a JSON object."""
    try:
        return isinstance(json.loads(message.decode("utf-8-sig"), parse_constant=_no_number), dict)
    except (ValueError, RecursionError):
        return False


def _no_number(name):
    raise ValueError(f"{name} is no JSON")


def mutated(rng, message, others):
    """A message with a few bytes changed, cut off, repeated, put in, or with a piece of another one."""
    data = bytearray(message)
    for _ in range(rng.choice((1, 1, 2, 4))):
        what, at = rng.random(), rng.randrange(len(data) + 1)
        if what < 0.35 and data:
            data[at % len(data)] = rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randrange(256)
        elif what < 0.5 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif what < 0.62:
            del data[at:]
        elif what < 0.72:
            del data[at : at + rng.randrange(1, 9)]
        elif what < 0.8:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif what < 0.87:
            data[at:at] = rng.choice(
                (b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 11, b"\xfe\xff\xff\xff\x0f")
            )
        elif what < 0.94:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.randrange(1, 40)]
        else:
            data += data[at:]
    return bytes(data[: 1 << 16])


def run_round(seed, cases):
    """`ROUND` inputs of one seed, among good messages; how many were bad."""
    rng = random.Random(seed)
    case, decoder = cases[seed % len(cases)]
    messages, kept = [], []
    for _ in range(ROUND):
        if rng.random() < 0.1:
            kept.append(len(messages))
            messages.append(rng.choice(case.good))
        messages.append(mutated(rng, rng.choice(case.good), case.good))
    found = decoder.decode(pa.array(messages, pa.binary()))
    found.rows.validate(full=True)
    bad = [each.message for each in found.bad]
    rows = found.message.tolist()
    assert sorted(bad + rows) == list(range(len(messages))), "every message is a row or bad"
    assert found.rows.num_rows == len(rows)
    assert not set(bad) & set(kept), "a good message is bad beside a bad one"
    if isinstance(case.settings, JsonFormat):
        reasons = {each.message: each.reason for each in found.bad}
        for number, message in enumerate(messages):
            same = is_object(message) == (number not in reasons)
            assert same or reasons.get(number) in STRICTER, f"Python says otherwise: {message!r}"
    alone = decoder.decode(pa.array([messages[number] for number in kept], pa.binary())).rows
    places = [rows.index(number) for number in kept]
    if alone.schema.equals(found.rows.schema) and kept:
        assert found.rows.take(pa.array(places)).equals(alone), "a good message gives something else beside a bad one"
    return len(bad)


def run(name, inputs, seed=0, tell=print):
    """Runs that many inputs of a format.

    Raises:
        AssertionError: a round took too long, memory grew, or a promise was broken.
        Exception: whatever a decoder raises: it should not.
    """
    from headwater.formats import settings

    faulthandler.enable()
    cases = [(case, make_decoder(case.settings, case.registry)) for case in FORMATS[name](settings)]
    refused, rounds, peak = 0, max(1, inputs // ROUND), 0
    for at in range(rounds):
        started = time.thread_time()
        try:
            refused += run_round(seed + at, cases)
            took = time.thread_time() - started
            assert at < len(cases) or took < SECONDS_PER_ROUND, f"took {took:.1f} s"
        except BaseException:
            tell(f"{name}, seed {seed + at}: run again with --format {name} --seed {seed + at} --inputs 1")
            raise
        if at == min(50, rounds - 1):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if at % 1000 == 999:
            tell(f"{name}: {(at + 1) * ROUND} inputs, seeds up to {seed + at}", flush=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak
    assert grown < GROWTH_BYTES, f"memory has grown by {grown >> 20} MiB"
    tell(f"{name}: {rounds * ROUND} inputs from seed {seed}, {refused} bad, memory +{grown >> 20} MiB")
    return refused


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=FORMATS, action="append")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for each in given.format or FORMATS:
        run(each, given.inputs, given.seed)
