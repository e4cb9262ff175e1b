"""Reads what is new in the files of a source, a group at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from headwater.capture.files.containers import read_rows
from headwater.capture.files.content import Content
from headwater.capture.files.cut import Cutting, Records, cut, encoding_of
from headwater.capture.files.followed import File, Loss
from headwater.capture.files.known import TAIL, fingerprint, packed
from headwater.capture.files.settings import FileStreamSettings
from headwater.capture.files.shaping import FileShaper, Piece, joined, too_long_ones
from headwater.capture.files.tail import Tail
from headwater.capture.gap import Gap, gap_reject
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.clock import Clock
from headwater.errors import PositionLost, UserError
from headwater.failpoint import reach
from headwater.position import Boundary, JsonScalar, Position, Resume
from headwater.schema import StreamSchema

GROUP_BYTES = 4 << 20
"""About so much content goes into one group."""

_HEADER = 1 << 16


@dataclass
class Plan:
    """How one reading goes on.

    Attributes:
        source: name of the source.
        resume: where the log ends; None at the first run.
        decision: what the user decided.
        records_losses: losses are entered into the ledger without being asked for.
        look_s, find_s: seconds between two looks at open files, and for new ones.
    """

    source: str
    resume: Resume | None
    decision: Request | None
    records_losses: bool
    look_s: float
    find_s: float


class FilesReader:
    """See `headwater.capture.source.Reader`."""

    def __init__(
        self,
        plan: Plan,
        tail: Tail,
        settings: Mapping[str, FileStreamSettings],
        shapers: Mapping[str, FileShaper],
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._tail = tail
        self._settings = settings
        self._shapers = shapers
        self._clock = clock
        self._commit = int((plan.resume or {}).get("commit") or 0)
        self._decided: JsonScalar = (plan.resume or {}).get("decided")
        self._found_s = self._looked_s = -1e9
        self._gaps: list[pa.RecordBatch] = []
        self._emptied: list[StreamSchema] = []
        self._begun = plan.resume is not None and plan.decision is None
        if plan.decision is not None:
            self._decided = plan.decision.id

    def empty(self, streams: Sequence[StreamSchema]) -> None:
        """Has the first group take all rows of these streams back: the files are read again from their beginning."""
        self._emptied = list(streams)

    def find(self) -> None:
        """Looks for files.

        Raises:
            PositionLost: content is gone that was not read, and nobody accepted that.
            SourceStopped: a file may not be read.
        """
        self._found_s = self._looked_s = self._clock.monotonic_s()
        self._tail.find()
        losses, self._tail.losses = self._tail.losses, []
        for loss in losses:
            self._lost(loss)

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`."""
        group = self._next()
        if group is None and timeout_s > 0:
            self._clock.wait(threading.Event(), timeout_s)
            group = self._next()
        return group

    def confirm(self, boundary: Boundary) -> None:
        """Nothing is told to files."""

    def ask(self, request: Request) -> None:
        """See `Reader.ask`: a file is never read beside itself."""
        hint = f"headwater source resnapshot {self._plan.source} reads all files again"
        raise UserError(f"{request.action} cannot be asked of files", hint=hint)

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """What is unread, as far as the sizes of files say; of a compressed file all of it until it is read whole."""
        lag = 0
        for file in self._tail.files.values():
            if file.held_by is None and (file.unread or self._waits(file)):
                lag += max(1, file.known.size - (0 if file.known.whole_only else file.known.offset))
        return lag + sum(1 for orphan in self._tail.orphans if orphan.known.size > orphan.known.offset)

    def close(self) -> None:
        """See `Reader.close`."""
        self._tail.close()

    def _next(self) -> Group | None:
        now = self._clock.monotonic_s()
        if now - self._found_s >= self._plan.find_s:
            self.find()
        elif now - self._looked_s >= self._plan.look_s:
            self._looked_s = now
            if self._tail.look():
                self.find()
        pieces = self._pieces()
        if not pieces and self._begun and not self._gaps:
            return None
        return self._group(pieces)

    def _group(self, pieces: Sequence[Piece]) -> Group:
        """Shapes what was read, with what else is to be told."""
        self._commit += 1
        batches: list[ChangeBatch] = [_truncate(stream, self._commit) for stream in self._emptied]
        ordinal = len(batches)
        rejects, self._gaps = self._gaps, []
        filtered: dict[str, int] = {}
        for piece in joined(pieces):
            shaped = self._shapers[piece.stream].shape(piece, Position(self._commit, ordinal))
            ordinal += len(piece)
            batches += shaped.batches
            rejects += [shaped.rejects] if shaped.rejects is not None else []
            if shaped.filtered:
                filtered[piece.stream] = filtered.get(piece.stream, 0) + shaped.filtered
        self._emptied, self._begun = [], True
        resume: Resume = {"commit": self._commit, "files": packed(self._tail.known())}
        if self._decided is not None:
            resume["decided"] = self._decided
        whole = pa.Table.from_batches(rejects).combine_chunks().to_batches()[0] if rejects else None
        reach("files.group.after")
        return Group(Boundary(Position(self._commit, ordinal), resume), tuple(batches), whole, filtered)

    def _pieces(self) -> list[Piece]:
        """What is new, of as many files as fit into a group."""
        pieces: list[Piece] = []
        room = GROUP_BYTES
        for file in self._turn():
            while room > 0 and (file.unread or self._due(file)):
                before = file.known.offset, file.stuck, file.known.whole
                try:
                    piece = self._read(file, room)
                except FileNotFoundError:
                    break
                if piece is not None and len(piece):
                    pieces.append(piece)
                room -= piece.nbytes if piece is not None else 4096
                if before == (file.known.offset, file.stuck, file.known.whole):
                    break
        return pieces

    def _turn(self) -> Iterator[File]:
        """The files that have something new: of each series the one that changed first."""
        series: dict[tuple[str, str], File] = {}
        for file in self._tail.files.values():
            if file.held_by is None and (file.unread or self._due(file)):
                other = series.get(file.family)
                if other is None or (file.known.modified_ns, file.known.path) < (
                    other.known.modified_ns,
                    other.known.path,
                ):
                    series[file.family] = file
        yield from sorted(series.values(), key=lambda one: one.known.modified_ns)

    def _waits(self, file: File) -> bool:
        """Whether what is left of a file will be taken when it has been quiet for long enough."""
        return (
            file.stuck == file.known.size
            and not file.known.whole
            and (file.known.whole_only or self._settings[file.known.stream].unfinished_after_s is not None)
        )

    def _due(self, file: File) -> bool:
        """Whether it has been."""
        if not self._waits(file) or file.held_by is not None:
            return False
        settings = self._settings[file.known.stream]
        waits = settings.complete_after_s if file.known.whole_only else settings.unfinished_after_s
        return waits is not None and self._clock.monotonic_s() - file.changed_s >= waits

    def _read(self, file: File, room: int) -> Piece | None:
        if file.container:
            return self._read_rows(file)
        content = self._tail.open(file)
        if file.encoding is None:
            self._meet(file, content)
        if file.encoding is None:
            file.stuck = file.known.size
            return None
        how = self._shapers[file.known.stream].cutting
        at, due = max(file.known.offset, file.skipped), self._due(file)
        size = min(max(room, 1 << 16), GROUP_BYTES)
        while True:
            chunk = content.read(at, size)
            ended = len(chunk) < size
            final = ended and (due if not content.compressed else not content.damaged)
            records = cut(chunk, at, how, file.encoding, final=final)
            if records.used or ended or size >= how.longest:
                break
            size = min(4 * size, how.longest)
        if not self._tail.still_holds(file):
            return None
        self._advance(file, content, chunk, records, ended=ended, due=due)
        values, starts = records.values, records.starts
        too_long = too_long_ones(values, how.longest)
        if records.used:
            too_long[:1] |= file.known.inside or records.too_long
            file.known.inside = records.too_long
        return Piece(file.known.stream, pa.repeat(file.known.path, len(values)), values, starts, file.header, too_long)

    def _meet(self, file: File, content: Content) -> None:
        """The first look at what is in a file: its encoding, its header, and what stands before the unread."""
        given = self._settings[file.known.stream].encoding
        shaper = self._shapers[file.known.stream]
        head = content.read(0, _HEADER)
        encoding, mark = encoding_of(head, given)
        file.skipped = mark
        if shaper.has_header:
            first = cut(head[mark:], mark, Cutting("csv", delimiter=shaper.delimiter, quote=shaper.quote), encoding,
                        final=len(head) < _HEADER and self._due(file))  # fmt: skip
            if not len(first.values):
                return
            file.header = first.values[0].as_py()
            file.skipped = int(first.starts[1]) if len(first.starts) > 1 else mark + first.used
        start = max(0, file.known.offset - TAIL)
        before = content.read(start, file.known.offset - start) if file.known.offset else head[: file.skipped]
        file.last = before[-TAIL:]
        file.encoding = encoding

    def _advance(self, file: File, content: Content, chunk: bytes, records: Records, *, ended: bool, due: bool) -> None:
        known = file.known
        if records.used:
            file.last = (file.last + chunk[: records.used])[-TAIL:]
            known.offset = max(known.offset, file.skipped) + records.used
            known.tail_print = fingerprint(file.last)
            file.stuck = None
        if not ended or 0 < records.used < len(chunk):
            return
        if content.compressed and not content.damaged:
            known.whole = True
        elif content.compressed and due:
            known.whole = True
            self._lost(Loss("file_damaged", f"{known.path} cannot be read on: {content.damaged}", known, known.size))
        elif not records.used:
            file.stuck = known.size

    def _read_rows(self, file: File) -> Piece | None:
        """The next rows of a container."""
        known, settings = file.known, self._settings[file.known.stream]
        rows, total, wrong = read_rows(self._tail.path(known), settings.format.type, known.offset)
        if wrong:
            if self._due(file):
                known.whole = True
                self._lost(Loss("file_damaged", f"{known.path} cannot be read: {wrong}", known, known.size))
            file.stuck = known.size
            return None
        piece = Piece.of_rows(known.stream, known.path, rows, known.offset)
        known.offset += rows.num_rows
        known.whole = known.offset >= total
        return piece

    def _lost(self, loss: Loss) -> None:
        """Content is gone: the gap is entered where that was accepted.

        Raises:
            PositionLost: it was not.
        """
        decision = self._plan.decision
        accepted = decision is not None and decision.action == "accept_gap" and decision.cause in ("", loss.cause)
        since = f"{loss.file.path}:{loss.file.offset}"
        if not accepted and not self._plan.records_losses:
            raise PositionLost(
                loss.message, source=self._plan.source, cause=loss.cause, since=since, lost_bytes=loss.bytes
            )
        reason = decision.reason if accepted and decision is not None else "lost: record"
        identity = decision.id if accepted and decision is not None else ""
        until = f"{loss.file.path}:{loss.file.offset + loss.bytes}"
        self._gaps.append(
            gap_reject(
                Gap(self._plan.source, loss.cause, loss.message, since, until, loss.bytes, self._clock.now_us(),
                    identity, reason)
            )
        )  # fmt: skip


def _truncate(stream: StreamSchema, commit: int) -> ChangeBatch:
    """All rows of a stream go."""
    row: dict[str, object] = {"_op": int(Op.TRUNCATE), "_weight": -1, "_commit": commit, "_ordinal": 0}
    return ChangeBatch(stream, pa.RecordBatch.from_pylist([row], schema=log_schema(stream)))
