"""Key indexes in files: a restart opens an index in the time that its bytes take to be read.

A file is a cache and never an authority. It says which table it is of (its UUID), which key, and which table snapshot
it stood at. One that stands at another snapshot than the table is brought up to it
(`headwater.lake.iceberg.places.TableIndex.follow`), one that is damaged is not used, and then the index is built from
the table again.

    "HWINDEX1"  length of the head, uint32  CRC-32 of the head, uint32      little-endian, as all that follows
    head: JSON {"table", "snapshot", "key", "unique", "numbers", "homes", "arrays": [{name, dtype, length, crc}]}
    the arrays in that order, each begun at a multiple of 64
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pyiceberg.table.metadata import TableMetadata

from headwater import failpoint
from headwater.durable import fsync_path, make_folder
from headwater.errors import InvariantBroken
from headwater.index.key_index import Anything, IndexParts
from headwater.index.memory import Arrays

MAGIC = b"HWINDEX1"
_ALIGNED = 64
_PIECE_BYTES = 1 << 26


class IndexUnusable(Exception):
    """An index file cannot be used; the message says why."""


@dataclass(frozen=True)
class StoredIndex:
    """An index as a file holds it.

    Attributes:
        snapshot: the table snapshot it stood at.
        paths: data files by number.
        parts: the rest.
    """

    snapshot: int | None
    paths: tuple[str, ...]
    parts: IndexParts


@dataclass(frozen=True)
class IndexStore:
    """The index files of one lake's tables.

    Attributes:
        folder: where they are, made when it is first needed.
    """

    folder: Path

    def path(self, metadata: TableMetadata) -> Path:
        """The file of a table's index."""
        return self.folder / f"{metadata.table_uuid}.index"

    def forget(self, metadata: TableMetadata) -> None:
        """Removes a table's index file."""
        self.path(metadata).unlink(missing_ok=True)

    def save(self, metadata: TableMetadata, key: list[str], index: StoredIndex) -> None:
        """Writes a table's index, durable and whole when this returns.

        Raises:
            OSError: it was not replaced.
        """
        make_folder(self.folder)
        path = self.path(metadata)
        temporary = path.with_suffix(".tmp")
        failpoint.reach("lake.index.before_save")
        try:
            with open(temporary, "wb") as file:
                _write(file, {"table": str(metadata.table_uuid), "key": key}, index)
                file.flush()
                os.fsync(file.fileno())
            failpoint.reach("lake.index.before_rename")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        fsync_path(self.folder)
        failpoint.reach("lake.index.after_save")

    def load(self, metadata: TableMetadata, key: list[str], memory: Arrays) -> StoredIndex | None:
        """Reads a table's index; None if none is kept.

        Args:
            metadata: the table's.
            key: what tells its rows apart.
            memory: where its arrays go.

        Raises:
            IndexUnusable: the file is damaged, cannot be read, or is of another key.
        """
        try:
            with open(self.path(metadata), "rb") as file:
                return _read(file, {"table": str(metadata.table_uuid), "key": key}, memory)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, InvariantBroken) as error:
            raise IndexUnusable(f"{type(error).__name__}: {error}") from error


def _write(file: BinaryIO, identity: dict[str, Any], index: StoredIndex) -> None:
    arrays = [
        {"name": name, "dtype": array.dtype.str, "length": len(array), "crc": zlib.crc32(_bytes_of(array))}
        for name, array in index.parts.arrays.items()
    ]
    body = {"snapshot": index.snapshot, "numbers": dict(index.parts.numbers), "paths": index.paths, "arrays": arrays}
    head = json.dumps({**identity, **body}).encode()
    file.write(MAGIC + len(head).to_bytes(4, "little") + zlib.crc32(head).to_bytes(4, "little") + head)
    for array in index.parts.arrays.values():
        file.write(bytes(-file.tell() % _ALIGNED))
        for piece in _pieces(array):
            file.write(piece)


def _read(file: BinaryIO, identity: dict[str, Any], memory: Arrays) -> StoredIndex:
    lead = file.read(16)
    head = file.read(int.from_bytes(lead[8:12], "little"))
    if lead[:8] != MAGIC or zlib.crc32(head) != int.from_bytes(lead[12:], "little"):
        raise IndexUnusable("its head is damaged")
    found = json.loads(head)
    for name, value in identity.items():
        if found[name] != value:
            raise IndexUnusable(f"it is of another {name}")
    arrays: dict[str, Anything] = {}
    for one in found["arrays"]:
        file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
        arrays[one["name"]] = _read_array(file, memory.zeros(one["length"], one["dtype"]), one)
    return StoredIndex(found["snapshot"], tuple(found["paths"]), IndexParts(found["numbers"], arrays))


def _read_array(file: BinaryIO, array: Anything, described: dict[str, Any]) -> Anything:
    crc = 0
    for piece in _pieces(array):
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
            raise IndexUnusable(f"it ends within {described['name']}")
        crc = zlib.crc32(piece, crc)
    if crc != described["crc"]:
        raise IndexUnusable(f"{described['name']} is damaged")
    return array


def _pieces(array: Anything) -> Iterator[memoryview]:
    """An array's bytes, some at a time."""
    view = _bytes_of(array)
    for start in range(0, len(view), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


def _bytes_of(array: Anything) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data
