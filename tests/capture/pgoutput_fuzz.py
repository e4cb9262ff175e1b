"""Mutated input for all that reads what PostgreSQL sends: `python -m tests.capture.pgoutput_fuzz --inputs 1000000`.

Whatever comes, only declared errors may be raised, in bounded time and memory. Every input ends where a page ends
behind which nothing may be read, so that a read beyond it kills the process; with NUMBA_BOUNDSCHECK=1 (and a cache
folder of its own, see the Makefile) every access of a compiled loop is checked. An input is one mutated message among
good ones, or a row of COPY. A failure prints the seed of its round, which brings it back: --seed N --inputs 1.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import wire_messages as wm

from headwater.capture.postgres import record
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing
from headwater.capture.postgres.rows import Places, _copy_fields, _stream_fields, decode_copy, decode_stream
from headwater.capture.postgres.table import Table, as_read
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.types import Column
from headwater.capture.postgres.wire import Frames
from headwater.errors import HeadwaterError

TYPES = [
    ("id", 20, "bigint"), ("n", 23, "integer"), ("b", 16, "boolean"), ("d", 1082, "date"), ("at", 1184, "timestamptz"),
    ("price", 1700, "numeric(12,2)"), ("x", 701, "double precision"), ("raw", 17, "bytea"), ("tags", 1009, "text[]"),
    ("name", 25, "text"),
]  # fmt: skip
VALUES = (
    b"17", b"-4", b"t", b"2024-02-29", b"2024-02-29 23:59:59.999999+00", b"-12.50", b"1e300", b"\\x00ff",
    b'{a,NULL,"b\\""}', b"caf\xc3\xa9",
)  # fmt: skip
NUMERIC = (12 << 16 | 2) + 4
COLUMNS = tuple(
    Column(n, oid, NUMERIC if oid == 1700 else -1, oid, NUMERIC if oid == 1700 else -1, s) for n, oid, s in TYPES
)
TABLE = Table(7, "public", "t", COLUMNS, ("id",))
LAYOUT = as_read(TABLE)
STANDING = Standing("1", 1, "shop", "slot", {"public.t": 7})
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
SECONDS_PER_ROUND = 2.0
GROWTH_BYTES = 400 << 20
ROUND = 100
"""Inputs of one round, which is one seed."""


class Guarded:
    """A buffer of which the last byte lies before a page that must not be touched."""

    def __init__(self, pages=64):
        page = mmap.PAGESIZE
        self._memory = mmap.mmap(-1, (pages + 1) * page)
        whole = np.frombuffer(self._memory, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + pages * page), page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self._room = whole[: pages * page]

    def frames(self, messages):
        """The messages, the last of which ends with the buffer."""
        joined = b"".join(messages)
        if len(joined) > self._room.size:
            return Frames.of(messages)
        buffer = self._room[self._room.size - len(joined) :]
        buffer[:] = np.frombuffer(joined, np.uint8)
        ends = np.cumsum([len(each) for each in messages], dtype=np.int64)
        return Frames(buffer, ends - np.array([len(each) for each in messages], np.int64), ends)


def mutated(rng, message):
    """A message with a few bytes changed, cut off, repeated or put in."""
    data = bytearray(message)
    for _ in range(rng.choice((1, 1, 2, 4))):
        what = rng.random()
        at = rng.randrange(len(data) + 1)
        if what < 0.35 and data:
            data[at % len(data)] = rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randrange(256)
        elif what < 0.5 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif what < 0.65:
            del data[at:]
        elif what < 0.75:
            del data[at : at + rng.randrange(1, 9)]
        elif what < 0.85:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif what < 0.95 and len(data) >= 4:
            start = rng.randrange(len(data) - 3)
            data[start : start + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0"))
        else:
            data += data[at:]
    return bytes(data[: 1 << 16])


def values(rng, *, key=False):
    """Ten fields as they may come."""
    found = [rng.choice((each, each, each, None, ... if not key else each)) for each in VALUES]
    return [VALUES[0], *found[1:]]


def rows(rng):
    """A row message of table 7."""
    what = rng.randrange(5)
    if what == 0:
        return wm.update(7, *values(rng), old=values(rng, key=True))
    if what == 1:
        return wm.update(7, *values(rng), key=values(rng, key=True))
    if what == 2:
        return wm.delete(7, *values(rng, key=True))
    return wm.insert(7, *values(rng))


GOOD = [rows(random.Random(seed)) for seed in range(50)]


def relation(xid=None):
    return wm.relation(7, "t", [(name, oid, name == "id") for name, oid, _ in TYPES], xid=xid)


def stream_of(rng):
    """Messages of all kinds that are right together, in envelopes where they have one."""
    note = wm.message(300, b"p", b"content")
    parts = [
        [wm.begin(300), relation(), rows(rng), rows(rng), wm.truncate(7), note, wm.commit(300, 360)],
        [wm.stream_start(9, True), relation(9), wm.insert(7, *values(rng), xid=9), wm.insert(7, *values(rng), xid=10)],
        [wm.truncate(7, xid=9), wm.message(1, b"p", b"c", xid=9), wm.stream_stop(), wm.stream_abort(9, 10, 5)],
        [wm.stream_commit(9, 400, 460), wm.begin_prepare(500, 540, 11), rows(rng), wm.prepared(b"P", 500, 540, 11)],
        [wm.prepared(b"K", 600, 660, 11), wm.stream_start(12, True), wm.stream_stop(), wm.prepared(b"p", 700, 710, 12)],
        [wm.rollback_prepared(710, 720, 12), b"Y" + bytes(12), b"O" + bytes(10)],
    ]
    messages = [wm.enveloped(message) for part in parts for message in part]
    return [*messages, wm.keepalive(800), wm.enveloped(wm.begin(900)), wm.enveloped(wm.commit(900, 960))]


def assembled(rng, guarded):
    """The whole way of a stream with one to three bad messages."""
    messages = stream_of(rng)
    count = rng.choice((1, 1, 3))
    for _ in range(count):
        at = rng.randrange(len(messages))
        envelope = 25 if messages[at][:1] == b"w" and rng.random() < 0.95 else 0
        messages[at] = messages[at][:envelope] + mutated(rng, messages[at][envelope:])
    relations = Relations([TABLE], (), lambda name, oid, typmod: Column(name, oid, typmod, oid, typmod, "any", True))
    assembler = Assembler(relations, STANDING, 0, observer=lambda transactions, notes: ())
    cut = rng.randrange(len(messages) + 1)
    for part in (messages[:cut], messages[cut:]):
        if part and assembler.hungry and not assembler.full:
            assembler.feed(guarded.frames(part))
    try:
        while assembler.complete or assembler.full:
            assembler.take()
    finally:
        assembler.close()
    return count


def fields(rng, guarded):
    """A run of row messages of which one is bad, up to where their fields are; or rows of COPY."""
    if rng.random() < 0.2:
        line = b"\t".join(rng.choice((value, b"\\N", b"\\\\x\\t")) for value in VALUES) + b"\n"
        _copy_fields(len(COLUMNS), guarded.frames([line, mutated(rng, line)]))
    else:
        _stream_fields(len(COLUMNS), guarded.frames([GOOD[rng.randrange(len(GOOD))], mutated(rng, rows(rng))]), 0)
    return 1


def row_message(rng, guarded):
    """One row message, decoded by itself."""
    places = Places(np.array([1], np.uint64), np.array([0]), None)
    decode_stream(LAYOUT, guarded.frames([mutated(rng, rows(rng))]), places, 0)
    return 1


def row_messages(rng, guarded):
    """A run of row messages of which one is bad."""
    messages = [rows(rng) for _ in range(rng.randrange(6))] + [mutated(rng, rows(rng))]
    places = Places(np.ones(len(messages), np.uint64), np.arange(len(messages)), None)
    decode_stream(LAYOUT, guarded.frames(messages), places, 0)
    return 1


def copy_row(rng, guarded):
    """One row of COPY."""
    row = b"\t".join(rng.choice((value, b"\\N", b"\\\\x\\t")) for value in VALUES) + b"\n"
    places = Places(np.array([1], np.uint64), np.array([0]), None)
    decode_copy(LAYOUT, guarded.frames([mutated(rng, row)]), places)
    return 1


def rejected(rng, guarded):
    """The bytes of a reject, as somebody may have changed them in the ledger."""
    framed = record.frame(record.Record(LAYOUT, record.STREAM, rows(rng), 1, 0, None))
    found = record.unframe(mutated(rng, framed))
    places = Places(np.array([1], np.uint64), np.array([0]), None)
    decode_stream(found.layout, guarded.frames([found.data]), places, 0)
    return 1


KINDS = (
    (fields, 0.8),
    (assembled, 0.08),
    (row_message, 0.04),
    (row_messages, 0.04),
    (copy_row, 0.03),
    (rejected, 0.01),
)


def run_round(seed, guarded):
    """`ROUND` inputs of one seed; how many were refused."""
    rng, done, refused = random.Random(seed), 0, 0
    kinds, weights = zip(*KINDS, strict=True)
    while done < ROUND:
        try:
            done += rng.choices(kinds, weights)[0](rng, guarded)
        except HeadwaterError:
            done += 1
            refused += 1
    return refused


def run(inputs, seed=0, tell=print):
    """Runs that many inputs.

    Raises:
        AssertionError: one took too long, or memory grew.
        Exception: whatever is not declared.
    """
    faulthandler.enable()
    guarded, refused = Guarded(), 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rounds = max(1, inputs // ROUND)
    for at in range(rounds):
        started = time.thread_time()
        try:
            refused += run_round(seed + at, guarded)
        except BaseException:
            tell(f"seed {seed + at}: run again with --seed {seed + at} --inputs 1")
            raise
        if at == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if at % 1000 == 999:
            tell(f"{(at + 1) * ROUND} inputs, seeds up to {seed + at}", flush=True)
        assert at == 0 or time.thread_time() - started < SECONDS_PER_ROUND, f"seed {seed + at} takes too long"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - peak
    assert grown < GROWTH_BYTES, f"memory has grown by {grown} bytes"
    tell(f"{rounds * ROUND} inputs from seed {seed}: {refused} refused by declared errors, memory +{grown >> 20} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
