"""Reading a partition from another process: no lock, nothing is cut, and only what is durable is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headwater.errors import CorruptLog, HeadwaterError, UserError
from headwater.log.cursor import LogRecord, SegmentChain
from headwater.log.mark import read_mark
from headwater.log.payload import Counts
from headwater.log.recovery import read_headers
from headwater.log.scan import scan
from headwater.log.segment import Segment, SegmentHeader, SegmentInfo, map_file, sealed, segment_paths
from headwater.position import Boundary

_ATTEMPTS = 5


class PartitionView:
    """A partition as it stood when the view was opened; segments that retention removes since cannot be read.

    Its end is the durable mark, so it never shows a group that was not acknowledged.
    """

    def __init__(self, chain: SegmentChain) -> None:
        self._chain = chain

    @property
    def base(self) -> int:
        """The first offset that is still kept."""
        return self._chain.base

    @property
    def head(self) -> int:
        """The offset after the last durable record."""
        return self._chain.head

    @property
    def counts(self) -> Counts:
        """Cumulative counts by stream at `head`."""
        return self._chain.counts_at(self.head)

    def read(self, start: int, end: int) -> Iterator[LogRecord]:
        """The records of offsets [start, end) in order; see `Partition.read`."""
        return self._chain.read(start, end)

    def boundary_at(self, offset: int) -> Boundary:
        """Boundary of the last group that ends at `offset`; see `Partition.boundary_at`."""
        return self._chain.boundary_at(offset)

    def counts_at(self, offset: int) -> Counts:
        """Cumulative counts at the end of a group; see `Partition.counts_at`."""
        return self._chain.counts_at(offset)

    def segments(self) -> list[SegmentInfo]:
        """The segments, oldest first."""
        return self._chain.infos()


def open_for_reading(folder: Path) -> PartitionView:
    """Opens the partition in `folder` without disturbing its writer, if there is one.

    Raises:
        UserError: there is no log.
        CorruptLog: a segment's header is damaged, or a segment is missing.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return PartitionView(_look(folder))
        except (CorruptLog, FileNotFoundError, UserError) as error:
            # The writer may have rolled or retired a segment between two looks; damage is still there at the last.
            if attempt == _ATTEMPTS - 1:
                raise _unreadable(folder, error) from error
    raise AssertionError("unreachable")


def _unreadable(folder: Path, error: Exception) -> HeadwaterError:
    if isinstance(error, HeadwaterError):
        return error
    return UserError(f"the segments in {folder} go away while they are read", hint="try again: headwater log ls")


def _look(folder: Path) -> SegmentChain:
    mark, _ = read_mark(folder)
    paths = [path for path in segment_paths(folder) if mark is None or int(path.stem) <= mark.base]
    if not paths and (mark is None or not mark.length):
        raise UserError(f"there is no log in {folder}", hint="headwater run makes it; or give another --state folder")
    headers = read_headers(folder, paths, mark)
    path, header = headers[-1]
    length, head = (mark.length, mark.head) if mark is not None and mark.length else _whole(path, header)
    return SegmentChain(folder, (*sealed(headers), Segment(path, header, length)), head)


def _whole(path: Path, header: SegmentHeader) -> tuple[int, int]:
    """Length and head up to the last whole group, where no mark says."""
    found = scan(map_file(path), header)
    return found.keep, found.head
