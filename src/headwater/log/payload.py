"""What stands in a frame's payload: schemas, Arrow record batches and commits, to bytes and back.

Rows are one encapsulated Arrow IPC record batch message, uncompressed, as `pyarrow` writes it; it is read back
in place, without a copy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from headwater.change import REJECT_SCHEMA, Group, log_schema
from headwater.errors import InvariantBroken
from headwater.log.frame import ALIGNMENT, Bytes
from headwater.position import Boundary, Position
from headwater.schema import StreamSchema

COPIED_BYTES = 1 << 18
"""Rows smaller than this are copied, which takes less time than to name their buffers one by one."""

_LENGTHS = struct.Struct("<II")


@dataclass(frozen=True)
class StreamCounts:
    """How many records of one stream the partition has taken since it began.

    Attributes:
        changes: change rows in the log.
        rejects: records that could not be decoded, in the log as rejects.
        filtered: records read and left out on purpose.
    """

    changes: int = 0
    rejects: int = 0
    filtered: int = 0

    def plus(self, changes: int = 0, rejects: int = 0, filtered: int = 0) -> StreamCounts:
        """The counts after so many more."""
        return StreamCounts(self.changes + changes, self.rejects + rejects, self.filtered + filtered)


Counts = Mapping[str, StreamCounts]
"""Cumulative counts by stream name."""


@dataclass(frozen=True)
class Commit:
    """The payload of a COMMIT frame: where the group ends and what has been counted up to there."""

    boundary: Boundary
    filtered: Mapping[str, int]
    counts: Counts


def advance(counts: Counts, group: Group) -> dict[str, StreamCounts]:
    """The counts after `group`."""
    after = dict(counts)
    for batch in group.batches:
        after[batch.stream.name] = after.get(batch.stream.name, StreamCounts()).plus(changes=len(batch))
    if group.rejects is not None:
        for entry in group.rejects.column("stream").value_counts().to_pylist():
            after[entry["values"]] = after.get(entry["values"], StreamCounts()).plus(rejects=entry["counts"])
    for stream, filtered in group.filtered.items():
        after[stream] = after.get(stream, StreamCounts()).plus(filtered=filtered)
    return after


def check_group(group: Group) -> None:
    """Refuses rows that would not come back from the log as they went in.

    Raises:
        InvariantBroken: a batch does not have the columns of its stream, or a column is dictionary-encoded.
    """
    for batch in group.batches:
        _check_rows(batch.rows, log_schema(batch.stream), f"stream {batch.stream.name!r}")
    if group.rejects is not None:
        _check_rows(group.rejects, REJECT_SCHEMA, "rejects")


def _check_rows(rows: pa.RecordBatch, expected: pa.Schema, what: str) -> None:
    if not rows.schema.equals(expected):
        raise InvariantBroken(f"{what}: a batch's columns {rows.schema.names} or types are not those of the log")
    encoded = [field.name for field in expected if _is_encoded(field.type)]
    if encoded:
        raise InvariantBroken(f"{what}: columns {encoded} are dictionary-encoded, which the log does not store")


def _is_encoded(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_is_encoded(kind.field(index).type) for index in range(kind.num_fields))


def encode_rows(rows: pa.RecordBatch) -> tuple[int, list[Bytes]]:
    """An Arrow IPC record batch message in parts, and how many zero bytes must stand before it so that its body is
    aligned. The parts of a large one are the rows' own memory, which nobody copies before the file has it."""
    parts: list[Bytes] = [memoryview(rows.serialize())] if rows.nbytes < COPIED_BYTES else _in_place(rows)
    head = b"".join(bytes(part[: _LENGTHS.size]) for part in parts[: _LENGTHS.size])[: _LENGTHS.size]
    _, metadata_bytes = _LENGTHS.unpack(head)
    return -(_LENGTHS.size + metadata_bytes) % ALIGNMENT, parts


class _Parts:
    """A file that keeps what is written to it as it comes."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[Bytes] = []

    def write(self, data: bytes | pa.Buffer) -> int:
        self.parts.append(memoryview(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _in_place(rows: pa.RecordBatch) -> list[Bytes]:
    """What `rows.serialize()` would copy: a stream of the rows without the schema that it begins with."""
    sink = _Parts()
    with pa.PythonFile(sink, "w") as file:
        pa.ipc.new_stream(file, rows.schema).write_batch(rows)
    schema_bytes, at = rows.schema.serialize().size, 0
    while schema_bytes > 0:
        schema_bytes -= len(sink.parts[at])
        at += 1
    if schema_bytes:
        raise InvariantBroken("Arrow wrote a stream that does not begin with its schema")
    return sink.parts[at:]


def decode_rows(message: memoryview, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a message, their buffers lying in `message` itself."""
    return pa.ipc.read_record_batch(pa.py_buffer(message), schema)


def encode_stream(stream: StreamSchema) -> bytes:
    """Name, key and changelog as JSON (its length first, u32), then the Arrow IPC schema message of the columns."""
    head = _json({"name": stream.name, "key": list(stream.key), "changelog": stream.changelog})
    return b"".join([len(head).to_bytes(4, "little"), head, stream.columns.serialize().to_pybytes()])


def decode_stream(payload: memoryview) -> StreamSchema:
    """The inverse of `encode_stream`."""
    ends = 4 + int.from_bytes(payload[:4], "little")
    head = json.loads(bytes(payload[4:ends]))
    columns = pa.ipc.read_schema(pa.py_buffer(payload[ends:]))
    return StreamSchema(head["name"], columns, tuple(head["key"]), head["changelog"])


def encode_commit(commit: Commit) -> bytes:
    """A commit as JSON."""
    return _json({"filtered": dict(commit.filtered), **_state(commit.boundary, commit.counts)})


def decode_commit(payload: memoryview) -> Commit:
    """The inverse of `encode_commit`."""
    value = json.loads(bytes(payload))
    return Commit(_boundary(value["boundary"]), value["filtered"], _counts(value["counts"]))


def encode_state(boundary: Boundary | None, counts: Counts) -> bytes:
    """What a segment's header remembers of everything before it, as JSON."""
    return _json(_state(boundary, counts))


def decode_state(payload: bytes) -> tuple[Boundary | None, Counts]:
    """The inverse of `encode_state`."""
    value = json.loads(payload)
    boundary = value["boundary"]
    return (_boundary(boundary) if boundary is not None else None), _counts(value["counts"])


def _state(boundary: Boundary | None, counts: Counts) -> dict[str, object]:
    return {
        "boundary": boundary
        and {
            "position": [boundary.position.commit, boundary.position.ordinal],
            "resume": boundary.resume,
            "commit_time_us": boundary.commit_time_us,
            "snapshot": boundary.snapshot,
        },
        "counts": {name: [count.changes, count.rejects, count.filtered] for name, count in counts.items()},
    }


def _boundary(value: dict[str, Any]) -> Boundary:
    position = Position(*value["position"])
    return Boundary(position, value["resume"], value["commit_time_us"], value["snapshot"])


def _counts(value: dict[str, list[int]]) -> dict[str, StreamCounts]:
    return {name: StreamCounts(*counts) for name, counts in value.items()}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
