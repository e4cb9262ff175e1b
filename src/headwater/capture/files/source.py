"""Files as a source: every record once, however the files are rotated, compressed, and read in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.capture.files.known import Known, unpacked
from headwater.capture.files.reader import FilesReader, Plan
from headwater.capture.files.settings import FilesSettings
from headwater.capture.files.shaping import FileShaper
from headwater.capture.files.tail import Series, Tail
from headwater.capture.health import NoWatcher
from headwater.capture.messages.message import stream_of
from headwater.capture.messages.shaping import SchemasInMemory
from headwater.capture.request import Request
from headwater.change import ChangeBatch
from headwater.clock import Clock, SystemClock
from headwater.errors import PositionLost, UserError
from headwater.finding import Finding, sentences
from headwater.position import Resume
from headwater.schema import StreamSchema

if TYPE_CHECKING:
    from headwater.registry.store import SchemaStore

_PEEK_GROUPS = 3


class FilesSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project.
        settings: from `headwater.yml`.
        project, identity: not used.
        clock: time.

    Attributes:
        folder: the project's folder, which paths are counted from.
        schemas: where what is learnt of the streams is kept.
    """

    def __init__(
        self, name: str, settings: FilesSettings, *, project: str, identity: str = "", clock: Clock | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.folder: Path | None = None
        self.schemas: SchemaStore | None = None
        self._clock = clock or SystemClock()

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """See `Source.check`."""
        tail = self._tail([])
        self._shapers(SchemasInMemory())
        tail.find()
        tail.close()
        counts = dict.fromkeys(self.settings.files, 0)
        for file in tail.files.values():
            counts[file.known.stream] += 1
        return [
            f"reads {count} file{'s' if count != 1 else ''} of {stream}, and those that come: "
            f"{', '.join(self.settings.files[stream].paths)}"
            for stream, count in counts.items()
        ]

    def diagnose(self, resume: Resume | None) -> Sequence[Finding]:
        """See `headwater.capture.diagnosable.Diagnosable`."""
        mend = f"look at `paths`, which count from {self.folder or Path.cwd()}"
        return [
            replace(one, level="warn", mend=mend) if one.message.startswith("reads 0 files") else one
            for one in sentences("files", self.check)
        ]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`. Of a stream of which nothing was read yet, the first records of its files are looked
        at."""
        kept = self._shapers(self.schemas)
        found = {name: shaper.stream() for name, shaper in kept.items()}
        unknown = [name for name in kept if self.schemas is None or self.schemas.stream(name) is None]
        if unknown and resume is None:
            found |= self._peek(unknown)
        return [stream for stream in found.values() if stream is not None]

    def open(self, resume: Resume | None, decision: Request | None = None) -> FilesReader:
        """See `Source.open`."""
        if resume is not None and decision is not None and resume.get("decided") == decision.id:
            decision = None
        again = decision is not None and decision.action == "resnapshot"
        tail = self._tail(list(unpacked(resume)) if not again else [])
        tail.from_end = resume is None and self.settings.start == "end"
        reader = self._reader(tail, resume, decision, self._shapers(self.schemas))
        if again:
            reader.empty([stream for stream in self.discover(resume) if not stream.key or stream.changelog == "upsert"])
        try:
            reader.find()
        except BaseException:
            reader.close()
            raise
        return reader

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`."""
        tail = self._tail(unpacked(resume), patience_s=0.0)
        reader = self._reader(tail, resume, None, {})
        try:
            reader.find()
        except PositionLost as lost:
            return lost
        finally:
            reader.close()
        return None

    def watcher(self) -> NoWatcher:
        """See `Source.watcher`."""
        return NoWatcher()

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        stream = stream_of(record)
        if stream not in self.settings.files:
            raise UserError(f"stream {stream!r} is not read any more")
        return FileShaper(stream, self.settings.files[stream], self.schemas).decode(record)

    def _shapers(self, schemas: SchemaStore | SchemasInMemory | None) -> dict[str, FileShaper]:
        return {name: FileShaper(name, settings, schemas) for name, settings in self.settings.files.items()}

    def _tail(self, known: Sequence[Known], patience_s: float = 5.0) -> Tail:
        series = {name: Series(one.paths, one.is_container) for name, one in self.settings.files.items()}
        kept = [one for one in known if one.stream in series]
        return Tail(series, (self.folder or Path()).absolute(), kept, self._clock, patience_s)

    def _reader(
        self, tail: Tail, resume: Resume | None, decision: Request | None, shapers: dict[str, FileShaper]
    ) -> FilesReader:
        settings = self.settings
        look_s, find_s = settings.look_every_s, settings.find_every_s
        plan = Plan(self.name, resume, decision, settings.lost == "record", look_s, find_s)
        return FilesReader(plan, tail, settings.files, shapers, self._clock)

    def _peek(self, streams: Sequence[str]) -> dict[str, StreamSchema | None]:
        """What streams are like by the first records of their files."""
        shapers = self._shapers(SchemasInMemory())
        tail = self._tail([])
        reader = self._reader(tail, None, None, shapers)
        try:
            reader.find()
            for _ in range(_PEEK_GROUPS):
                if reader.poll(0.0) is None:
                    break
        finally:
            reader.close()
        return {name: shapers[name].stream() for name in streams}
