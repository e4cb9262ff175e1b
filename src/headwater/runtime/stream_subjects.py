"""Keeps the registry's subjects of streams as the streams are (`registry.stream_subjects`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headwater.capture.source import Source
from headwater.registry.store import SchemaStore
from headwater.runtime.nodes import StreamNode
from headwater.schema import StreamSchema


class StreamSubjects:
    """Told of the streams after every epoch, by the epochs' thread.

    Args:
        sources: by name. One that learns its streams from messages tells the registry itself, of each version.
        store: gives the open schemas; None where nobody is served from them.
    """

    def __init__(self, sources: Mapping[str, Source], store: Callable[[], SchemaStore | None]) -> None:
        self._learning = {name for name, source in sources.items() if getattr(source, "schemas", None) is not None}
        self._store = store
        self._told: dict[str, StreamSchema] = {}

    def follow(self, streams: Mapping[str, StreamNode]) -> None:
        """Notes what the streams are like now, those that changed.

        Raises:
            StorageFailed: it could not be made durable.
        """
        for name, node in streams.items():
            now = node.stream
            if self._told.get(name) is now or node.source in self._learning:
                continue
            store = self._store()
            if store is None:
                return
            store.describe(now)
            self._told[name] = now
