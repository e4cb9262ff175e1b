"""A message type compiled to tables of fields, by which `kernels` reads the messages of a batch.

A *frame* is one place at which a message type stands. All that a message has once (its fields, those of its singular
messages, and so on) is opened together as one row of entries with their defaults, and fields are written to the entries
that are open, in whatever order they come and however often; an item of a repeated message opens a row of its own.

A message that contains itself (`google.protobuf.Struct` does) has no finite table: there it stays bytes. Types:

| Protocol Buffers | column |
|---|---|
| int32, sint32, sfixed32 / int64, sint64, sfixed64 | integer, bigint |
| uint32, fixed32 / uint64, fixed64 | bigint, decimal(20, 0) |
| enum | the value's name; its number in digits if it has none |
| Timestamp, Duration, wrappers | timestamptz (whole microseconds), text ("1.500000000s"), what is wrapped, nullable |
| map, repeated, message, group | map, list, struct, refused |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from headwater.errors import UserError
from headwater.formats.nodes import Longs, Node

INT32, INT64, UINT32, SINT32, SINT64, BOOLEAN, FIXED32, SFIXED32, FIXED64, TEXT, RAW, MESSAGE, CHECKED = range(13)
"""How a value is read; `FIXED64` are 8 bytes as they are, floats are `FIXED32`."""

NUMBER, OP, NODE, FRAME, REPEATED, ONEOF, ONEOF_END, LEAST, MOST, REQUIRED = range(10)
"""Columns of the table of fields."""

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 100

_T = FieldDescriptor
_SCALARS: Final = {
    _T.TYPE_INT32: (INT32, "int", pa.int32()),
    _T.TYPE_INT64: (INT64, "long", pa.int64()),
    _T.TYPE_UINT32: (UINT32, "long", pa.int64()),
    _T.TYPE_UINT64: (INT64, "unsigned", pa.decimal128(20, 0)),
    _T.TYPE_SINT32: (SINT32, "int", pa.int32()),
    _T.TYPE_SINT64: (SINT64, "long", pa.int64()),
    _T.TYPE_BOOL: (BOOLEAN, "boolean", pa.bool_()),
    _T.TYPE_ENUM: (INT32, "open_enum", pa.string()),
    _T.TYPE_FIXED32: (FIXED32, "long", pa.int64()),
    _T.TYPE_SFIXED32: (SFIXED32, "int", pa.int32()),
    _T.TYPE_FLOAT: (FIXED32, "float", pa.float32()),
    _T.TYPE_FIXED64: (FIXED64, "unsigned", pa.decimal128(20, 0)),
    _T.TYPE_SFIXED64: (FIXED64, "long", pa.int64()),
    _T.TYPE_DOUBLE: (FIXED64, "double", pa.float64()),
    _T.TYPE_STRING: (TEXT, "string", pa.string()),
    _T.TYPE_BYTES: (RAW, "bytes", pa.binary()),
}
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_BOUNDS: Final = {
    ("google.protobuf.Timestamp", "seconds"): (-62_135_596_800, 253_402_300_799),
    ("google.protobuf.Timestamp", "nanos"): (0, 999_999_999),
    ("google.protobuf.Duration", "seconds"): (-315_576_000_000, 315_576_000_000),
    ("google.protobuf.Duration", "nanos"): (-999_999_999, 999_999_999),
}


class ProtobufSchemaError(UserError):
    """A text is not a Protocol Buffers schema, or one that cannot become columns."""

    code = "HW-PROTOBUF-SCHEMA"


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled message type.

    Attributes:
        fields: int64 [field, 10], those of a frame ascending by number.
        frames: int64 [frame, 4]: where its fields begin and end, where what it opens begins and ends.
        opens: int64 [entry, 4]: a node, its default and whether that is valid; the items' node of a list, else -1.
        oneofs: int64: nodes of which one is valid, by stretches.
        root: a struct of the columns.
        nodes: all nodes, by id.
        depth: how deep messages are nested.
    """

    fields: Longs
    frames: Longs
    opens: Longs
    oneofs: Longs
    root: Node
    nodes: tuple[Node, ...]
    depth: int


@dataclass
class _Compiler:
    nodes: list[Node] = field(default_factory=list)
    frames: list[list[list[int]]] = field(default_factory=list)
    roots: dict[int, tuple[Node, ...]] = field(default_factory=dict)
    defaults: dict[int, int] = field(default_factory=dict)
    oneofs: list[int] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    depth: int = 0

    def node(self, kind: str, to: pa.DataType, path: str, children: tuple[Node, ...] = (), **rest: object) -> Node:
        if len(self.nodes) >= MAX_NODES:
            raise ProtobufSchemaError(f"the message type has more than {MAX_NODES:,} fields, counted at every place")
        made = Node(len(self.nodes), kind, to, path, children, **rest)  # type: ignore[arg-type]
        self.nodes.append(made)
        return made

    def message(self, kind: Descriptor, path: str) -> tuple[int, tuple[Node, ...]]:
        """A frame for a message type, and the nodes of its fields."""
        if len(self.open) >= MAX_DEPTH:
            raise ProtobufSchemaError(f"{path}: messages are nested more than {MAX_DEPTH} deep")
        self.open.append(kind.full_name)
        self.depth = max(self.depth, len(self.open))
        frame = len(self.frames)
        self.frames.append([])
        entries: list[list[int]] = []
        children = []
        for each in kind.fields:
            child, entry = self.field(each, f"{path}.{each.name}" if path else each.name)
            children.append(child)
            entries.append(entry)
        self._oneofs(kind, entries, children)
        self.frames[frame] = sorted(entries)
        self.open.pop()
        return frame, tuple(children)

    def field(self, found: FieldDescriptor, path: str) -> tuple[Node, list[int]]:
        """The node of a field, and its entry in the table."""
        if found.type == _T.TYPE_GROUP:
            raise ProtobufSchemaError(f"{path}: groups (delimited messages) cannot be read")
        if not found.is_repeated:
            node, op, frame, least, most = self.value(found, path)
            self._default(found, node)
            return node, [found.number, op, node.id, frame, 0, 0, 0, least, most, int(found.is_required)]
        if found.message_type is not None and found.message_type.GetOptions().map_entry:
            return self._map(found, path)
        node, op, frame, least, most = self.value(found, f"{path}[]")
        self.defaults[node.id] = 1
        if frame >= 0:
            self.roots[frame] = (node,)
        listed = self.node("list", pa.list_(pa.field("item", node.type)), path, (node,))
        return listed, [found.number, op, node.id, frame, 1, 0, 0, least, most, 0]

    def _default(self, found: FieldDescriptor, node: Node) -> None:
        """Whether a field that does not come is there all the same, with its type's zero."""
        self.defaults[node.id] = int(not found.has_presence)

    def _map(self, found: FieldDescriptor, path: str) -> tuple[Node, list[int]]:
        frame, (key, value) = self.message(found.message_type, f"{path}{{}}")
        self.roots[frame] = (key, value)
        self.defaults[key.id] = self.defaults[value.id] = 1
        node = self.node("map", pa.map_(key.type, value.type), path, (key, value))
        return node, [found.number, MESSAGE, key.id, frame, 1, 0, 0, 0, 0, 0]

    def value(self, found: FieldDescriptor, path: str) -> tuple[Node, int, int, int, int]:
        """The node of a value; how it is read, the frame of a message, and the bounds of a number that has some."""
        kind = found.message_type
        if kind is None:
            op, way, to = _SCALARS[found.type]
            values = found.enum_type.values if found.enum_type is not None else ()
            names, numbers = tuple(v.name for v in values), tuple(v.number for v in values)
            least, most = _BOUNDS.get((found.containing_type.full_name, found.name), (0, 0))
            node = self.node(way, to, path, names=names, numbers=numbers)
            return node, CHECKED if most else op, -1, least, most
        if kind.full_name in self.open:
            return self.node("bytes", pa.binary(), path), RAW, -1, 0, 0
        frame, children = self.message(kind, path)
        return self._of_message(kind, path, children), MESSAGE, frame, 0, 0

    def _of_message(self, kind: Descriptor, path: str, children: tuple[Node, ...]) -> Node:
        if kind.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            instant = kind.name == "Timestamp"
            to = pa.timestamp("us", tz="UTC") if instant else pa.string()
            return self.node("instant" if instant else "span", to, path, children)
        if kind.full_name in _WRAPPERS:
            return self.node("wrapper", children[0].type, path, children)
        fields = [pa.field(each.name, child.type) for each, child in zip(kind.fields, children, strict=True)]
        return self.node("struct", pa.struct(fields), path, children)

    def _oneofs(self, kind: Descriptor, entries: list[list[int]], children: list[Node]) -> None:
        for group in kind.oneofs:
            numbers = {each.number for each in group.fields}
            first = len(self.oneofs)
            of = [entry for entry in entries if entry[NUMBER] in numbers]
            self.oneofs += [entry[NODE] for entry in of]
            for entry in of if len(of) > 1 else ():
                entry[ONEOF], entry[ONEOF_END] = first, len(self.oneofs)


def compile_message(kind: Descriptor) -> Program:
    """The program of a message type, whose fields become columns.

    Raises:
        ProtobufSchemaError: it is too large, or has groups.
    """
    compiler = _Compiler()
    frame, children = compiler.message(kind, "")
    fields = [pa.field(each.name, child.type) for each, child in zip(kind.fields, children, strict=True)]
    root = compiler.node("struct", pa.struct(fields), "", children)
    compiler.roots[frame] = (root,)
    compiler.defaults[root.id] = 1
    table: list[list[int]] = []
    frames: list[list[int]] = []
    opens: list[list[int]] = []
    for number, entries in enumerate(compiler.frames):
        opened = [node for top in compiler.roots.get(number, ()) for node in top.closure()]
        frames.append([len(table), len(table) + len(entries), len(opens), len(opens) + len(opened)])
        table += entries
        for node in opened:
            item = node.children[0].id if node.kind in ("list", "map") else -1
            opens.append([node.id, 0, 1 if item >= 0 else compiler.defaults.get(node.id, 1), item])
    return Program(
        np.array(table, np.int64).reshape(-1, 10),
        np.array(frames, np.int64).reshape(-1, 4),
        np.array(opens, np.int64).reshape(-1, 4),
        np.array([*compiler.oneofs, 0], np.int64),
        root,
        tuple(compiler.nodes),
        compiler.depth,
    )
