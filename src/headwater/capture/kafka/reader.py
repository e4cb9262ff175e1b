"""One open reading of a Kafka source: a member of its consumer group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from headwater import failpoint
from headwater.capture.kafka.assignment import Assignment
from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.kafka.standing import Place, Standing, standing_of
from headwater.capture.kafka.streams import Streams
from headwater.capture.messages.message import MESSAGE_SCHEMA
from headwater.capture.progress_ledger import Confirmed
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group
from headwater.errors import HeadwaterError, UserError
from headwater.kafka import kernels
from headwater.kafka import librdkafka as rd
from headwater.kafka.consumer import BulkConsumer
from headwater.kafka.failures import failure, is_final
from headwater.kafka.messages import Failure, Taken
from headwater.position import Boundary, Position

GONE = (rd.UNKNOWN_TOPIC, rd.UNKNOWN_TOPIC_ID, rd.NO_TOPIC, rd.NO_PARTITION, rd.OUT_OF_RANGE, rd.LOG_TRUNCATION)
"""Errors behind which a loss may stand."""
HARMLESS = (rd.MAX_POLL_EXCEEDED,)
"""The group gives the partitions back at the next poll."""


class KafkaReader:
    """See `headwater.capture.source.Reader`.

    Args:
        name: the source's.
        settings: the source's.
        configuration: librdkafka's, for the consumer.
        standing: where to read on.
        streams: shapes messages.
        assignment: says from where partitions are read.
        lost: looks what is lost of a standing; None if nothing is.
        first: a group to hand over before what is read.
    """

    def __init__(
        self,
        name: str,
        settings: KafkaSettings,
        configuration: Mapping[str, str],
        standing: Standing,
        streams: Streams,
        assignment: Assignment,
        lost: Callable[[Standing], HeadwaterError | None],
        first: Group | None = None,
    ) -> None:
        self._doing = f"reading source {name!r}"
        self._settings, self._streams, self._assignment, self._lost = settings, streams, assignment, lost
        self._standing, self._first = standing, first
        self._offered = standing
        """What the last group handed over says."""
        self._failed: HeadwaterError | None = None
        self._to_commit: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._confirmed = Confirmed(Position(0))
        self._consumer = BulkConsumer(configuration, assignment.assigned, self._revoked)
        try:
            self._consumer.subscribe(settings.subscription())
        except HeadwaterError:
            self.close()
            raise

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._failed is not None:
            raise self._failed
        taken = self._consumer.take(self._settings.batch_messages, timeout_s)
        self._look_at_errors()
        self._commit()
        if taken is None:
            return self._moved()
        try:
            return self._group(taken)
        finally:
            taken.release()

    def _group(self, taken: Taken) -> Group | None:
        rows, after = taken.fresh(self._assignment.expected)
        for slot in np.unique(taken.found[rows, kernels.SLOT]).tolist():
            self._assignment.read(taken.places[slot], int(after[slot]))
        for one in taken.failures():
            self._note(one)
        if not len(rows):
            if self._failed is not None:
                raise self._failed
            return None
        return self._shaped(taken, rows)

    def _shaped(self, taken: Taken, rows: np.ndarray) -> Group:
        self._standing = self._assignment.standing(self._standing)
        number, ordinal, latest = self._standing.number, 0, 0
        batches: list[ChangeBatch] = []
        rejects: list[pa.RecordBatch] = []
        filtered: dict[str, int] = {}
        for topic, own in taken.topics(rows).items():
            shaper = self._streams[topic]
            shaped = shaper.shape(_messages(taken, own), Position(number, ordinal))
            batches += shaped.batches
            if shaped.rejects is not None:
                rejects.append(shaped.rejects)
            if shaped.filtered:
                filtered[shaper.name] = shaped.filtered
            ordinal += len(own)
            latest = max(latest, int(taken.found[own, kernels.TIME].max()) * 1000)
        together = pa.Table.from_batches(rejects).combine_chunks().to_batches()[0] if rejects else None
        self._offered = self._standing
        return Group(self._standing.boundary(ordinal, max(latest, 0)), tuple(batches), together, filtered)

    def _moved(self) -> Group | None:
        """An empty group if offsets went on without messages: over aborted transactions and the marks of others."""
        now = self._assignment.standing(self._standing)
        if (now.offsets, now.topics, now.away) == (self._offered.offsets, self._offered.topics, self._offered.away):
            return None
        self._standing = self._offered = now
        return Group(now.boundary())

    def _note(self, one: Failure) -> None:
        """What came in a message's place. An error is raised when what came before it is handed over."""
        if one.code == rd.PARTITION_EOF:
            self._assignment.ended((one.topic, one.partition), one.offset)
        elif one.code in GONE:
            lost = self._lost(self._assignment.standing(self._standing))
            self._failed = lost or failure(one.code, f"{one.topic}[{one.partition}]: {one.text}", self._doing)
        elif one.code == rd.FATAL:
            self._failed = failure(*self._consumer.fatal(), self._doing)
        elif one.code not in HARMLESS:
            self._failed = failure(one.code, one.text, self._doing)

    def _look_at_errors(self) -> None:
        """Errors of the connections: one that no second try mends, or that no broker is left.

        Raises:
            SourceUnavailable, SourceStopped: so it is.
        """
        errors, self._consumer.errors = self._consumer.errors, []
        for code, text in errors:
            if code == rd.FATAL:
                fatal, said = self._consumer.fatal()
                raise failure(fatal or code, said or text, self._doing)
            if is_final(code) or code == rd.ALL_BROKERS_DOWN:
                raise failure(code, text, self._doing)

    def _revoked(self, places: list[Place]) -> None:
        """The group takes partitions from us: whoever reads them next begins where we are durable."""
        due = {place: self._to_commit[place] for place in places if place in self._to_commit}
        if due and self._settings.group is not None:
            self._consumer.commit(due, wait=True)
        self._assignment.revoked(places)

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`: the group is told the offsets, of the partitions that are ours."""
        failpoint.reach("capture.confirm.before")
        self._confirmed.move(boundary.position)
        self._to_commit = dict(standing_of(boundary.resume).offsets)
        self._commit()
        failpoint.reach("capture.confirm.after")

    def _commit(self) -> None:
        """Tells the group what it was not told yet; in the background, for it is only for others to see."""
        due = {
            place: offset
            for place, offset in self._to_commit.items()
            if place in self._assignment.places and self._committed.get(place) != offset
        }
        if due:
            self._consumer.commit(due)
            self._committed.update(due)

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. A topic is its own history: there is nothing to read beside it."""
        raise UserError(
            f"{request.action} cannot be asked of a Kafka source",
            hint="headwater source resnapshot reads all topics again",
        )

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """Messages, not bytes, up to the end of our partitions; None if that is not known yet."""
        return self._assignment.lag(self._consumer.watermarks)

    def close(self) -> None:
        """See `Reader.close`."""
        self._consumer.close()


def _messages(taken: Taken, rows: np.ndarray) -> pa.RecordBatch:
    columns = [
        taken.values(rows),
        taken.keys(rows),
        taken.headers(rows),
        taken.times(rows),
        taken.partition_names(rows),
        pa.array(taken.offsets(rows)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MESSAGE_SCHEMA)
