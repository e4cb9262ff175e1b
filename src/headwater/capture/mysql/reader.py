"""One open reading of a MySQL source: the snapshot first if there is one, then the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headwater import failpoint
from headwater.capture.mysql.resume import RUNNING
from headwater.capture.mysql.snapshot import Snapshot
from headwater.capture.mysql.stream import Stream
from headwater.capture.request import Progress, Request
from headwater.change import Group
from headwater.errors import InvariantBroken, UserError
from headwater.position import Boundary, Position


class MysqlReader:
    """See `headwater.capture.source.Reader`.

    Args:
        start: begins to stream; called when the snapshot is through.
        snapshot: what to read first; None if the log has it.
        first: a group to hand over before the stream's.
    """

    def __init__(
        self, start: Callable[[], Stream], snapshot: Snapshot | None = None, first: Group | None = None
    ) -> None:
        self._start = start
        self._snapshot = snapshot
        self._snapshot_groups: Iterator[Group] | None = snapshot.groups() if snapshot else None
        self._first = first
        self._stream = None if snapshot else start()
        self._confirmed = Position(0)

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`. A block of a snapshot takes as long as it takes."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._snapshot_groups is not None:
            group = next(self._snapshot_groups, None)
            if group is not None:
                return group
            self._snapshot_groups = None
        if self._stream is None:
            self._stream = self._start()
        return self._stream.poll(timeout_s)

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`. A server keeps its binary log for a time, not for us: there is nobody to tell."""
        failpoint.reach("capture.confirm.before")
        if boundary.resume.get("snapshot") != RUNNING:
            if boundary.position < self._confirmed:
                raise InvariantBroken("a boundary was confirmed after a later one")
            self._confirmed = boundary.position
        failpoint.reach("capture.confirm.after")

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. None can be carried out yet."""
        raise UserError(f"{request.action} cannot be asked of this source")

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """See `Reader.lag_bytes`. Unknown while the snapshot is read."""
        return self._stream.lag_bytes() if self._stream else None

    def close(self) -> None:
        """See `Reader.close`."""
        self._snapshot_groups = None
        if self._snapshot is not None:
            self._snapshot.close()
        if self._stream is not None:
            self._stream.close()
