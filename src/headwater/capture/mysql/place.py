"""Where in a server's binary log something stands, and the number by which such places are ordered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headwater.errors import SourceStopped

POSITION_BITS, FILE_BITS = 36, 20
"""Of a commit number: 8 bits for the era, 20 for the file's number, 36 for the offset in it (64 GiB)."""

FIRST_POSITION = 4
"""Where the first event of a file begins, after four bytes by which it is known."""


@dataclass(frozen=True)
class Place:
    """Between two events of a binary log.

    Attributes:
        file: the file's name, "binlog.000003".
        position: the next event's offset in it.
        gtid: all transactions before it: "0-1-100,1-2-7" of MariaDB, "uuid:1-77" of MySQL; empty if not known.
        era: how often the log that we follow was another one (after a failover), so that numbers keep rising.
    """

    file: str
    position: int
    gtid: str = ""
    era: int = 0

    @property
    def number(self) -> int:
        """The commit number of a transaction that begins here; rises along the log."""
        return file_part(self.file, self.era) | self.position

    def at(self, file: str, position: int) -> Place:
        """Another place of the same log, whose GTIDs are not known."""
        return replace(self, file=file, position=position, gtid="")

    def __str__(self) -> str:
        return f"{self.file}:{self.position}"


def file_part(file: str, era: int) -> int:
    """The part of commit numbers that all places of a file share.

    Raises:
        SourceStopped: the file has no number, or one that no server reaches.
    """
    digits = file.rpartition(".")[2]
    if not digits.isdigit() or int(digits) >= 1 << FILE_BITS:
        raise SourceStopped(
            f"the binary log file {file!r} has no number that can be followed",
            hint="give the server a log_bin base name; its files then end in .000001 and so on",
        )
    return era << (FILE_BITS + POSITION_BITS) | int(digits) << POSITION_BITS
