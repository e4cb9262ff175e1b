"""One open reading of a MySQL source: the snapshot first if there is one, then the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from headwater import failpoint
from headwater.capture.mysql.chunks import Chunks
from headwater.capture.mysql.resnapshot import Snapshots
from headwater.capture.mysql.resume import RUNNING
from headwater.capture.mysql.snapshot import Snapshot
from headwater.capture.mysql.stream import Stream
from headwater.capture.progress_ledger import Confirmed
from headwater.capture.request import Progress, Request
from headwater.capture.worklist import Worklist
from headwater.change import Group
from headwater.errors import InvariantBroken, SchemaChanged, UserError
from headwater.position import Boundary, Position

BUSY_S = 0.005
"""The stream is waited for no longer than this while tables are read beside it."""


class MysqlReader:
    """See `headwater.capture.source.Reader`.

    Args:
        start: begins to stream; called when the snapshot is through.
        snapshot: what to read first; None if the log has it.
        first: a group to hand over before the stream's.
        worklist: snapshots of single tables that are to be taken meanwhile.
        ordinal: how many rows snapshots have handed over.
        mode: the setting `snapshot`.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Stream, Chunks]],
        snapshot: Snapshot | None = None,
        first: Group | None = None,
        worklist: Worklist | None = None,
        ordinal: int = 0,
        mode: str = "initial",
    ) -> None:
        self._start = start
        self._snapshot = snapshot
        self._snapshot_groups: Iterator[Group] | None = snapshot.groups() if snapshot else None
        self._first = first
        self._worklist = worklist or Worklist()
        self._ordinal = ordinal
        self._mode = mode
        self._waiting: list[Request] = []
        self._text = self._worklist.text()
        self._stream: Stream | None = None
        self._snapshots: Snapshots | None = None
        self._confirmed = Confirmed(Position(0))
        if snapshot is None:
            self._begin()

    def _begin(self) -> Stream:
        stream, chunks = self._start()
        ordinal = self._snapshot.ordinal if self._snapshot is not None else self._ordinal
        self._stream, self._snapshots = stream, Snapshots(stream, chunks, self._worklist, ordinal)
        for request in self._waiting:
            try:
                self._snapshots.ask(request)
            except UserError as error:
                self._worklist.refuse(request, str(error))
        self._waiting = []
        return stream

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`. A block of a snapshot takes as long as it takes."""
        if self._first is not None:
            first, self._first = self._first, None
            return self._noted(first)
        if self._snapshot_groups is not None:
            group = next(self._snapshot_groups)
            if not group.boundary.snapshot:
                self._snapshot_groups = None
            return group
        stream = self._stream or self._begin()
        return self._follow(stream, timeout_s)

    def _follow(self, stream: Stream, timeout_s: float) -> Group | None:
        snapshots = self._snapshots
        if snapshots is None:
            raise InvariantBroken("a stream was begun without what reads its tables")
        group = snapshots.part()
        if group is None:
            wait_s = timeout_s if snapshots.idle else min(timeout_s, BUSY_S)
            group = None if snapshots.waits else stream.poll(wait_s)
            if group is not None and not group.more:
                self._require(snapshots, stream.take_unread())
            if not snapshots.idle:
                group = snapshots.follow(group)
        if group is None and snapshots.text != self._text and not stream.parted:
            group = Group(snapshots.boundary())
        return self._noted(group) if group is not None else None

    def _noted(self, group: Group) -> Group:
        """The group with what its resume point must keep of snapshots."""
        boundary = group.boundary
        if group.more or self._snapshots is None:
            return group
        self._text = self._snapshots.text
        resume = {**boundary.resume, **self._snapshots.kept}
        return replace(group, boundary=replace(boundary, resume=resume, snapshot=self._snapshots.filling))

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`. A server keeps its binary log for a time, not for us: there is nobody to tell."""
        failpoint.reach("capture.confirm.before")
        if boundary.resume.get("snapshot") != RUNNING:
            self._confirmed.move(boundary.position)
        failpoint.reach("capture.confirm.after")

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. During the initial snapshot it is kept for after that."""
        if request.action == "snapshot" and self._mode == "never":
            raise UserError("the source's setting `snapshot: never` forbids to read rows", hint="snapshot: schema_only")
        if self._snapshots is not None:
            self._snapshots.ask(request)
        elif request not in self._waiting:
            self._waiting.append(request)

    def _require(self, snapshots: Snapshots, tables: Sequence[tuple[str, int, int]]) -> None:
        """Has tables read that must be.

        Raises:
            SchemaChanged: no row may be read.
        """
        if tables and self._mode == "never":
            raise SchemaChanged(
                f"the rows of table {tables[0][0]} are not known any more since its definition has changed, and "
                "snapshot: never forbids to read them",
                hint="set snapshot: schema_only, then all goes on by itself",
            )
        snapshots.require(tables)

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return self._worklist.progress()

    def lag_bytes(self) -> int | None:
        """See `Reader.lag_bytes`. Unknown while the snapshot is read."""
        return self._stream.lag_bytes() if self._stream else None

    def close(self) -> None:
        """See `Reader.close`."""
        self._snapshot_groups = None
        if self._snapshot is not None:
            self._snapshot.close()
        if self._snapshots is not None:
            self._snapshots.close()
        if self._stream is not None:
            self._stream.close()
