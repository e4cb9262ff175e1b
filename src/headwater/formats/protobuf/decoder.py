"""Protocol Buffers messages to Arrow columns: by the schema that each message names, or by the settings' schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import UserError
from headwater.formats import confluent_frame
from headwater.formats.arrays import build
from headwater.formats.decoder import Bad, Decoded
from headwater.formats.merging import merge
from headwater.formats.nodes import Arena, Longs
from headwater.formats.protobuf import kernels
from headwater.formats.protobuf.program import Program, ProtobufSchemaError, compile_message
from headwater.formats.protobuf.schema import files_of, message_at
from headwater.formats.protobuf.settings import ProtobufFormat
from headwater.formats.protobuf.source import configured
from headwater.formats.schema_source import SchemaSource
from headwater.formats.spans import Spans, spans_of

REASONS: Final[dict[int, tuple[str, str]]] = {
    kernels.TRUNCATED: ("ends_early", "the message ends in it"),
    kernels.BAD_VARINT: ("bad_number", "a number has more than 64 bits"),
    kernels.BAD_LENGTH: ("bad_length", "its length is not possible"),
    kernels.BAD_TAG: ("bad_tag", "what follows is not the beginning of a field"),
    kernels.BAD_GROUP: ("bad_group", "a group does not end as it began"),
    kernels.BAD_TEXT: ("bad_utf8", "its text is not UTF-8"),
    kernels.OUT_OF_RANGE: ("out_of_range", "its value is out of the range of its type"),
    kernels.TOO_LARGE: ("too_large", "it has far more items than bytes"),
    kernels.MISSING: ("required_missing", "it is required and missing"),
    kernels.ONEOF_TWICE: ("oneof_twice", "it was set, replaced by another member of its oneof, and set again"),
}
"""Reason of each of the kernels' codes, and what it says of the field."""

NO_FRAME: Final = ("no_schema_id", "it does not begin with a zero byte and a schema id; if that is so, `framing: none`")
NO_PATH: Final = ("bad_message_index", "it does not say rightly which message type of its schema it is")
MAX_PATH: Final = 100

Key = tuple[int, bytes]
"""A schema's id, and the bytes that say which of its message types."""


class ProtobufDecoder:
    """See `headwater.formats.decoder.Decoder`.

    Args:
        settings: framing, and a schema if there is one for all messages.
        registry: where the messages' schemas are.

    Raises:
        UserError: the settings' schema is not valid, or cannot become columns.
    """

    def __init__(self, settings: ProtobufFormat, registry: SchemaSource | None) -> None:
        self._registry = registry
        self._programs: dict[Key, Program | tuple[str, str]] = {}
        self._bare = None if settings.framing == "confluent" else compile_message(configured(settings))

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        spans = spans_of(values)
        if self._bare is not None:
            rows, message, bad = walk(self._bare, spans)
            return Decoded(rows, message, bad=tuple(bad))
        ids = confluent_frame.schema_ids(spans)
        parts, wrong = (
            [],
            [Bad(number, *NO_FRAME) for number in np.flatnonzero(ids == confluent_frame.NO_FRAME).tolist()],
        )
        for identifier in np.unique(ids[ids >= 0]).tolist():
            for path, numbers in _paths(spans, ids == identifier):
                if path is None:
                    wrong += [Bad(number, *NO_PATH) for number in numbers.tolist()]
                    continue
                program = self._program((identifier, path))
                if not isinstance(program, Program):
                    wrong += [Bad(number, *program) for number in numbers.tolist()]
                    continue
                mask = np.zeros(len(ids), np.bool_)
                mask[numbers] = True
                rows, message, bad = walk(
                    program, confluent_frame.chosen(spans, mask, confluent_frame.SIZE + len(path))
                )
                parts.append((rows, message))
                wrong += bad
        rows, message = merge(parts) if parts else (pa.RecordBatch.from_arrays([], names=[]), np.zeros(0, np.int64))
        return Decoded(rows, message, bad=tuple(sorted(wrong, key=lambda each: each.message)))

    def _program(self, key: Key) -> Program | tuple[str, str]:
        if key in self._programs:
            return self._programs[key]
        made = self._compiled(*key)
        if isinstance(made, Program):  # what is missing may be registered by the time of a replay
            self._programs[key] = made
        return made

    def _compiled(self, identifier: int, path: bytes) -> Program | tuple[str, str]:
        if self._registry is None:
            raise UserError("messages name their schemas by id, and there is no registry to ask")
        found = self._registry.schema(identifier)
        if found is None:
            return "unknown_schema", f"the registry has no schema {identifier}"
        if found.type != "PROTOBUF":
            return "unknown_schema", f"schema {identifier} is one of {found.type}"
        try:
            file = files_of(found, self._registry)
        except ProtobufSchemaError as error:
            return "bad_schema", f"schema {identifier}: {error}"
        try:
            return compile_message(message_at(file, read_path(path) or ()))
        except ProtobufSchemaError as error:
            return NO_PATH[0], f"schema {identifier}: {error}"


def _paths(spans: Spans, mask: NDArray[np.bool_]) -> Iterator[tuple[bytes | None, Longs]]:
    """The index paths of some messages as they are written, each with the messages that have it; None for what is no
    path. Nearly always it is one byte, 0: the first message type."""
    numbers = np.flatnonzero(mask)
    starts, ends = spans.starts[numbers] + confluent_frame.SIZE, spans.ends[numbers]
    first = np.where(starts < ends, spans.data[np.minimum(starts, len(spans.data) - 1)], 1)
    if (first == 0).any():
        yield b"\0", numbers[first == 0]
    found: dict[bytes | None, list[int]] = {}
    for number, start, end in zip(numbers[first != 0], starts[first != 0], ends[first != 0], strict=True):
        head = spans.data[start : min(end, start + 10 * MAX_PATH)].tobytes()
        found.setdefault(_path_bytes(head), []).append(int(number))
    for path, of in found.items():
        yield path, np.array(of, np.int64)


def _path_bytes(head: bytes) -> bytes | None:
    """How much of a message's beginning its index path is: a count, then so many indexes, zigzag numbers all."""
    count, at = _zigzag(head, 0)
    if not 0 < count <= MAX_PATH:
        return None
    for _ in range(count):
        index, at = _zigzag(head, at)
        if index < 0:
            return None
    return head[:at]


def read_path(path: bytes) -> Sequence[int] | None:
    """The indexes of a path as it is written; one zero byte is short for the first message type."""
    if path == b"\0":
        return (0,)
    count, at = _zigzag(path, 0)
    found = []
    for _ in range(count):
        index, at = _zigzag(path, at)
        found.append(index)
    return found


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    """A number, -1 if there is none, and the offset after it."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            return -1, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at
    return -1, at


def walk(program: Program, spans: Spans) -> tuple[pa.RecordBatch, Longs, list[Bad]]:
    """Decodes messages that are all of one type: rows, the number of each one's message, and what is bad."""
    count = len(spans.starts)
    once = {node.id for node in program.root.closure()}
    arena = Arena.of([count if node.id in once else 2 * count for node in program.nodes])
    standing, numbers, wrong = np.zeros(5, np.int64), np.empty(count, np.int64), np.empty((count, 3), np.int64)
    tables = (program.fields, program.frames, program.opens, program.oneofs)
    while True:
        room = (arena.starts, arena.room, arena.counts, arena.values, arena.valid)
        outcome = kernels.walk(
            spans.data, spans.starts, spans.ends, tables, room, program.depth, standing, numbers, wrong
        )
        if outcome == kernels.DONE:
            break
        arena.grow(int(standing[kernels.WANTS_ROOM]))
    rows = int(standing[kernels.ROWS])
    columns = build(program.root, arena, spans.data)
    bad = [_bad(program, *each) for each in wrong[: standing[kernels.BAD]].tolist()]
    return pa.RecordBatch.from_struct_array(columns), numbers[:rows], bad


def _bad(program: Program, message: int, code: int, place: int) -> Bad:
    reason, text = REASONS[code]
    path = program.nodes[place].path if 0 <= place < len(program.nodes) else ""
    return Bad(message, reason, f"{path or 'the message'}: {text}")
