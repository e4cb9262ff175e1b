"""Arrow rows as Avro messages, written by one compiled walk over all of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.errors import UserError
from headwater.formats import confluent_frame
from headwater.formats.avro.derived import schema_of
from headwater.formats.avro.entries import Entries
from headwater.formats.avro.program import DECIMAL, FIXED, NULLS, UNION, WIDEN, Program, compile_schema
from headwater.formats.avro.schema import parse
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.avro.writing_kernels import NULL_BRANCH, VALUE_BRANCH, write
from headwater.formats.encoder import ValueRefused
from headwater.formats.nodes import Longs
from headwater.formats.schema_source import SchemaSource, SchemaText

_BYTES_PER_ENTRY = 22
"""Most that an entry takes besides its text: a number, its union's branch, a list's count and end."""


class AvroEncoder:
    """See `headwater.formats.encoder.Encoder`. Without a schema in the settings the columns' own is registered.

    Args:
        settings: framing, schema and subject.
        registry: where the schema is registered; not needed without framing.
        subject: under which, if the settings do not say it.

    Raises:
        UserError: the settings' schema is not valid, or there is no subject or registry.
    """

    def __init__(self, settings: AvroFormat, registry: SchemaSource | None, subject: str = "") -> None:
        self._given = settings.schema_text
        self._subject = settings.subject or subject
        self._registry = registry if settings.framing == "confluent" else None
        if settings.framing == "confluent" and registry is None:
            raise UserError(
                "Avro messages with the id of their schema need a registry to have it from",
                hint="format: {type: avro, registry: {url: ...}}; the project's own is at /registry of its api",
            )
        if settings.framing == "confluent" and not self._subject:
            raise UserError(
                "the schema of Avro messages needs a subject to be registered under",
                hint="format: {type: avro, subject: NAME-value}",
            )
        self._known: tuple[pa.Schema, Program, bytes] | None = None

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """See `Encoder.encode`."""
        program, head = self._prepared(rows.schema)
        given = rows.combine_chunks().to_batches()
        batch = given[0].to_struct_array() if given else pa.array([], pa.struct(list(rows.schema)))
        entries = Entries()
        entries.add(program.root, batch)
        arena, data = entries.arena(program), entries.data()
        out = np.empty(len(data) + _BYTES_PER_ENTRY * len(arena[3]) + (len(head) + 1) * len(batch), np.uint8)
        ends = np.zeros(len(batch), np.int64)
        code = (_branches(program), program.targets, program.nulls, program.item)
        null = write(code, arena, program.depth, data, np.frombuffer(head, np.uint8), out, ends)
        if null >= 0:
            raise ValueRefused(f"the column {program.nodes[null].path} is null, which its schema does not allow")
        offsets = np.concatenate(([0], ends))
        if offsets[-1] > 0x7FFFFFFF:
            raise UserError("a batch of messages is larger than 2 GiB")
        buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(out[: offsets[-1]].copy())]
        return pa.Array.from_buffers(pa.binary(), len(batch), buffers)

    def _prepared(self, columns: pa.Schema) -> tuple[Program, bytes]:
        """The program for these columns, and what stands before each message."""
        if self._known is None or self._known[0] != columns:
            text = self._given or schema_of(columns, self._subject.removesuffix("-value").rpartition(".")[2])
            program = compile_schema(parse(text))
            if self._given:
                lacking = [each.name for each in program.root.type if each.name not in columns.names]
                extra = [name for name in columns.names if program.root.type.get_field_index(name) < 0]
                if lacking or extra:
                    raise UserError(f"the schema and the columns differ in {', '.join([*lacking, *extra])}")
            head = b""
            if self._registry is not None:
                head = confluent_frame.header(self._registry.register(self._subject, SchemaText(0, "AVRO", text)))
            self._known = (columns, program, head)
        return self._known[1], self._known[2]


def _branches(program: Program) -> Longs:
    """The operations, with the branch for null and the one for a value noted at each union."""
    ops = program.ops.copy()
    for op, node, size in ops[:, :3].tolist():
        if op == FIXED or (op == DECIMAL and size >= 0):
            raise UserError(f"{program.nodes[node].path}: a fixed type can only be read", hint="use bytes or string")
    for place in np.flatnonzero(ops[:, 0] == UNION).tolist():
        targets = program.targets[ops[place, 3] : ops[place, 3] + ops[place, 2]].tolist()
        nulls = [number for number, target in enumerate(targets) if ops[target, 0] == NULLS]
        rest = [number for number in range(len(targets)) if number not in nulls]
        many = len({int(ops[targets[number], 1]) for number in rest}) > 1
        shared = len(rest) > 1 and program.nodes[int(ops[place, 1])].kind == "struct"
        if many or shared:
            raise UserError(f"{program.nodes[int(ops[place, 1])].path}: a union of several types can only be read")
        ops[place, NULL_BRANCH] = nulls[0] if nulls else -1
        widest = max(rest, key=lambda number: (ops[targets[number], 0] != WIDEN, ops[targets[number], 3]), default=-1)
        ops[place, VALUE_BRANCH] = widest
    return ops
