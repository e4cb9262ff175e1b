"""A source of messages that a test writes into: what a broker's source does, without the broker.

It offers again what was not confirmed, learns its schema as real ones do, and rejects what it cannot read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import pyarrow as pa

from headwater.capture.health import NoWatcher
from headwater.capture.messages.message import MESSAGE_SCHEMA, messages_of
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import Schemas, StreamShaper
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group
from headwater.errors import PositionLost, UserError
from headwater.formats.schema_source import SchemaSource
from headwater.position import Boundary, Position, Resume
from headwater.schema import StreamSchema

Message = tuple[bytes | None, bytes | None]
"""Value and key."""


class ScriptedMessages:
    """A `Source` of one stream over a list of messages, which may grow while it is read.

    Args:
        name: of the source and of its stream.
        settings: of the stream; may be set to others between two runs.
        batch: how many messages a poll gives, at most.
        registry: for formats whose messages name their schemas.

    Attributes:
        schemas: where learnt schemas are kept; of this source alone if nobody sets it.
        confirmed: how many messages were confirmed.
        opened: the resume points with which it was opened.
    """

    def __init__(
        self, name: str, settings: MessageStreamSettings, *, batch: int = 100, registry: SchemaSource | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.batch = batch
        self.schemas: Schemas | None = None
        self.confirmed = 0
        self.opened: list[Resume | None] = []
        self._registry = registry
        self._messages: list[Message] = []
        self._lock = threading.Lock()

    def add(self, messages: Iterable[Message | bytes]) -> None:
        """Appends messages; a value alone has no key."""
        with self._lock:
            self._messages += [one if isinstance(one, tuple) else (one, None) for one in messages]

    def taken(self, start: int) -> pa.RecordBatch:
        """The messages of the next poll after `start` of them, of `MESSAGE_SCHEMA`."""
        with self._lock:
            chosen = self._messages[start : start + self.batch]
        values, keys = pa.array([v for v, _ in chosen], pa.binary()), pa.array([k for _, k in chosen], pa.binary())
        offsets = pa.array(range(start, start + len(chosen)), pa.int64())
        stamps = pa.array([1_700_000_000_000_000 + at for at in range(start, start + len(chosen))], pa.int64())
        times = stamps.cast(MESSAGE_SCHEMA.field("timestamp").type)
        places = pa.repeat(pa.scalar("0"), len(chosen))
        return messages_of(values, key=keys, offset=offsets, partition=places, timestamp=times)

    def shaper(self) -> StreamShaper:
        """Shapes its messages under the settings as they are now."""
        return StreamShaper(self.name, self.settings, self.schemas, self._registry)

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """Nothing to check."""
        return [f"reads {len(self._messages)} scripted messages"]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`."""
        known = self.shaper().stream()
        return [] if known is None else [known]

    def open(self, resume: Resume | None, decision: Request | None = None) -> MessageReader:
        """See `Source.open`."""
        self.opened.append(resume)
        return MessageReader(self, int(resume["read"] or 0) if resume else 0)

    def examine(self, resume: Resume) -> PositionLost | None:
        """A script is never lost."""
        return None

    def watcher(self) -> NoWatcher:
        """There is nothing to see."""
        return NoWatcher()

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        return self.shaper().decode(record)


class MessageReader:
    """One reading of `ScriptedMessages`."""

    def __init__(self, source: ScriptedMessages, read: int) -> None:
        self._source = source
        self._shaper = source.shaper()
        self._read = read

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`."""
        messages = self._source.taken(self._read)
        if not len(messages):
            threading.Event().wait(timeout_s)
            return None
        shaped = self._shaper.shape(messages, Position(self._read + 1))
        last = Position(self._read + 1, len(messages))
        self._read += len(messages)
        filtered = {self._source.name: shaped.filtered} if shaped.filtered else {}
        boundary = Boundary(last, {"read": self._read})
        return Group(boundary, shaped.batches, shaped.rejects, filtered)

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`."""
        self._source.confirmed = max(self._source.confirmed, int(boundary.resume["read"] or 0))

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. None can be carried out."""
        raise UserError(f"{request.action} cannot be asked of this source")

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """How many messages the next poll would give."""
        return len(self._source.taken(self._read))

    def close(self) -> None:
        """Nothing to give up."""
