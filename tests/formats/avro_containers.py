"""Writes Avro container files: right ones, and such as no library would write."""

from __future__ import annotations

import bz2
import json
import zlib

import pyarrow as pa

SYNC = bytes(range(16))


def long(value: int) -> bytes:
    """A zigzag number."""
    value = (value << 1) ^ (value >> 63)
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def packed(codec: str, data: bytes) -> bytes:
    """A block's bytes."""
    if codec == "deflate":
        stream = zlib.compressobj(wbits=-15)
        return stream.compress(data) + stream.flush()
    if codec == "bzip2":
        return bz2.compress(data)
    if codec == "snappy":
        return bytes(pa.compress(data, "snappy", asbytes=True)) + zlib.crc32(data).to_bytes(4, "big")
    return bytes(pa.compress(data, "zstd", asbytes=True)) if codec == "zstandard" else data


def contained(schema: object, blocks: list[bytes], codec: str = "null", counts: list[int] | None = None) -> bytes:
    """A file of these blocks, each the bytes of its records.

    Args:
        schema: of the records.
        blocks: not packed.
        codec: how they are to be packed.
        counts: how many records each says to hold; 1 if not given.
    """
    text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    entries = [(b"avro.schema", text), (b"avro.codec", codec.encode())]
    parts = [b"Obj\x01", long(len(entries))]
    for entry in entries:
        parts += [long(len(part)) + part for part in entry]
    parts += [b"\0", SYNC]
    for count, block in zip(counts or [1] * len(blocks), blocks, strict=True):
        data = packed(codec, block)
        parts += [long(count), long(len(data)), data, SYNC]
    return b"".join(parts)
