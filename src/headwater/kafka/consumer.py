"""One member of a consumer group that reads in bulk. Used by one thread; every callback runs within `take`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import c_int64, create_string_buffer
from typing import Any

import numpy as np

from headwater.errors import SourceStopped
from headwater.kafka import librdkafka as rd
from headwater.kafka.messages import Taken

TEXT = 512
LINGER_MS = 5
"""How long messages are gathered after the first one."""

Place = tuple[str, int]
"""Topic and partition."""


class BulkConsumer:
    """See the module.

    Args:
        configuration: librdkafka's.
        assigned: told of partitions that we are given, says from which offset each is to be read.
        revoked: told of partitions that are taken from us.

    Attributes:
        errors: (code, text) of what went wrong with the brokers since it was last looked at.

    Raises:
        SourceStopped: the configuration is refused.
    """

    def __init__(
        self,
        configuration: Mapping[str, str],
        assigned: Callable[[list[Place]], Sequence[int]],
        revoked: Callable[[list[Place]], None],
    ) -> None:
        self._library: Any = rd.library()
        self._assigned, self._revoked = assigned, revoked
        self.errors: list[tuple[int, str]] = []
        self._raised: Exception | None = None
        self._callbacks = (
            rd.REBALANCE(self._rebalance),
            rd.ERROR(self._error),
        )  # kept for as long as they may be called
        self._buffer = np.empty(0, np.int64)
        self._handle = self._made(configuration)
        self._open = True
        self._library.rd_kafka_poll_set_consumer(self._handle)
        self._queue = self._library.rd_kafka_queue_get_consumer(self._handle)

    def _made(self, configuration: Mapping[str, str]) -> int:
        library, text = self._library, create_string_buffer(TEXT)
        conf = library.rd_kafka_conf_new()
        for name, value in configuration.items():
            if library.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, TEXT):
                library.rd_kafka_conf_destroy(conf)
                raise SourceStopped(f"librdkafka refuses the setting {name}", hint="see its CONFIGURATION.md")
        library.rd_kafka_conf_set_rebalance_cb(conf, self._callbacks[0])
        library.rd_kafka_conf_set_error_cb(conf, self._callbacks[1])
        handle: int | None = library.rd_kafka_new(rd.CONSUMER, conf, text, TEXT)
        if not handle:
            library.rd_kafka_conf_destroy(conf)
            raise SourceStopped(f"a Kafka client cannot be made: {text.value.decode(errors='replace')}")
        return handle

    def subscribe(self, topics: Iterable[str]) -> None:
        """Joins the group for topics; a name that begins with ^ is a regular expression.

        Raises:
            SourceStopped: that is not possible.
        """
        wanted = self._list([((topic, -1), rd.INVALID) for topic in topics])
        code = self._library.rd_kafka_subscribe(self._handle, wanted)
        self._library.rd_kafka_topic_partition_list_destroy(wanted)
        if code:
            raise SourceStopped(f"the topics cannot be subscribed to: {rd.describe(code)}")

    def take(self, most: int, timeout_s: float) -> Taken | None:
        """Messages, at most `most`, of which the first comes within `timeout_s`; None if none does.

        Raises:
            Exception: what a callback raised.
        """
        if len(self._buffer) < most:
            self._buffer = np.empty(most, np.int64)
        count = self._consume(0, 1, int(timeout_s * 1000))
        if count:
            count += self._consume(count, most - count, LINGER_MS)
        raised, self._raised = self._raised, None
        taken = Taken(self._buffer[:count].copy()) if count else None
        if raised is not None:
            if taken is not None:
                taken.release()
            raise raised
        return taken

    def _consume(self, at: int, most: int, timeout_ms: int) -> int:
        place = self._buffer.ctypes.data + 8 * at
        return max(0, int(self._library.rd_kafka_consume_batch_queue(self._queue, timeout_ms, place, most)))

    def commit(self, offsets: Mapping[Place, int], *, wait: bool = False) -> int:
        """Commits offsets to the group; an error's code, or 0. Without `wait` it is sent in the background."""
        given = self._list(list(offsets.items()))
        code = int(self._library.rd_kafka_commit(self._handle, given, not wait))
        self._library.rd_kafka_topic_partition_list_destroy(given)
        return code

    def watermarks(self, place: Place) -> tuple[int, int]:
        """First offset and end of a partition, as the last answer to a fetch said; negative if not known."""
        low, high = c_int64(-1), c_int64(-1)
        self._library.rd_kafka_get_watermark_offsets(self._handle, place[0].encode(), place[1], low, high)
        return low.value, high.value

    def fatal(self) -> tuple[int, str]:
        """The error that this client cannot go on after: (code, text), code 0 if there is none."""
        text = create_string_buffer(TEXT)
        code = int(self._library.rd_kafka_fatal_error(self._handle, text, TEXT))
        return code, text.value.decode(errors="replace")

    def close(self) -> None:
        """Leaves the group (a static member stays in it) and ends. May be called twice."""
        if not self._open:
            return
        self._open = False
        self._library.rd_kafka_queue_destroy(self._queue)
        self._library.rd_kafka_consumer_close(self._handle)  # which tells of revoked partitions once more
        self._library.rd_kafka_destroy(self._handle)

    def _list(self, entries: Sequence[tuple[Place, int]]) -> Any:
        made = self._library.rd_kafka_topic_partition_list_new(len(entries))
        for (topic, partition), offset in entries:
            entry = self._library.rd_kafka_topic_partition_list_add(made, topic.encode(), partition)
            entry.contents.offset = offset
        return made

    def _rebalance(self, handle: int, code: int, partitions: Any, opaque: int) -> None:
        """Partitions come or go, some at a time (the cooperative protocol)."""
        entries = [partitions.contents.elems[i] for i in range(partitions.contents.cnt)]
        places = [(entry.topic.decode(), int(entry.partition)) for entry in entries]
        try:
            if code == rd.ASSIGN_PARTITIONS:
                for entry, offset in zip(entries, self._assigned(places), strict=True):
                    entry.offset = offset
                self._done(self._library.rd_kafka_incremental_assign(handle, partitions))
                return
            self._revoked(places)
        except Exception as error:  # noqa: BLE001 what leaves a callback of C is lost; `take` raises it
            self._raised = error
            if code == rd.ASSIGN_PARTITIONS:
                return
        self._done(self._library.rd_kafka_incremental_unassign(handle, partitions))

    def _done(self, error: int | None) -> None:
        if error:
            text = self._library.rd_kafka_error_string(error).decode(errors="replace")
            self._library.rd_kafka_error_destroy(error)
            self.errors.append((rd.FATAL, f"a rebalance failed: {text}"))

    def _error(self, handle: int, code: int, text: bytes | None, opaque: int) -> None:
        self.errors.append((code, (text or b"").decode(errors="replace")))
