"""Mutated Avro container files: `python -m tests.fuzz.containers --inputs 100000`.

Whatever a file holds, reading it ends with rows or an error of the declared kinds, in bounded time and memory; and
where a block could be cut, each of its records alone gives what it gave there, and the bad one is bad. A failure prints
the seed of its input: --seed N --inputs 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
import avro_cases
from avro_containers import contained
from tests.fuzz.formats import mutated

from headwater.errors import UserError
from headwater.formats.avro.container import CODECS, AvroContainer, cut
from headwater.formats.avro.decoder import walk
from headwater.formats.spans import Spans

SECONDS = 5.0
MOST = 1 << 20
GROWTH_BYTES = 600 << 20


def made(rng):
    """A file, mutated as a whole, in what its blocks hold, in its counts, or in its schema."""
    maker = avro_cases.Maker(random.Random(rng.randrange(12)))
    schema = maker.record(3)
    good = avro_cases.written(schema, [maker.value(schema)[0] for _ in range(rng.randrange(1, 9))])
    codec, blocks, counts = rng.choice(CODECS), [b"".join(good), *good[:2]], [len(good), *[1] * len(good[:2])]
    way, text = rng.random(), json.dumps(schema).encode()
    if way < 0.4:
        blocks = [mutated(rng, block, good) for block in blocks]
    elif way < 0.5:
        counts = [rng.choice((0, count - 1, count + 1, 1 << 20, (1 << 63) - 1)) for count in counts]
    elif way < 0.65:
        text = mutated(rng, text, [text])
    whole = contained(text, blocks, codec, [max(count, 0) for count in counts])
    return mutated(rng, whole, [whole]) if way >= 0.65 else whole


def read(data):
    """How many rows and bad records a file has.

    Raises:
        UserError: it is none.
        AssertionError: a record is another one alone.
    """
    file, rows, bad = AvroContainer(io.BytesIO(data)), 0, 0
    for block in file.blocks():
        held = file.unpacked(block, MOST)
        found = cut(file.program, held, block.count)
        found.rows.validate(full=True)
        offsets = found.offsets
        assert offsets[0] == 0 and offsets[-1] == len(held) and (np.diff(offsets) >= 0).all()
        buffer = np.frombuffer(held, np.uint8) if held else np.zeros(1, np.uint8)
        alone = walk(file.program, Spans(buffer, offsets[:-1].copy(), offsets[1:].copy()))
        same = alone.rows.equals(found.rows) or str(alone.rows.to_pylist()) == str(found.rows.to_pylist())  # NaN
        assert same, "a record is another one alone"
        assert [one.message for one in alone.bad] == ([len(offsets) - 2] if found.bad else [])
        rows, bad = rows + found.rows.num_rows, bad + len(alone.bad)
    return rows, bad


def run(inputs, seed=0, tell=print):
    """Runs that many inputs; returns how many were read to their end, and how many were no containers.

    Raises:
        AssertionError: one took too long, memory grew, or a promise was broken.
        Exception: what reading raises besides the declared: it should not.
    """
    faulthandler.enable()
    whole = refused = peak = 0
    for at in range(inputs):
        started = time.thread_time()
        try:
            data = made(random.Random(seed + at))
            try:
                read(data)
                whole += 1
            except UserError:
                refused += 1
            assert at < 50 or time.thread_time() - started < SECONDS, "took too long"
        except BaseException:
            tell(f"containers, seed {seed + at}: run again with --seed {seed + at} --inputs 1")
            raise
        if at == min(2000, inputs - 1):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak
    assert grown < GROWTH_BYTES, f"memory has grown by {grown >> 20} MiB"
    tell(f"containers: {inputs} inputs from seed {seed}, {whole} read, {refused} refused, memory +{grown >> 20} MiB")
    return whole, refused


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(given.inputs, given.seed)
