"""Topics on a real broker, written by confluent-kafka, and read by a Kafka source."""

import itertools
import json
import threading

import pyarrow as pa
from confluent_kafka import Producer

from headwater.capture.kafka.settings import KafkaSettings
from headwater.capture.kafka.source import KafkaSource
from headwater.capture.messages.shaping import SchemasInMemory
from headwater.clock import SystemClock

DEADLINE_S = 60.0
_numbers = itertools.count(1)


class Topics:
    """A broker with topics of the test's own: `name` is the beginning of them all."""

    def __init__(self, server):
        self.server = server
        self.name = f"t{next(_numbers)}"
        self._producer = None
        self._readers = []
        self.schemas = SchemasInMemory()

    def topic(self, name, partitions=1, **config):
        """Makes a topic; returns its name."""
        whole = f"{self.name}.{name}"
        config = {"retention_ms": -1, **config}
        self.server.make_topic(whole, partitions, {key.replace("_", "."): str(value) for key, value in config.items()})
        return whole

    def send(self, topic, *values, partition=0, key=None, headers=None, time_ms=None):
        """Sends messages: dicts as JSON, bytes as they are, None as a tombstone."""
        if self._producer is None:
            self._producer = Producer({"bootstrap.servers": self.server.servers, "linger.ms": 1, "log_level": 0})
        times = {} if time_ms is None else {"timestamp": time_ms}
        for value in values:
            sent = json.dumps(value).encode() if isinstance(value, dict) else value
            self._producer.produce(topic, sent, key, partition=partition, headers=headers, **times)
        assert self._producer.flush(DEADLINE_S) == 0

    def forget_partitions(self):
        """Topics have got more partitions."""
        self._producer = None

    def source(self, topics, identity="a", **settings):
        """A source of topics."""
        made = KafkaSettings.model_validate(
            {"servers": self.server.servers, "topics": topics, "metadata_refresh_s": 1, **settings}
        )
        source = KafkaSource(self.name, made, project="test", identity=identity)
        source.schemas = self.schemas
        return source

    def open(self, source, resume=None, decision=None):
        """A reading, closed with the test."""
        reader = source.open(resume, decision)
        self._readers.append(reader)
        return reader

    def close(self):
        for reader in self._readers:
            reader.close()


def read_until(reader, enough, deadline_s=DEADLINE_S):
    """Groups until `enough(groups)`."""
    clock = SystemClock()
    end = clock.monotonic_s() + deadline_s
    groups = []
    while not enough(groups):
        group = reader.poll(0.05)
        if group is not None:
            groups.append(group)
        assert clock.monotonic_s() < end, f"{len(groups)} groups, {sum(map(len, groups))} records: not enough"
    return groups


def read_records(reader, count):
    """Groups until they have so many records, and all is read."""
    groups = read_until(reader, lambda groups: sum(map(len, groups)) >= count)
    return groups + read_to_end(reader)


def read_to_end(reader):
    """Groups until nothing is left."""
    groups = read_until(reader, lambda _: reader.lag_bytes() == 0)
    more = reader.poll(0.05)
    return groups + ([more] if more is not None else [])


def rows_of(groups, stream):
    """Rows of a stream as dicts, in order."""
    batches = [batch.rows for group in groups for batch in group.batches if batch.stream.name == stream]
    return [row for batch in batches for row in batch.to_pylist()]


def last_resume(groups):
    """Where the last group ends."""
    return groups[-1].boundary.resume


def rejects_of(groups):
    """Rejects as dicts."""
    found = [group.rejects for group in groups if group.rejects is not None]
    return pa.Table.from_batches(found).to_pylist() if found else []


def wait_until(condition, what):
    """Waits for a condition."""
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic_s() + DEADLINE_S
    while not condition():
        assert clock.monotonic_s() < end, what
        clock.wait(never, 0.05)
