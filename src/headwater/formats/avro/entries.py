"""Arrow columns as entries of a program's nodes: what `arrays.build` reads, made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import UserError
from headwater.formats.avro.program import Program
from headwater.formats.nodes import Bytes, Longs, Node
from headwater.formats.spans import spans_of

_NUMBERS: Final = {
    "int": (pa.int32(), 1),
    "long": (None, 1),
    "date": (pa.date32(), 1),
    "time_ms": (pa.time64("us"), 1000),
    "moment_ms": (None, 1000),
}
"""The type to cast to, None for the node's own, and how many of ours are one of theirs."""


@dataclass
class Entries:
    """Entries by node, and the bytes that spans point into."""

    values: dict[int, Longs] = field(default_factory=dict)
    valid: dict[int, Bytes] = field(default_factory=dict)
    parts: list[Bytes] = field(default_factory=list)
    size: int = 0

    def add(self, node: Node, values: pa.Array) -> None:
        """Adds the entries of a column, and of what is inside of it.

        Raises:
            UserError: the column does not fit the schema.
        """
        try:
            self._add(node, values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise UserError(f"the column {node.path} does not fit the schema: {error}") from error

    def _add(self, node: Node, values: pa.Array) -> None:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        self.valid[node.id] = values.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8)
        self.values[node.id] = np.zeros(len(values), np.int64)
        if node.kind in ("list", "map"):
            self._lists(node, values)
        elif node.kind == "struct":
            self._structs(node, values)
        elif node.kind in ("string", "bytes", "decimal"):
            self._bytes(node, values)
        elif node.kind != "null":
            self.values[node.id] = _numbers(node, values)

    def _lists(self, node: Node, values: pa.Array) -> None:
        if node.kind == "map":
            kind = values.type
            pair = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
            values = values.cast(pa.list_(pair))
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        self.values[node.id] = np.cumsum(lengths.to_numpy(zero_copy_only=False)).astype(np.int64)
        items = values.flatten()
        for child, inner in zip(node.children, items.flatten() if node.kind == "map" else (items,), strict=True):
            self._add(child, inner)

    def _structs(self, node: Node, values: pa.Array) -> None:
        if not pa.types.is_struct(values.type):
            raise UserError(f"the column {node.path} is to be a record and is of type {values.type}")
        given = dict(zip((each.name for each in values.type), values.flatten(), strict=True))
        for child, wanted in zip(node.children, node.type, strict=True):
            self._add(child, given.get(wanted.name, pa.nulls(len(values))))

    def _bytes(self, node: Node, values: pa.Array) -> None:
        if node.kind == "decimal":
            values = _big_endian(values.cast(node.type))
        spans = spans_of(values.cast(pa.string() if node.kind == "string" else pa.binary()))
        lengths = np.maximum(spans.ends - spans.starts, 0)
        self.values[node.id] = (spans.starts + self.size) << 32 | lengths
        self.parts.append(spans.data)
        self.size += len(spans.data)
        if self.size > 0x7FFFFFFF:
            raise pa.ArrowInvalid("more than 2 GiB in one batch")

    def arena(self, program: Program) -> tuple[Longs, Longs, Longs, Longs, Bytes]:
        """All entries as the kernels have them."""
        sizes = np.array([len(self.values[node.id]) for node in program.nodes], np.int64)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        values = np.concatenate([self.values[node.id] for node in program.nodes] or [np.zeros(0, np.int64)])
        valid = np.concatenate([self.valid[node.id] for node in program.nodes] or [np.zeros(0, np.uint8)])
        return starts, sizes, np.zeros(len(sizes), np.int64), values, valid

    def data(self) -> Bytes:
        """What spans point into."""
        return np.concatenate([*self.parts, np.zeros(1, np.uint8)])


def _numbers(node: Node, values: pa.Array) -> Longs:
    kind = node.kind
    if kind == "enum":
        found = pc.index_in(values.cast(pa.string()), pa.array(node.names, pa.string()))
        if found.null_count > values.null_count:
            raise UserError(f"the column {node.path} has a value that is no symbol of the schema's enum")
        return _longs(found.fill_null(0))
    if kind == "boolean":
        return _longs(values.cast(pa.bool_()).fill_null(False))
    if kind in ("float", "double"):
        bits, plain = (np.uint32, pa.float32()) if kind == "float" else (np.int64, pa.float64())
        found = values.cast(plain).fill_null(0).to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(found).view(bits).astype(np.int64)
    if kind not in _NUMBERS:
        raise UserError(f"{node.path}: a schema for writing cannot have this type", hint="fixed types are only read")
    to, by = _NUMBERS[kind]
    moments = values.cast(to or node.type)
    narrow = pa.types.is_int32(moments.type) or pa.types.is_date32(moments.type)
    return _longs(moments.view(pa.int32() if narrow else pa.int64()).fill_null(0), by)


def _longs(values: pa.Array, by: int = 1) -> Longs:
    found: Longs = values.to_numpy(zero_copy_only=False).astype(np.int64) // by
    return found


def _big_endian(values: pa.Array) -> pa.Array:
    """Decimals as 16 bytes each, in two's complement, the great end first."""
    data = np.frombuffer(values.buffers()[1], np.uint8)[16 * values.offset : 16 * (values.offset + len(values))]
    turned = np.ascontiguousarray(data.reshape(-1, 16)[:, ::-1])
    offsets = np.arange(0, 16 * len(values) + 1, 16, dtype=np.int32)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(), len(values), [bitmap, pa.py_buffer(offsets), pa.py_buffer(turned)])
