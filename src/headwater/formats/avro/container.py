"""Avro object container files, read block by block ("Object Container Files" of the Avro 1.12 specification).

A reader of our own, because what a file claims is not to be believed: every length and count is held against the bytes
that are there before anything is made of it, so neither time nor memory grow beyond what the caller allows.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa

from headwater.errors import UserError
from headwater.formats.avro import decoder
from headwater.formats.avro.program import Program, compile_schema
from headwater.formats.avro.schema import parse
from headwater.formats.decoder import Bad
from headwater.formats.nodes import Longs
from headwater.formats.spans import Spans

MAGIC: Final = b"Obj\x01"
MOST_HEADER: Final = 2 << 20
"""Bytes of a header: of the schema, before all."""
MOST_ENTRIES: Final = 1000
"""Entries of its metadata."""
MOST_EMPTY: Final = 1000
"""Blocks without a record in a file."""
SYNC: Final = 16
CODECS: Final = ("null", "deflate", "snappy", "zstandard", "bzip2")
_VARINT: Final = 10


class DamagedContainer(UserError):
    """A file is not an Avro container, or damaged, or claims what it must not."""

    code = "HW-AVRO-CONTAINER"


class TooMuch(DamagedContainer):
    """It holds more than is allowed."""

    code = "HW-AVRO-CONTAINER-SIZE"


@dataclass(frozen=True)
class Block:
    """Where a block lies.

    Attributes:
        at: its first byte in the file.
        count: records that it says to hold, one at least.
        start, size: of its bytes, packed.
    """

    at: int
    count: int
    start: int
    size: int


class AvroContainer:
    """An open file.

    Args:
        file: can be sought in.

    Attributes:
        schema: the writer's, as JSON.
        codec: how blocks are packed.

    Raises:
        DamagedContainer: its header cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        head = self._read(0, min(self._size, MOST_HEADER))
        if not head.startswith(MAGIC):
            raise DamagedContainer("it does not begin as an Avro container does")
        found, self._first = _metadata(head)
        self._sync = head[self._first : self._first + SYNC]
        if len(self._sync) < SYNC:
            raise DamagedContainer("it ends in its header")
        self._first += SYNC
        try:
            self.schema = found.get("avro.schema", b"").decode()
            self.codec = found.get("avro.codec", b"null").decode("ascii") or "null"
        except UnicodeDecodeError as error:
            raise DamagedContainer("its header is not text") from error
        if self.codec not in CODECS:
            raise DamagedContainer(f"it is packed as {self.codec[:40]!r}; what can be read is {', '.join(CODECS)}")

    @property
    def program(self) -> Program:
        """How its records are read.

        Raises:
            AvroSchemaError: the schema is none, or cannot become columns.
        """
        return _program(self.schema)

    def blocks(self) -> Iterator[Block]:
        """The blocks in their order; what is in them is not looked at.

        Raises:
            DamagedContainer: the file is damaged there, or ends inside of a block.
        """
        at, empty = self._first, 0
        while at < self._size:
            window = self._read(at, 2 * _VARINT)
            count, after = _long(window, 0)
            size, after = _long(window, after)
            start = at + after
            if size < 0 or count < 0 or size + SYNC > self._size - start:
                raise DamagedContainer(f"byte {at}: a block that goes beyond the end, or is not possible")
            if self._read(start + size, SYNC) != self._sync:
                raise DamagedContainer(f"byte {at}: the block does not end with the file's marker")
            empty += count == 0
            if empty > MOST_EMPTY or (count == 0 and size and self.codec == "null"):
                raise DamagedContainer(f"byte {at}: a block without records")
            if count:
                yield Block(at, count, start, size)
            at = start + size + SYNC

    def unpacked(self, block: Block, most: int) -> bytes:
        """The records of a block, one after the other.

        Args:
            block: which.
            most: bytes; not much more is ever held.

        Raises:
            TooMuch: there are more.
            DamagedContainer: they cannot be unpacked.
        """
        data = self._read(block.start, block.size)
        try:
            made = _UNPACK[self.codec](data, most)
        except (zlib.error, OSError, ValueError, EOFError, pa.ArrowException) as error:
            raise DamagedContainer(f"byte {block.at}: the block is no whole {self.codec}") from error
        if len(made) > most:
            raise TooMuch(f"byte {block.at}: unpacked, there are more than {most:,} bytes")
        return made

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


@dataclass(frozen=True)
class Cut:
    """A block's records.

    Attributes:
        offsets: int64: where each begins, and where the last one ends.
        rows: of those that could be read.
        bad: why the last of them could not be: it is all that is left of the block, for nobody can say where it ends.
    """

    offsets: Longs
    rows: pa.RecordBatch
    bad: Bad | None


def cut(program: Program, data: bytes, count: int) -> Cut:
    """Finds out where records end, which only who reads them can.

    Args:
        program: of the writer's schema.
        data: the records, one after the other.
        count: how many there should be.

    Raises:
        DamagedContainer: so many cannot be in so few bytes.
    """
    if count * program.smallest > len(data) or count * len(program.nodes) > decoder.most_entries(len(data)):
        raise DamagedContainer(f"{count:,} records cannot be in {len(data):,} bytes")
    held = np.frombuffer(data, np.uint8) if data else np.zeros(1, np.uint8)
    spans = Spans(held, np.zeros(count, np.int64), np.full(count, len(data), np.int64))
    walked = decoder.walk(program, spans, chained=True)
    starts = spans.starts[: walked.rows.num_rows + len(walked.bad)]
    end = int(spans.ends[count - 1]) if not walked.bad else len(data)
    if end < len(data):  # bytes after the last record make it one that is bad
        bad = Bad(count - 1, *decoder.AFTER_THE_END)
        return Cut(np.append(starts, len(data)), walked.rows.slice(0, count - 1), bad)
    return Cut(np.append(starts, len(data)), walked.rows, walked.bad[0] if walked.bad else None)


@lru_cache(64)
def _program(schema: str) -> Program:
    return compile_schema(parse(schema))


def _metadata(head: bytes) -> tuple[dict[str, bytes], int]:
    """The header's entries, and where they end."""
    found: dict[str, bytes] = {}
    at, entries = len(MAGIC), 0
    while True:
        count, at = _long(head, at)
        if count == 0:
            return found, at
        if count < 0:
            count = -count
            _, at = _long(head, at)
        entries += count
        if entries > MOST_ENTRIES:
            raise DamagedContainer(f"its header has more than {MOST_ENTRIES} entries")
        for _ in range(count):
            key, at = _bytes(head, at)
            value, at = _bytes(head, at)
            found[key.decode("utf-8", "replace")] = value


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _long(data, at)
    if not 0 <= size <= len(data) - at:
        raise DamagedContainer(f"byte {at}: it ends in its header, or the header has more than {MOST_HEADER:,} bytes")
    return data[at : at + size], at + size


def _long(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number of 7 bits a byte, and the offset after it."""
    value = 0
    for place in range(_VARINT):
        if at + place >= len(data):
            raise DamagedContainer(f"byte {at}: it ends in a number")
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return (value >> 1) ^ -(value & 1), at + place + 1
    raise DamagedContainer(f"byte {at}: a number of more than 64 bits")


def _plain(data: bytes, most: int) -> bytes:
    return data


def _deflate(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj(-15)
    made = stream.decompress(data, most + 1)
    if not stream.eof and len(made) <= most:
        raise EOFError
    return made


def _bzip2(data: bytes, most: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    made = stream.decompress(data, most + 1)
    if not stream.eof and len(made) <= most:
        raise EOFError
    return made


def _snappy(data: bytes, most: int) -> bytes:
    """Snappy's own length comes first, a CRC-32 of what is unpacked last (4 bytes, big endian)."""
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if size > most:
        raise TooMuch(f"unpacked, a block has {size:,} bytes; {most:,} are allowed")
    if len(data) < 5:
        raise EOFError
    made: bytes = pa.decompress(data[:-4], size, codec="snappy", asbytes=True)
    if zlib.crc32(made) != int.from_bytes(data[-4:], "big"):
        raise ValueError
    return made


def _zstandard(data: bytes, most: int) -> bytes:
    parts, size = [], 0
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        while size <= most and (part := stream.read(min(1 << 20, most + 1 - size))):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


_UNPACK: Final = {
    "null": _plain, "deflate": _deflate, "snappy": _snappy, "zstandard": _zstandard, "bzip2": _bzip2,
}  # fmt: skip
