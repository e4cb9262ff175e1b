"""A generator of the user's own as a source: rows and the position behind them become durable together."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headwater.capture.health import NoWatcher
from headwater.capture.messages.message import messages_of
from headwater.capture.messages.rows import decode_row, shape_rows
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import StreamShaper
from headwater.capture.python.settings import PythonSettings
from headwater.capture.python.user_code import Generator, Running, load
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.clock import Clock, SystemClock
from headwater.errors import Place, PositionLost, SourceStopped, UserError
from headwater.formats.settings import RawFormat
from headwater.position import Boundary, Position, Resume
from headwater.schema import StreamSchema

if TYPE_CHECKING:
    from headwater.registry.store import SchemaStore


class PythonSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project, and its stream's if the settings give none.
        settings: from `headwater.yml`.
        project, identity: not used.
        clock: time.

    Attributes:
        folder: the project's folder.
        schemas: where what is learnt of the stream is kept.
    """

    def __init__(
        self, name: str, settings: PythonSettings, *, project: str, identity: str = "", clock: Clock | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.stream = settings.stream or name
        self.folder: Path | None = None
        self.schemas: SchemaStore | None = None
        self._clock = clock or SystemClock()

    @property
    def file(self) -> Path:
        """The user's file."""
        return (self.folder or Path()) / self.settings.file

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """See `Source.check`. The file is loaded, the function is not called."""
        body = load(self.file, self.settings.function)
        return [f"calls {body.__name__} of {self.settings.file}, which feeds {self.stream}"]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`: what was declared or learnt."""
        stream = self._shaper().stream()
        return [stream] if stream is not None else []

    def open(self, resume: Resume | None, decision: Request | None = None) -> PythonReader:
        """See `Source.open`. A resnapshot calls the function from its beginning."""
        body = load(self.file, self.settings.function)
        if decision is not None and resume is not None and resume.get("decided") == decision.id:
            decision = None
        return PythonReader(self, body, self._shaper(), resume, decision, self._clock)

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`: what a position leads to is the function's to know."""
        return None

    def watcher(self) -> NoWatcher:
        """See `Source.watcher`."""
        return NoWatcher()

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        return decode_row(self._shaper(), record)

    def _shaper(self) -> StreamShaper:
        given = self.settings
        settings = MessageStreamSettings(
            format=RawFormat(text=False), schema=given.schema_policy, key=given.key, columns=given.columns, metadata=()
        )
        return StreamShaper(self.stream, settings, self.schemas)


class PythonReader:
    """See `headwater.capture.source.Reader`. A group is what the function yields at once."""

    def __init__(
        self,
        source: PythonSource,
        body: Generator,
        shaper: StreamShaper,
        resume: Resume | None,
        decision: Request | None,
        clock: Clock,
    ) -> None:
        again = decision is not None and decision.action == "resnapshot"
        self._source, self._body, self._shaper, self._clock = source, body, shaper, clock
        self._commit = int((resume or {}).get("commit") or 0)
        text = None if again else (resume or {}).get("position")
        self._position: object = None if text is None else json.loads(str(text))
        self._decided = decision.id if decision is not None else (resume or {}).get("decided")
        self._begun = resume is not None and decision is None
        self._empties = again
        self._running: Running | None = None
        self._again_s = clock.monotonic_s()

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`."""
        if not self._begun:
            return self._group(None)
        if self._running is None:
            if self._clock.monotonic_s() < self._again_s:
                self._clock.wait(threading.Event(), timeout_s)
                return None
            arguments = self._source.settings.arguments
            self._running = Running(self._body, self._source.file, self._position, arguments)
        found = self._running.next(timeout_s)
        if found is not None:
            rows, self._position = found
            return self._group(rows)
        if self._running.ended:
            self._running = None
            self._again_s = self._clock.monotonic_s() + self._source.settings.every_s
        return None

    def confirm(self, boundary: Boundary) -> None:
        """The function is told of nothing: its next call begins behind the last durable position."""

    def ask(self, request: Request) -> None:
        """See `Reader.ask`."""
        hint = f"headwater source resnapshot {self._source.name} calls the function from its beginning"
        raise UserError(f"{request.action} cannot be asked of a Python source", hint=hint)

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """Nothing while the function has come to its end and is not yet called again."""
        return 0 if self._running is None and self._clock.monotonic_s() < self._again_s else 1

    def close(self) -> None:
        """See `Reader.close`."""
        if self._running is not None:
            self._running.stop()
        self._running = None

    def _group(self, rows: pa.RecordBatch | None) -> Group:
        """The group of what was yielded, or the empty first one."""
        self._commit += 1
        batches: list[ChangeBatch] = []
        rejects, count = None, 0
        stream = self._shaper.stream()
        if self._empties and stream is not None:
            row = {"_op": int(Op.TRUNCATE), "_weight": -1, "_commit": self._commit, "_ordinal": 0}
            batches.append(ChangeBatch(stream, pa.RecordBatch.from_pylist([row], schema=log_schema(stream))))
        if rows is not None and rows.num_rows:
            count = rows.num_rows
            messages = messages_of(pa.repeat(pa.scalar(b"", pa.binary()), count), offset=pa.array(np.arange(count)))
            shaped = shape_rows(self._shaper, rows, messages, Position(self._commit, 1))
            batches += shaped.batches
            rejects = shaped.rejects
        self._begun, self._empties = True, False
        resume: Resume = {"commit": self._commit}
        if self._position is not None:
            resume["position"] = self._as_text()
        if self._decided is not None:
            resume["decided"] = self._decided
        return Group(Boundary(Position(self._commit, count + 1), resume), tuple(batches), rejects)

    def _as_text(self) -> str:
        try:
            return json.dumps(self._position)
        except (TypeError, ValueError) as error:
            place = Place(str(self._source.file), self._body.__code__.co_firstlineno, 1)
            hint = "a position is text, a number, a list or a dict of such"
            raise SourceStopped(f"the position cannot be kept: {error}", hint=hint, place=place) from error
