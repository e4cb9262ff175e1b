"""Deletion vectors: which rows of a file are deleted, as roaring bitmaps in files of their own or in the log.

Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Deletion Vector Format". A bitmap is the 32-bit
magic number 1681511377 (little endian) and the portable serialisation of a 64-bit roaring bitmap. In a file it stands
after its length (32 bits, big endian) and before its CRC-32 (big endian); the file begins with one byte, its version 1.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from uuid import UUID

import numpy as np
from pyroaring import BitMap64

from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs

_MAGIC = struct.pack("<i", 1681511377)
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {character: value for value, character in enumerate(_Z85)}


def to_bitmap(positions: Longs) -> bytes:
    """A bitmap of ascending positions."""
    return _MAGIC + bytes(BitMap64(array("Q", positions.astype(np.uint64).tobytes())).serialize())


def from_bitmap(data: bytes) -> Longs:
    """The positions in a bitmap, ascending.

    Raises:
        InvariantBroken: these are other bytes.
    """
    if data[:4] != _MAGIC:
        raise InvariantBroken("a deletion vector is damaged: it does not begin as one", hint="headwater verify")
    return np.array(BitMap64.deserialize(data[4:]).to_array(), np.int64)


def to_z85(data: bytes) -> str:
    """Bytes, a multiple of four, as text (ZeroMQ's Z85, https://rfc.zeromq.org/spec/32/)."""
    text = []
    for start in range(0, len(data), 4):
        number = int.from_bytes(data[start : start + 4], "big")
        text.append("".join(_Z85[number // 85**power % 85] for power in (4, 3, 2, 1, 0)))
    return "".join(text)


def from_z85(text: str) -> bytes:
    """The bytes that a text stands for."""
    out = bytearray()
    for start in range(0, len(text), 5):
        number = 0
        for character in text[start : start + 5]:
            number = number * 85 + _VALUES[character]
        out += number.to_bytes(4, "big")
    return bytes(out)


def file_name(identity: UUID) -> str:
    """The name of a file of deletion vectors in the table's folder."""
    return f"deletion_vector_{identity}.bin"


def pack(vectors: Mapping[str, Longs], identity: UUID) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """A file of deletion vectors, and their descriptors for the log.

    Args:
        vectors: ascending positions by data file.
        identity: what the file is named after.
    """
    content, descriptors = bytearray(b"\x01"), {}
    for name, positions in vectors.items():
        data = to_bitmap(positions)
        descriptors[name] = {
            "storageType": "u",
            "pathOrInlineDv": to_z85(identity.bytes),
            "offset": len(content),
            "sizeInBytes": len(data),
            "cardinality": len(positions),
        }
        content += struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    return bytes(content), descriptors


def location(folder: Path, descriptor: Mapping[str, Any]) -> Path | None:
    """The file that a descriptor points to; None if the vector stands in the log itself."""
    given = str(descriptor["pathOrInlineDv"])
    if descriptor["storageType"] == "i":
        return None
    if descriptor["storageType"] == "p":
        return Path(unquote(urlparse(given).path))
    return folder / given[:-20] / file_name(UUID(bytes=from_z85(given[-20:])))


def read(folder: Path, descriptor: Mapping[str, Any]) -> Longs:
    """The positions that a descriptor stands for.

    Raises:
        OSError: its file cannot be read.
        InvariantBroken: it is damaged.
    """
    path, size = location(folder, descriptor), int(descriptor["sizeInBytes"])
    if path is None:
        return from_bitmap(from_z85(str(descriptor["pathOrInlineDv"]))[:size])
    with open(path, "rb") as file:
        file.seek(int(descriptor.get("offset") or 0) + 4)
        data, check = file.read(size), file.read(4)
    if struct.pack(">I", zlib.crc32(data)) != check:
        raise InvariantBroken(f"{path} is damaged: a deletion vector's checksum is wrong", hint="headwater verify")
    return from_bitmap(data)
