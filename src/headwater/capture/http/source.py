"""A source that is sent to: it keeps a door open in the project's web server. See `capture.source.Source`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.api.server import Service
from headwater.capture.health import NoWatcher
from headwater.capture.http import routes
from headwater.capture.http.door import Door
from headwater.capture.http.keys import Keys
from headwater.capture.http.reader import HttpReader
from headwater.capture.http.settings import HttpSettings
from headwater.capture.http.shapers import Shapers
from headwater.capture.request import Request
from headwater.change import ChangeBatch
from headwater.clock import Clock
from headwater.errors import PositionLost
from headwater.position import Resume
from headwater.registry.store import SchemaStore
from headwater.schema import StreamSchema

_HOUR_US = 3_600_000_000


class HttpSource:
    """Records that clients send to `POST /v1/streams/NAME`.

    Args:
        name: of the source.
        settings: see there.
        project: the project's name.
        identity: of the state folder.
        clock: time.

    Attributes:
        scratch: the state folder, where the idempotency keys are kept.
        schemas: what the streams were learnt to be like; and the schemas that messages name.
        door: where requests wait.
    """

    def __init__(self, name: str, settings: HttpSettings, *, project: str, identity: str, clock: Clock) -> None:
        self.name = name
        self.settings = settings
        self.identity = identity
        self.clock = clock
        self.scratch: Path | None = None
        self.door = Door(int(settings.buffer))
        self.schemas: SchemaStore | None = None
        self._made: Shapers | None = None

    @property
    def _shapers(self) -> Shapers:
        if self._made is None:
            self._made = Shapers(self.settings, self.schemas, self.schemas)
        return self._made

    def service(self) -> Service:
        """What it adds to the project's web server."""
        return routes.service(self)

    def tell_transactions(self) -> bool:
        """Requests are no transactions that anybody asks for."""
        return False

    def check(self) -> list[str]:
        """What will be listened for."""
        paths = ", ".join(routes.PATH.format(name=stream) for stream in self.settings.streams)
        who = "whoever has the token" if self.settings.token else "everybody who reaches the api"
        return [f"takes what {who} sends to {paths}"]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """The streams whose columns are declared or were learnt."""
        return self._shapers.streams()

    def open(self, resume: Resume | None, decision: Request | None = None) -> HttpReader:
        """Opens the door. What was sent and not answered is sent again by whoever wants it to be taken."""
        folder = self.scratch if self.scratch is not None else Path()
        keys = Keys(folder / "http" / f"{self.name}.db", int(self.settings.remember_keys_h * _HOUR_US))
        return HttpReader(self.door, self._shapers, keys, resume, self.clock)

    def examine(self, resume: Resume) -> PositionLost | None:
        """Nothing can be lost: there is nothing to read again."""
        return None

    def watcher(self) -> NoWatcher:
        """There is nothing to see from the side."""
        return NoWatcher()

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        return self._shapers.decode(record)
