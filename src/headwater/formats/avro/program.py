"""A schema compiled to a program of field operations, which `kernels` walks for every message of a batch.

An operation is a row of six int64: what to do, the node it is about, and four operands. Records disappear: their fields
follow each other. A union jumps to its branch, which writes nulls to what the other branches would have written; an
array or map is a loop. A schema that contains itself has no finite program and is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa

from headwater.formats.avro.schema import AvroSchema, AvroSchemaError, AvroType
from headwater.formats.nodes import Longs, Node

END, NUMBER, FLOAT, DOUBLE, BOOL, RAW, TEXT, FIXED, ENUM, NULLS, UNION, JUMP, LOOP, NEXT, DECIMAL, WIDEN, PRESENT = (
    range(17)
)
MAX_OPS = 100_000

_INT: Final = (-(1 << 31), (1 << 31) - 1)
_LONG: Final = (-(1 << 63), (1 << 63) - 1)
_DAY_MS: Final = 86_400_000
_MOMENTS: Final = {
    "date": ("date", pa.date32(), _INT),
    "time-millis": ("time_ms", pa.time64("us"), (0, _DAY_MS - 1)),
    "time-micros": ("long", pa.time64("us"), (0, _DAY_MS * 1000 - 1)),
    "timestamp-millis": ("moment_ms", pa.timestamp("us", tz="UTC"), (-(1 << 63) // 1000 + 1, (1 << 63) // 1000)),
    "timestamp-micros": ("long", pa.timestamp("us", tz="UTC"), _LONG),
    "local-timestamp-millis": ("moment_ms", pa.timestamp("us"), (-(1 << 63) // 1000 + 1, (1 << 63) // 1000)),
    "local-timestamp-micros": ("long", pa.timestamp("us"), _LONG),
}
"""How an entry becomes an array, the Arrow type, and the least and greatest number. Times of nanoseconds stay bigint:
neither DuckDB's TIMESTAMPTZ nor Iceberg's hold them."""


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled schema.

    Attributes:
        ops: int64 [operation, 6].
        targets: int64: where branches of unions begin.
        nulls: int64: ids of nodes, by stretches, that get a null together.
        item: int64 [node]: the node whose entries are a list's items; -1 for what is no list.
        root: a struct of the columns.
        nodes: all nodes, by id.
        depth: how deep loops are nested.
        smallest: the least number of bytes that a message has.
    """

    ops: Longs
    targets: Longs
    nulls: Longs
    item: Longs
    root: Node
    nodes: tuple[Node, ...]
    depth: int
    smallest: int


@dataclass
class _Compiler:
    schema: AvroSchema
    ops: list[list[int]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    nulls: list[int] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    loops: int = 0
    depth: int = 0
    _ids: int = 0

    def emit(self, op: int, node: int = -1, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
        if len(self.ops) >= MAX_OPS:
            raise AvroSchemaError("the Avro schema is too large to be decoded")
        self.ops.append([op, node, a, b, c, d])
        return len(self.ops) - 1

    def node(self, kind: str, to: pa.DataType, path: str, children: tuple[Node, ...] = (), **rest: object) -> Node:
        made = Node(self._ids, kind, to, path, children, **rest)  # type: ignore[arg-type]
        self._ids += 1
        self.nodes.append(made)
        return made

    def type(self, found: AvroType, path: str) -> Node:
        """Emits the reading of a value that is there, and returns the node that it goes to."""
        kind = self.schema.resolve(found)
        if kind.kind in ("record", "union", "array", "map"):
            if kind.name in self.open:
                raise AvroSchemaError(f"{path}: {kind.name} contains itself, which columns cannot hold")
            self.open.append(kind.name or f"({path})")
            made = _NESTED[kind.kind](self, kind, path)
            self.open.pop()
            return made
        return self.scalar(kind, path)

    def scalar(self, kind: AvroType, path: str) -> Node:
        if kind.logical == "decimal":
            return self.decimal(kind, path)
        if kind.logical in _MOMENTS:
            way, to, bounds = _MOMENTS[kind.logical]
            return self._leaf(NUMBER, way, to, path, *bounds)
        if kind.kind in ("int", "long"):
            bounds = _INT if kind.kind == "int" else _LONG
            return self._leaf(NUMBER, kind.kind, pa.int32() if kind.kind == "int" else pa.int64(), path, *bounds)
        if kind.kind == "fixed":
            way, to = {"uuid": ("uuid", pa.string()), "duration": ("duration", pa.string())}.get(
                kind.logical, ("bytes", pa.binary())
            )
            return self._leaf(FIXED, way, to, path, kind.size, size=kind.size)
        if kind.kind == "enum":
            return self._leaf(ENUM, "enum", pa.string(), path, len(kind.symbols), names=kind.symbols)
        if kind.kind == "null":
            node = self.node("null", pa.null(), path)
            self.emit(NULLS, -1, len(self.nulls), 1)
            self.nulls.append(node.id)
            return node
        op, to = {
            "boolean": (BOOL, pa.bool_()),
            "float": (FLOAT, pa.float32()),
            "double": (DOUBLE, pa.float64()),
            "bytes": (RAW, pa.binary()),
            "string": (TEXT, pa.string()),
        }[kind.kind]
        return self._leaf(op, kind.kind, to, path)

    def decimal(self, kind: AvroType, path: str) -> Node:
        size = kind.size if kind.kind == "fixed" else -1
        if kind.precision > 38:
            text = self.node("big_decimal", pa.string(), path, scale=kind.scale, size=kind.precision)
            self.emit(DECIMAL, text.id, size, kind.precision)
            return text
        node = self.node("decimal", pa.decimal128(kind.precision, kind.scale), path)
        self.emit(DECIMAL, node.id, size, kind.precision)
        return node

    def _leaf(self, op: int, way: str, to: pa.DataType, path: str, a: int = 0, b: int = 0, **rest: object) -> Node:
        node = self.node(way, to, path, **rest)  # type: ignore[arg-type]
        self.emit(op, node.id, a, b)
        return node

    def record(self, kind: AvroType, path: str) -> Node:
        present = self.emit(PRESENT)
        children = tuple(self.type(each.type, f"{path}.{each.name}" if path else each.name) for each in kind.fields)
        struct = pa.struct([pa.field(f.name, child.type) for f, child in zip(kind.fields, children, strict=True)])
        node = self.node("struct", struct, path, children)
        self.ops[present][1] = node.id
        return node

    def array(self, kind: AvroType, path: str) -> Node:
        assert kind.items is not None
        loop = self._enter()
        item = self.type(kind.items, f"{path}[]")
        smallest = _smallest(self.schema, kind.items)
        if smallest == 0:
            raise AvroSchemaError(f"{path}: an array of values that take no bytes can have any length")
        node = self.node("list", pa.list_(pa.field("item", item.type)), path, (item,))
        self._leave(loop, node, smallest)
        return node

    def map(self, kind: AvroType, path: str) -> Node:
        assert kind.items is not None
        loop = self._enter()
        key = self._leaf(TEXT, "string", pa.string(), f"{path}{{}}")
        value = self.type(kind.items, f"{path}{{}}")
        node = self.node("map", pa.map_(pa.string(), value.type), path, (key, value))
        self._leave(loop, node, 1 + _smallest(self.schema, kind.items))
        return node

    def _enter(self) -> int:
        self.loops += 1
        self.depth = max(self.depth, self.loops)
        return self.emit(LOOP)

    def _leave(self, loop: int, node: Node, smallest: int) -> None:
        self.loops -= 1
        width = sum(child.width for child in node.children)
        back = self.emit(NEXT, node.id, node.children[0].id, width, loop + 1, smallest)
        self.ops[loop][2] = back

    def union(self, kind: AvroType, path: str) -> Node:
        real = [branch for branch in kind.branches if self.schema.resolve(branch).kind != "null"]
        op = self.emit(UNION, -1, len(kind.branches), len(self.targets))
        first = len(self.targets)
        self.targets += [0] * len(kind.branches)
        widest = _one_number(self.schema, real)
        if not real:
            node = self.node("null", pa.null(), path)
            self._finish_union(first, kind, node, {})
        elif len(real) == 1 or widest:
            node = self._one_column(kind, real, widest, path, first)
        else:
            node = self._many_columns(kind, path, first)
        self.ops[op][1] = node.id
        return node

    def _one_column(self, kind: AvroType, real: list[AvroType], widest: str, path: str, first: int) -> Node:
        """A union that is null or one thing: its column, nullable."""
        begins: dict[int, int] = {}
        ends: list[int] = []
        node: Node | None = None
        for number, branch in enumerate(kind.branches):
            if branch not in real:
                continue
            begins[number] = len(self.ops)
            if node is None:
                node = self.type(AvroType(widest) if widest else branch, path)
                self.ops[-1][0] = WIDEN if widest == "double" and branch.kind == "float" else self.ops[-1][0]
            else:
                self.emit({"float": WIDEN, "double": DOUBLE}.get(branch.kind, NUMBER), node.id, *_LONG)
            if widest and branch.kind == "int":
                self.ops[-1][2:4] = _INT
            ends.append(self.emit(JUMP))
        assert node is not None
        return self._finish_union(first, kind, node, begins, ends)

    def _many_columns(self, kind: AvroType, path: str, first: int) -> Node:
        """A union of several things: a struct with a field for each, of which one is not null."""
        begins: dict[int, int] = {}
        ends: list[int] = []
        children: list[Node] = []
        names: list[str] = []
        fills: list[tuple[int, int]] = []
        presents: list[int] = []
        for number, branch in enumerate(kind.branches):
            kind_of = self.schema.resolve(branch)
            if kind_of.kind == "null":
                continue
            name = kind_of.name.rpartition(".")[2] or kind_of.kind
            name = name if name not in names else kind_of.name.replace(".", "_") or f"{name}_{number}"
            begins[number] = len(self.ops)
            presents.append(self.emit(PRESENT))
            fills.append((self.emit(NULLS), len(children)))
            children.append(self.type(branch, f"{path}.{name}" if path else name))
            names.append(name)
            ends.append(self.emit(JUMP))
        struct = pa.struct([pa.field(name, child.type) for name, child in zip(names, children, strict=True)])
        node = self.node("struct", struct, path, tuple(children))
        for at in presents:
            self.ops[at][1] = node.id
        for at, mine in fills:
            others = [each for number, child in enumerate(children) if number != mine for each in child.closure()]
            self._fill(at, others)
        return self._finish_union(first, kind, node, begins, ends)

    def _fill(self, at: int, nodes: list[Node]) -> None:
        self.ops[at][2:4] = [len(self.nulls), len(nodes)]
        self.nulls += [each.id for each in nodes]

    def _finish_union(
        self, first: int, kind: AvroType, node: Node, begins: dict[int, int], ends: list[int] | None = None
    ) -> Node:
        null = len(self.ops)
        if len(begins) < len(kind.branches):
            self._fill(self.emit(NULLS), node.closure())
        for number in range(len(kind.branches)):
            self.targets[first + number] = begins.get(number, null)
        for at in ends or ():
            self.ops[at][2] = len(self.ops)
        return node


_NESTED: Final[dict[str, Callable[[_Compiler, AvroType, str], Node]]] = {
    "record": _Compiler.record,
    "union": _Compiler.union,
    "array": _Compiler.array,
    "map": _Compiler.map,
}


def _one_number(schema: AvroSchema, branches: list[AvroType]) -> str:
    """The type of a union of numbers that one column can hold; "" if it is no such union."""
    kinds = {schema.resolve(branch).kind for branch in branches}
    if len(branches) < 2 or any(schema.resolve(branch).logical for branch in branches):
        return ""
    return "long" if kinds == {"int", "long"} else "double" if kinds == {"float", "double"} else ""


def _smallest(schema: AvroSchema, found: AvroType, open_: tuple[str, ...] = ()) -> int:
    """The least number of bytes that a value takes."""
    kind = schema.resolve(found)
    if kind.name and kind.name in open_:
        return 0
    if kind.kind == "record":
        return sum(_smallest(schema, each.type, (*open_, kind.name)) for each in kind.fields)
    return {"null": 0, "fixed": kind.size, "float": 4, "double": 8}.get(kind.kind, 1)


def compile_schema(schema: AvroSchema) -> Program:
    """The program of a schema. What is no record becomes the column `value`.

    Raises:
        AvroSchemaError: it contains itself, or is too large.
    """
    compiler = _Compiler(schema)
    top = compiler.type(schema.root, "")
    if schema.resolve(schema.root).kind == "record":
        root = top
    else:
        if top.kind != "struct" or not top.children:
            top = replace(top, path="value")
            compiler.nodes[top.id] = top
        root = compiler.node("row", pa.struct([pa.field("value", top.type)]), "", (top,))
    compiler.emit(END)
    item = [node.children[0].id if node.kind in ("list", "map") else -1 for node in compiler.nodes]
    return Program(
        np.array(compiler.ops, np.int64).reshape(-1, 6),
        np.array([*compiler.targets, 0], np.int64),
        np.array([*compiler.nulls, 0], np.int64),
        np.array(item, np.int64),
        root,
        tuple(compiler.nodes),
        compiler.depth,
        _smallest(schema, schema.root),
    )
