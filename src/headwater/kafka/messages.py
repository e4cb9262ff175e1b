"""Messages of librdkafka as Arrow columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.kafka import kernels
from headwater.kafka.librdkafka import address, library

Longs = NDArray[np.int64]
PARTITIONS = 64
LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class Failure:
    """An error that came in a message's place."""

    code: int
    topic: str
    partition: int
    offset: int
    text: str


class Taken:
    """Messages that librdkafka has handed over, until `release`.

    Args:
        messages: their addresses.

    Attributes:
        places: topic and partition, by their number in `found`.
        found: what `kernels.survey` says of each.
    """

    def __init__(self, messages: Longs) -> None:
        self._messages = messages
        self._scratch = np.zeros(4, np.int64)
        self.found = np.empty((len(messages), kernels.FIELDS), np.int64)
        pairs = np.empty((PARTITIONS, 2), np.int64)
        time_of = address("rd_kafka_message_timestamp")
        while (count := kernels.survey(messages, time_of, self._scratch.ctypes.data, self.found, pairs)) < 0:
            pairs = np.empty((4 * len(pairs), 2), np.int64)
        name_of = library().rd_kafka_topic_name
        self.places = [
            (name_of(topic).decode() if topic else "", partition) for topic, partition in pairs[:count].tolist()
        ]

    def failures(self) -> list[Failure]:
        """The errors among them."""
        rows = np.flatnonzero(self.found[:, kernels.ERROR])
        return [self._failure(row) for row in rows.tolist()]

    def _failure(self, row: int) -> Failure:
        code, slot, offset, _, text, size, *_ = self.found[row].tolist()
        said = _bytes_at(text, size).decode(errors="replace") if text else ""
        topic, partition = self.places[slot]
        return Failure(code, topic, partition, offset, said)

    def fresh(self, expected: Callable[[str, int], int]) -> tuple[Longs, Longs]:
        """Numbers of the messages that are no errors and come at or after the offset expected of their partition, and
        the offsets expected after them, by place."""
        after = np.array([expected(*place) for place in self.places], np.int64)
        keep = np.empty(len(self.found), np.int64)
        return keep[: kernels.fresh(self.found, after, keep)], after

    def topics(self, rows: Longs) -> dict[str, Longs]:
        """Some messages' numbers by topic, in order."""
        names = sorted({topic for topic, _ in self.places})
        if len(names) == 1:
            return {names[0]: rows} if len(rows) else {}
        of_slot = np.array([names.index(topic) for topic, _ in self.places])
        of_row = of_slot[self.found[rows, kernels.SLOT]]
        parts = {name: rows[of_row == number] for number, name in enumerate(names)}
        return {name: part for name, part in parts.items() if len(part)}

    def values(self, rows: Longs) -> pa.Array:
        """Values of messages: binary."""
        return self._gathered(rows, kernels.VALUE)

    def keys(self, rows: Longs) -> pa.Array:
        """Keys of messages: binary."""
        return self._gathered(rows, kernels.KEY)

    def partitions(self, rows: Longs) -> Longs:
        """Partitions of messages."""
        numbers = np.array([partition for _, partition in self.places], np.int64)
        return cast(Longs, numbers[self.found[rows, kernels.SLOT]])

    def partition_names(self, rows: Longs) -> pa.Array:
        """The same as text."""
        names = pa.array([str(partition) for _, partition in self.places])
        return names.take(pa.array(self.found[rows, kernels.SLOT]))

    def offsets(self, rows: Longs) -> Longs:
        """Offsets of messages."""
        return cast(Longs, self.found[rows, kernels.OFFSET])

    def times(self, rows: Longs) -> pa.Array:
        """Times of messages: timestamp[us, UTC], null where there is none."""
        times = self.found[rows, kernels.TIME]
        return pa.array(times * 1000, pa.timestamp("us", tz="UTC"), mask=times < 0)

    def headers(self, rows: Longs) -> pa.Array:
        """Headers of messages: map<string, binary>, null where there are none; a name may stand more than once."""
        kind = pa.map_(pa.string(), pa.binary())
        functions = np.array(
            [address(f"rd_kafka_{name}") for name in ("message_headers", "header_cnt", "header_get_all")], np.int64
        )
        counts = np.empty(len(rows), np.int64)
        total = kernels.headers_of(self._messages, rows, functions, self._scratch.ctypes.data, counts)
        if not total:
            return pa.nulls(len(rows), kind)
        listed = np.zeros((total, 2, 2), np.int64)
        kernels.list_headers(self._messages, rows, functions, self._scratch.ctypes.data, listed.reshape(total, 4))
        everything = np.arange(total)
        names, values = (np.zeros((total, kernels.FIELDS), np.int64) for _ in range(2))
        for table, part in ((names, 0), (values, 1)):
            table[:, kernels.VALUE], table[:, kernels.VALUE_SIZE] = listed[:, part, 0], listed[:, part, 1]
        keys = _text(_gather(names, everything, kernels.VALUE))
        bounds = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        mask = pa.array(counts == 0)
        return pa.MapArray.from_arrays(
            pa.array(bounds), keys, _gather(values, everything, kernels.VALUE), type=kind, mask=mask
        )

    def release(self) -> None:
        """Gives them back."""
        kernels.release(self._messages, address("rd_kafka_message_destroy"))

    def _gathered(self, rows: Longs, column: int) -> pa.Array:
        return _gather(self.found, rows, column)


def _gather(found: np.ndarray, rows: Longs, column: int) -> pa.Array:
    sizes = found[rows, column + 1]
    if int(sizes.sum()) > LARGEST:
        raise ValueError("more than 2 GiB of messages at once")
    begin = np.empty(len(rows) + 1, np.int32)
    kernels.starts(found, rows, column, begin)
    data, valid = np.empty(int(begin[-1]), np.uint8), np.empty(len(rows), np.uint8)
    kernels.fill(found, rows, column, begin, data, valid)
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(), len(rows), [bits, pa.py_buffer(begin), pa.py_buffer(data)])


def _text(names: pa.Array) -> pa.Array:
    """Names of headers, of which Kafka says that they are UTF-8; what is not has its odd bytes replaced."""
    try:
        return names.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([name.decode(errors="replace") for name in names.to_pylist()], pa.string())


def _bytes_at(place: int, size: int) -> bytes:
    import ctypes

    return ctypes.string_at(place, size)
