"""The shapers of one source: a stream's rows may come in several forms, and its columns are the same whatever the form.

Used by the capture thread alone.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from headwater.capture.http.forms import AVRO, CONTAINER, CSV, JSON, OWN
from headwater.capture.http.settings import HttpSettings, HttpStreamSettings
from headwater.capture.messages.message import unframe
from headwater.capture.messages.shaping import Schemas, SchemasInMemory, StreamShaper
from headwater.change import ChangeBatch
from headwater.errors import UserError
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.schema_source import SchemaSource
from headwater.formats.settings import CsvFormat, JsonFormat
from headwater.schema import StreamSchema

MOST_FORMS = 64
"""Forms of a stream that are kept ready: clients may name the columns of CSV in any order."""


class Shapers:
    """See above.

    Args:
        settings: the source's.
        schemas: where the streams' columns are kept; forgotten with this if None.
        registry: where schemas that messages name are had.
    """

    def __init__(
        self, settings: HttpSettings, schemas: Schemas | None = None, registry: SchemaSource | None = None
    ) -> None:
        self._streams = settings.streams
        self._schemas = schemas if schemas is not None else SchemasInMemory()
        self._registry = registry
        self._made: OrderedDict[tuple[str, str], StreamShaper] = OrderedDict()

    def shaper(self, stream: str, form: str) -> StreamShaper:
        """What makes changes of a stream's messages that come in a form.

        Raises:
            UserError: the form cannot be decoded.
        """
        known = self._made.get((stream, form))
        if known is None:
            settings = self._streams[stream]
            known = StreamShaper(stream, _in_form(settings, form), self._schemas, self._registry)
            self._made[stream, form] = known
            if len(self._made) > MOST_FORMS:
                self._made.popitem(last=False)
        self._made.move_to_end((stream, form))
        return known

    def streams(self) -> list[StreamSchema]:
        """The streams whose columns are known by now."""
        found = [self.shaper(stream, OWN).stream() for stream in self._streams]
        return [stream for stream in found if stream is not None]

    def decode(self, record: bytes) -> ChangeBatch:
        """Decodes a rejected message once more.

        Raises:
            UserError: it still cannot be decoded.
        """
        message, _ = unframe(record)
        stream, _, form = (message.column("partition")[0].as_py() or "").partition("/")
        if stream not in self._streams:
            raise UserError(f"the stream {stream!r} is not fed by this source any more")
        return self.shaper(stream, form).decode(record)


def _in_form(settings: HttpStreamSettings, form: str) -> HttpStreamSettings:
    """A stream's settings with the format that a form asks for; the stream's own where that is of the same kind."""
    own = settings.format
    wanted: Any = own
    if form == JSON and "json" not in own.type:
        wanted = JsonFormat.model_validate({})
    elif form == AVRO and "avro" not in own.type:
        raise UserError(f"the stream's format is {own.type}: Avro needs `format: avro`")
    elif form == CONTAINER:
        if own.type.startswith("debezium"):
            raise UserError(f"the stream's format is {own.type}: an Avro container holds rows, not its events")
        wanted = AvroFormat.model_validate({})
    elif form.startswith(CSV):
        base = own if isinstance(own, CsvFormat) else CsvFormat.model_validate({})
        wanted = base.model_copy(update={"header": tuple(json.loads(form.removeprefix(CSV)))})
    return settings.model_copy(update={"format": wanted})
