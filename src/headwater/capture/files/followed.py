"""A file that is followed, and what was in one that is gone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from headwater.capture.files.content import Content
from headwater.capture.files.known import Known
from headwater.capture.files.rotation import stem


@dataclass(frozen=True)
class Loss:
    """Content that is gone before it was read.

    Attributes:
        cause: a code.
        message: what happened.
        file: where reading stood.
        bytes: how much is known to be missing.
    """

    cause: str
    message: str
    file: Known
    bytes: int


@dataclass
class File:
    """A file that is followed.

    Attributes:
        known: who it is, and how far it has been read.
        content: if it is open.
        changed_s: when it was last seen to change, monotonic seconds.
        held_by: the file that it is a copy of, as long as that is there.
        stuck: there was no complete record in what is left, when the file had this size.
        container: it is read as a whole, by rows.
        missing: it is not among the files that the patterns find.
        encoding: of its text; None until it has been looked at.
        skipped: so many bytes at its beginning are no records: a byte order mark, a header.
        header: that line of a CSV file.
        last: the last bytes of content before where reading stands.
    """

    known: Known
    content: Content | None = None
    changed_s: float = 0.0
    held_by: File | None = None
    stuck: int | None = None
    container: bool = False
    missing: bool = False
    encoding: str | None = None
    skipped: int = 0
    header: bytes | None = None
    last: bytes = b""

    @property
    def unread(self) -> bool:
        """Whether there is content that has not been taken, as far as the file's size says."""
        if self.held_by is not None or self.stuck == self.known.size:
            return False
        return not self.known.whole if self.known.whole_only else self.known.size > self.known.offset

    def forget(self) -> None:
        """Looks at its content anew."""
        self.encoding, self.header, self.skipped, self.last, self.stuck = None, None, 0, b"", None

    @property
    def family(self) -> tuple[str, str]:
        """The series that it is of."""
        folder, name = os.path.split(self.known.path)
        return self.known.stream, f"{folder}/{stem(name)}"


@dataclass
class Orphan:
    """What was in a file that is not there any more. `since_s`: monotonic seconds."""

    known: Known
    why: str
    since_s: float
