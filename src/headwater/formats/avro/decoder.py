"""Avro messages to Arrow columns: by the schema that each message names, or by one that the settings give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from headwater.errors import UserError
from headwater.formats import confluent_frame
from headwater.formats.arrays import build
from headwater.formats.avro import kernels
from headwater.formats.avro.program import Program, compile_schema
from headwater.formats.avro.references import parse_registered
from headwater.formats.avro.schema import AvroSchemaError, parse
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.decoder import Bad, Decoded
from headwater.formats.merging import merge
from headwater.formats.nodes import Arena, Longs
from headwater.formats.schema_source import SchemaSource
from headwater.formats.spans import Spans, spans_of

REASONS: Final[dict[int, tuple[str, str]]] = {
    kernels.TRUNCATED: ("ends_early", "the message ends in it"),
    kernels.BAD_VARINT: ("bad_number", "its number has more than 64 bits"),
    kernels.BAD_LENGTH: ("bad_length", "its length is not possible"),
    kernels.BAD_BRANCH: ("bad_union", "its union has no such branch"),
    kernels.BAD_ENUM: ("bad_enum", "its enum has no such symbol"),
    kernels.BAD_TEXT: ("bad_utf8", "its text is not UTF-8"),
    kernels.OUT_OF_RANGE: ("out_of_range", "its value is out of the range of its type"),
    kernels.TOO_LARGE: ("too_large", "it has far more items than bytes"),
    kernels.TRAILING: ("trailing_bytes", "bytes follow after it"),
    kernels.BAD_BOOLEAN: ("bad_boolean", "its boolean is neither 0 nor 1"),
}
"""Reason of each of the kernels' codes, and what it says of the field."""

AFTER_THE_END: Final = ("trailing_bytes", "bytes follow after the last field")
NO_FRAME: Final = ("no_schema_id", "it does not begin with a zero byte and a schema id; if that is so, `framing: none`")


@dataclass(frozen=True)
class Walked:
    """What one program found in a batch: rows, the number of each one's message, and what is bad."""

    rows: pa.RecordBatch
    message: Longs
    bad: tuple[Bad, ...]


class AvroDecoder:
    """See `headwater.formats.decoder.Decoder`.

    Args:
        settings: framing, and a schema if there is one for all messages.
        registry: where the messages' schemas are.

    Raises:
        UserError: the settings' schema is not valid, or cannot become columns.
    """

    def __init__(self, settings: AvroFormat, registry: SchemaSource | None) -> None:
        self._framed = settings.framing == "confluent"
        self._registry = registry
        self._programs: dict[int, Program | tuple[str, str]] = {}
        self._reader = compile_schema(parse(settings.schema_text)) if settings.schema_text else None
        if not self._framed and self._reader is None:
            raise UserError(
                "Avro messages without a schema id need a schema",
                hint="format: {type: avro, framing: none, schema: ...}",
            )

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        parts, bad = self.read(values)
        rows, message = merge(parts) if parts else (pa.RecordBatch.from_arrays([], names=[]), np.zeros(0, np.int64))
        return Decoded(rows, message, bad=bad, typed=True)

    def read(self, values: pa.BinaryArray) -> tuple[list[tuple[pa.RecordBatch, Longs]], tuple[Bad, ...]]:
        """The rows of each schema that the messages were written with and the number of each row's message; and what
        is bad, ascending."""
        spans = spans_of(values)
        if not self._framed:
            assert self._reader is not None
            found = [walk(self._reader, spans)]
            wrong: list[Bad] = []
        else:
            ids = confluent_frame.schema_ids(spans)
            found = [
                walk(program, confluent_frame.chosen(spans, ids == identifier, confluent_frame.SIZE))
                for identifier in np.unique(ids).tolist()
                if identifier >= 0 and isinstance(program := self._program(identifier), Program)
            ]
            wrong = list(self._without_schema(ids))
        bad = sorted([*wrong, *(each for part in found for each in part.bad)], key=lambda each: each.message)
        return [(part.rows, part.message) for part in found], tuple(bad)

    def _without_schema(self, ids: Longs) -> Iterator[Bad]:
        for number in np.flatnonzero(ids == confluent_frame.NO_FRAME).tolist():
            yield Bad(number, *NO_FRAME)
        refused = [i for i, program in self._programs.items() if not isinstance(program, Program)]
        for number in np.flatnonzero(np.isin(ids, refused)).tolist():
            found = self._programs[int(ids[number])]
            assert not isinstance(found, Program)
            yield Bad(number, *found)
        for identifier in refused:
            del self._programs[identifier]  # it may be registered by the time of a replay

    def _program(self, identifier: int) -> Program | tuple[str, str]:
        if identifier not in self._programs:
            self._programs[identifier] = self._compiled(identifier)
        return self._programs[identifier]

    def _compiled(self, identifier: int) -> Program | tuple[str, str]:
        if self._registry is None:
            raise UserError("messages name their schemas by id, and there is no registry to ask")
        found = self._registry.schema(identifier)
        if found is None:
            return "unknown_schema", f"the registry has no schema {identifier}"
        if found.type != "AVRO":
            return "unknown_schema", f"schema {identifier} is one of {found.type}"
        try:
            return compile_schema(parse_registered(found, self._registry))
        except AvroSchemaError as error:
            return "bad_schema", f"schema {identifier}: {error}"


def most_entries(size: int) -> int:
    """So many entries of all columns together may records have that lie in so many bytes one after the other."""
    return kernels.FREE_CHAINED + kernels.CHAINED_PER_BYTE * size


def walk(program: Program, spans: Spans, *, chained: bool = False) -> Walked:
    """Decodes messages that were all written with one schema.

    Args:
        program: of the schema.
        spans: the messages.
        chained: see `kernels.walk`; `spans` is written.
    """
    count = len(spans.starts)
    arena = _arena(program, count)
    standing, numbers, bad = np.zeros(5, np.int64), np.empty(count, np.int64), np.empty((count, 3), np.int64)
    limits = kernels.decimal_limits()
    code = (program.ops, program.targets, program.nulls, program.item)
    while True:
        room = (arena.starts, arena.room, arena.counts, arena.values, arena.valid)
        outcome = kernels.walk(
            spans.data, spans.starts, spans.ends, chained, code, room, program.depth, limits, standing, numbers, bad
        )
        if outcome != kernels.GROW:
            break
        arena.grow(int(standing[kernels.NODE]))
    rows = int(standing[kernels.ROWS])
    children = [build(child, arena, spans.data) for child in program.root.children]
    names = [field.name for field in program.root.type]
    made = pa.RecordBatch.from_arrays(children, names=names) if children else _no_columns(rows)
    wrong = bad[: standing[kernels.BAD]].tolist()
    return Walked(made, numbers[:rows], tuple(_bad(program, *each) for each in wrong))


def _no_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _arena(program: Program, count: int) -> Arena:
    """Room for so many messages: as much as they need, but for what is below lists, which is guessed."""
    once = {node.id for node in program.root.closure()}
    return Arena.of([count if node.id in once else 2 * count for node in program.nodes])


def _bad(program: Program, message: int, code: int, place: int) -> Bad:
    reason, text = REASONS[code]
    node = int(program.ops[place, 1])
    path = program.nodes[node].path if node >= 0 else ""
    if code == kernels.TRAILING:
        return Bad(message, *AFTER_THE_END)
    return Bad(message, reason, f"{path or 'the message'}: {text}")
