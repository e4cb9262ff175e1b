"""What is known of a file: who it is, and how far it has been read. Kept in the log's boundaries.

A file is who it is by device and inode, and by the first bytes of its content: inodes are used again. What was read of
it is known by its length and its last bytes, so that a copy of the file, compressed or not, can be told to be one.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from hashlib import blake2b

from headwater.position import Resume

HEAD = 1024
"""So many bytes of a file's beginning tell it from others."""
TAIL = 256
"""So many before the place where reading stands."""


@dataclass
class Known:
    """One file.

    Attributes:
        stream: that it feeds.
        path: as found, counted from the project's folder.
        device, inode: of the file.
        head: how many bytes of its content `head_print` is of.
        offset: how much of its content has been read, in bytes; of a container, rows.
        tail_print: of the last bytes before `offset`.
        size: of the file when it was last looked at.
        modified_ns: its time of change then.
        whole: of a compressed file or a container, that it was read to its end when it had this size and time.
        whole_only: it is one of these.
        inside: reading stands inside of a record that is too long.
    """

    stream: str
    path: str
    device: int
    inode: int
    head: int = 0
    head_print: str = ""
    offset: int = 0
    tail_print: str = ""
    size: int = 0
    modified_ns: int = 0
    whole: bool = False
    whole_only: bool = False
    inside: bool = False

    @property
    def id(self) -> tuple[str, int, int]:
        """The stream, the device and the inode: two streams may read one file."""
        return self.stream, self.device, self.inode


def fingerprint(content: bytes) -> str:
    """Sixteen hexadecimal digits that stand for some bytes; empty for none."""
    return blake2b(content, digest_size=8).hexdigest() if content else ""


def packed(files: Iterable[Known]) -> str:
    """The files as a text for a boundary: a few dozen bytes for each."""
    entries = json.dumps([astuple(one) for one in files], separators=(",", ":"))
    return base64.b85encode(zlib.compress(entries.encode(), 1)).decode()


def unpacked(resume: Resume | None) -> list[Known]:
    """The files of a boundary."""
    text = (resume or {}).get("files")
    if not text:
        return []
    return [Known(*entry) for entry in json.loads(zlib.decompress(base64.b85decode(str(text))))]
