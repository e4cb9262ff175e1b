"""The streams that topics become: one shaper for each."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.messages.shaping import Schemas, StreamShaper
from headwater.change import CHANGE_COLUMNS, ChangeBatch, Op, log_schema
from headwater.errors import SourceStopped
from headwater.formats.schema_source import SchemaSource
from headwater.position import Position
from headwater.schema import StreamSchema


class Streams:
    """Shapers by topic, made when they are first asked for.

    Args:
        settings: the source's.
        schemas: where learnt schemas are kept; None: nowhere.
        registry: for formats whose messages name their schemas.
    """

    def __init__(
        self, settings: KafkaSettings, schemas: Schemas | None = None, registry: SchemaSource | None = None
    ) -> None:
        self._settings, self._schemas, self._registry = settings, schemas, registry
        self._shapers: dict[str, StreamShaper] = {}

    def __getitem__(self, topic: str) -> StreamShaper:
        """The shaper of a topic.

        Raises:
            SourceStopped: another topic feeds a stream of that name already.
        """
        found = self._shapers.get(topic)
        if found is None:
            self.require([topic])
            settings = self._settings.of(topic)
            if settings is None:
                raise SourceStopped(f"topic {topic} came and is not one to be read")
            name = self._settings.stream_of(topic)
            found = StreamShaper(name, settings, self._schemas, self._registry)
            self._shapers[topic] = found
        return found

    def require(self, topics: Iterable[str]) -> None:
        """Looks whether each topic, of those and the ones known, feeds a stream of its own.

        Raises:
            SourceStopped: two would feed one.
        """
        fed: dict[str, str] = {}
        for topic in {*self._shapers, *topics}:
            other = fed.setdefault(self._settings.stream_of(topic), topic)
            if other != topic:
                raise SourceStopped(
                    f"topics {other} and {topic} would both feed the stream {self._settings.stream_of(topic)!r}",
                    hint=f"name one: topics: {{{topic}: {{stream: NAME}}}}, or leave it out: '!{topic}'",
                )

    def schemas(self, topics: Iterable[str]) -> list[StreamSchema]:
        """The streams of topics, as they are known by now."""
        found = [self[topic].stream() for topic in sorted(topics)]
        return [stream for stream in found if stream is not None]

    def emptied(self, topics: Iterable[str], at: Position) -> tuple[ChangeBatch, ...]:
        """A TRUNCATE of the stream of each topic."""
        streams = self.schemas(topics)
        return tuple(_truncate(stream, Position(at.commit, at.ordinal + i)) for i, stream in enumerate(streams))


def _truncate(stream: StreamSchema, at: Position) -> ChangeBatch:
    values = (Op.TRUNCATE, -1, at.commit, at.ordinal, None, None)
    row = {field.name: value for field, value in zip(CHANGE_COLUMNS, values, strict=True)}
    return ChangeBatch(stream, pa.RecordBatch.from_pylist([row], schema=log_schema(stream)))
