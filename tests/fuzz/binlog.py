"""Mutated binlogs: whatever the bytes, only declared errors, no hang, bounded memory, and nothing read from outside.

`python -m tests.fuzz.binlog --inputs 100000 --seed 1 --jobs 4`; a failure names its seed and is run alone by
`--seed SEED --inputs 1`. NUMBA_BOUNDSCHECK=1 with a NUMBA_CACHE_DIR of its own checks every index as well.

Events come from a recorded MariaDB (every type) and from the encoder of MySQL's formats. A mutation changes bytes of
one event, or cuts, repeats or mixes them, and mostly mends size and checksum so that it gets through the framing. Each
input is decoded twice, between zeros and between ones: bytes from outside would make a difference.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from headwater.capture.mysql import binlog, events, rows
from headwater.capture.mysql.events import EventType
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.table_map import TableMap, read_table_map
from headwater.capture.mysql.types import Column, describe
from headwater.errors import SourceStopped

CAPTURE = Path(__file__).parents[1] / "capture"
sys.path[:0] = [str(CAPTURE)]

import golden_mysql  # noqa: E402
import mysql_encoder as encoder  # noqa: E402

SLOW, SLOW_S = "took", 2.0
LIMIT = 1 << 22
MEMORY_BYTES = 512 << 20
GUARD = 64
INTERESTING = (0, 1, 2, 3, 4, 15, 127, 128, 250, 251, 252, 253, 254, 255)
UUID = "77d1902c-01da-11f1-9a41-908d6e5f6e8d"
SINGLE: dict[int, Callable[[bytes], object]] = {
    EventType.FORMAT_DESCRIPTION: binlog.read_format,
    EventType.ROTATE: binlog.read_rotate,
    EventType.GTID: binlog.read_gtid,
    EventType.ANONYMOUS_GTID: binlog.read_anonymous_gtid,
    EventType.GTID_TAGGED: binlog.read_tagged_gtid,
    EventType.MARIADB_GTID: lambda body: binlog.read_mariadb_gtid(body, 1),
    EventType.GTID_LIST: binlog.read_gtid_list,
    EventType.QUERY: binlog.read_query,
    EventType.XID: binlog.read_xid,
    EventType.XA_PREPARE: binlog.read_xa_prepare,
}

Pair = tuple[bytes, bytes]
"""A table map and an event of its rows; or nothing and another event."""


@functools.cache
def corpus() -> tuple[list[Pair], dict[bytes, Layout]]:
    """What is mutated, and the layouts of the tables by their table map's body."""
    pairs, layouts = _recorded()
    for pair, layout in _encoded():
        pairs.append(pair)
        if layout is not None:
            layouts[pair[0][19:-4]] = layout
    return pairs, layouts


def _recorded() -> tuple[list[Pair], dict[bytes, Layout]]:
    import json

    described = json.loads(golden_mysql.DECODED.read_text())
    data = golden_mysql.LOG.read_bytes()
    buffer = np.frombuffer(data, np.uint8)
    begins, ends = events.split(buffer, len(events.MAGIC))
    pairs: list[Pair] = []
    layouts, last = {}, b""
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        whole = data[begin:end]
        if whole[4] == EventType.TABLE_MAP:
            last, name = whole, read_table_map(whole[19:-4]).table
            layouts[whole[19:-4]] = golden_mysql.layout_of(name, described[name])
        elif whole[4] in events.ROWS:
            pairs.append((last, whole))
        elif whole[4] != EventType.QUERY or not pairs:
            pairs.append((b"", whole))
    return pairs[:2] + [pair for pair in pairs if pair[0]], layouts


def _encoded() -> Iterator[tuple[Pair, Layout | None]]:
    """MySQL's own formats."""
    number, documents = struct.pack("<I", 7), [{"a": [1, "x", 2.5, None]}, [[], {}], "text", 12345678901]
    columns = (describe("id", "int", None), describe("doc", "json", None), describe("v", "vector(2)", None))
    for key in ((), ("id",)):
        wire = [(3, b""), (245, b"\4"), (242, b"\4")]
        table_map = encoder.event(19, encoder.table_map(9, "d", "keyed" if key else "free", wire))
        layout = Layout(Table("d", "t", columns, key), (0, 1, 2), 3)
        for large in (False, True):
            values = [encoder.blob(encoder.document(value, large=large)) for value in documents]
            images = [encoder.image([number, value, encoder.blob(bytes(8))]) for value in values]
            yield (table_map, encoder.event(30, encoder.rows(30, 9, 3, *images, extra=b"\0\1"))), layout
            yield (table_map, encoder.event(31, encoder.rows(31, 9, 3, *images))), layout
            yield (table_map, encoder.event(32, encoder.rows(32, 9, 3, images[0]))), layout
        diff = encoder.blob(encoder.diff(0, "$.a[1]", encoder.document("y")) + encoder.diff(2, "$.a[0]"))
        after = encoder.partial([number, diff, None], {0}, 1)
        yield (table_map, encoder.event(39, encoder.rows(39, 9, 3, images[0], after))), layout
        if key:
            minimal = encoder.image([number], [1])
            yield (table_map, encoder.event(32, encoder.rows(32, 9, 3, minimal, present=[1, 0, 0]))), layout
    bodies = {
        33: encoder.gtid(UUID, 5, 1_700_000_000_000_000, 1),
        34: encoder.gtid(UUID, 0, 1_700_000_000_000_000),
        42: encoder.tagged_gtid(UUID, "tag", 5, 1_700_000_000_000_000),
        2: encoder.query("d", b"ALTER TABLE t ADD x int"),
        4: struct.pack("<Q", 4) + b"binlog.000002",
        16: struct.pack("<Q", 4),
        38: b"\0" + struct.pack("<III", 1, 2, 1) + b"abc",
        40: encoder.payload(encoder.event(19, table_map[19:-4], checksum=False)),
        162: struct.pack("<QIB", 5, 0, 1) + bytes(6),
        163: struct.pack("<I", 1) + struct.pack("<IIQ", 0, 1, 5),
        165: encoder.query("d", b"\x82\x00\x05" + zlib.compress(b"BEGIN")),
    }
    for kind, body in bodies.items():
        yield (b"", encoder.event(kind, body)), None


def mutated(seed: int) -> tuple[list[bytes], Layout | None]:
    """One input: events, of which one is not as it was, and the layout that its rows had."""
    draw = random.Random(seed)
    pairs, layouts = corpus()
    table_map, event = draw.choice(pairs)
    layout = layouts.get(table_map[19:-4])
    if table_map and draw.random() < 0.2:
        table_map = _mended(_changed(table_map, draw, pairs), draw)
    else:
        event = _mended(_changed(event, draw, pairs), draw)
    return [part for part in (table_map, event) if part], layout


def _changed(event: bytes, draw: random.Random, pairs: list[Pair]) -> bytes:
    data = bytearray(event[:-4])
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(19 if draw.random() < 0.97 else 4, max(20, len(data)))
        way = draw.random()
        if at >= len(data) or way < 0.1:
            data = data[:at]
        elif way < 0.4:
            data[at] ^= 1 << draw.randrange(8)
        elif way < 0.7:
            data[at] = draw.choice(INTERESTING)
        elif way < 0.8:
            del data[at : at + draw.randrange(1, 9)]
        elif way < 0.9:
            data[at:at] = data[at : at + draw.randrange(1, 40)]
        else:
            other = draw.choice(pairs)[1]
            data[at:] = other[draw.randrange(len(other)) : -4]
    return bytes(data).ljust(19, b"\0")


def _mended(data: bytes, draw: random.Random) -> bytes:
    """Size and checksum as they should be, in most cases."""
    if draw.random() < 0.97:
        data = data[:9] + struct.pack("<I", len(data) + 4) + data[13:]
    return data + struct.pack("<I", zlib.crc32(data) if draw.random() < 0.98 else 7)


def layout_like(table_map: TableMap, layout: Layout) -> Layout:
    """The layout, with columns of its own for what the mutated table map has more or fewer of."""
    known = layout.table.columns
    columns = (*known, *(Column(f"more_{i}", "varbinary(9)") for i in range(table_map.width)))[: table_map.width]
    key = tuple(name for name in layout.table.key if name in {column.name for column in columns})
    return Layout(Table("d", "t", columns, key), tuple(range(len(columns))), len(columns))


def decode(parts: list[bytes], layout: Layout | None, guard: int) -> str:
    """What becomes of an input that stands between bytes of `guard`."""
    whole = bytes([guard]) * GUARD + b"".join(parts) + bytes([guard]) * GUARD
    sizes = np.array([len(part) for part in parts], np.int64)
    ends = np.cumsum(sizes) + GUARD
    found = events.scan(np.frombuffer(whole, np.uint8), ends - sizes, ends, checksum=True, limit=LIMIT)
    said, last = [], None
    for at, kind in enumerate(found.types.tolist()):
        if kind == EventType.TABLE_MAP:
            last = read_table_map(found.body(at))
            said.append(repr(last))
        elif kind in events.ROWS and last is not None:
            said.append(_rows(last, found, at, layout))
        elif kind in SINGLE:
            said.append(repr(SINGLE[kind](found.body(at))))
    return "\n".join(said)


def _rows(table_map: TableMap, found: events.Events, at: int, layout: Layout | None) -> str:
    cut = slice(at, at + 1)
    given = rows.Rows(table_map, found.buffer, found.types[cut], found.begins[cut], found.ends[cut])
    counts = rows.count_rows(given)
    if layout is None:
        return str(counts)
    places = rows.Places(np.ones(1, np.uint64), np.zeros(1, np.int64), None)
    decoded = rows.decode_events(layout_like(table_map, layout), given, places)
    if decoded.batch is not None:
        decoded.batch.rows.validate(full=True)
    shown = "" if decoded.batch is None else "\n".join(map(str, decoded.batch.rows.columns))
    return f"{counts} {shown} {decoded.rejects}"


def mistake(seed: int) -> str:
    """What is wrong with how a mutated input is decoded; empty if nothing. One that is slow may have been the first to
    need a kernel, which is compiled once, so it is tried again."""
    found = _mistake(seed)
    return _mistake(seed) if found.startswith(SLOW) else found


def _mistake(seed: int) -> str:
    parts, layout = mutated(seed)
    outcomes = []
    for guard in (0, 255):
        before = time.thread_time()
        try:
            outcomes.append(decode(parts, layout, guard))
        except SourceStopped as error:
            outcomes.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever is not declared is what is looked for
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
            return f"{type(error).__name__}: {error} ({place})"
        if time.thread_time() - before > SLOW_S:
            return f"{SLOW} {time.thread_time() - before:.1f} s"
    return "" if outcomes[0] == outcomes[1] else f"reads outside:\n{outcomes[0]}\n{outcomes[1]}"


def grown_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def check(seeds: range) -> list[str]:
    """What is wrong with any of them, and whether memory stayed bounded."""
    pairs, layouts = corpus()
    for pair in pairs:  # compiles every kernel
        decode([part for part in pair if part], layouts.get(pair[0][19:-4]), 0)
    before = grown_bytes()
    wrong = [f"seed {seed}: {found}" for seed in seeds if (found := mistake(seed))]
    grown = grown_bytes() - before
    return [*wrong, *([f"{seeds}: memory grew by {grown >> 20} MiB"] if grown > MEMORY_BYTES else [])]


def main() -> int:
    """Runs a campaign; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.binlog")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    given = parser.parse_args()
    last = given.seed + given.inputs
    parts = [range(first, min(first + 1000, last)) for first in range(given.seed, last, 1000)]
    wrong: list[str] = []
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for number, found in enumerate(pool.imap_unordered(check, parts), 1):
            wrong += found
            if number % 20 == 0 or number == len(parts):
                sys.stdout.write(f"{number * 1000} mutated binlogs, {len(wrong)} mistakes\n")
    sys.stdout.write("\n".join(text[:500] for text in wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
