"""Avro schemas, read and checked: the "Schema Declaration" and "Names" sections of the Avro 1.12 specification."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headwater.errors import UserError

PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
MAX_DEPTH = 64
MAX_TYPES = 20_000
MAX_PRECISION = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class AvroSchemaError(UserError):
    """A text is not an Avro schema, or one that cannot become columns."""

    code = "HW-AVRO-SCHEMA"


@dataclass(frozen=True)
class AvroField:
    """A record's field; `default` is JSON and only counts if `has_default`."""

    name: str
    type: AvroType
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: object = None


@dataclass(frozen=True)
class AvroType:
    """A type.

    Attributes:
        kind: a primitive's name, or record, enum, fixed, array, map, union; `ref`: the named type `name`.
        name: full name of a named type.
        aliases: full names that it also had.
        fields: of a record.
        symbols: of an enum; `default` the one for symbols that a reader does not know.
        items: of an array or map, the elements' or values' type.
        branches: of a union.
        size: of a fixed, in bytes.
        logical: the logical type, if it is a valid one for this type.
        precision, scale: of a decimal.
    """

    kind: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    fields: tuple[AvroField, ...] = ()
    symbols: tuple[str, ...] = ()
    default: str | None = None
    items: AvroType | None = None
    branches: tuple[AvroType, ...] = ()
    size: int = 0
    logical: str = ""
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True)
class AvroSchema:
    """A schema: its type, and the named types that `ref`s in it mean."""

    root: AvroType
    names: Mapping[str, AvroType] = field(default_factory=dict)

    def resolve(self, kind: AvroType) -> AvroType:
        """The type itself, for a `ref` the one that it names."""
        return self.names[kind.name] if kind.kind == "ref" else kind


_LOGICAL: Final = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "uuid": ("string", "fixed"),
    "duration": ("fixed",),
    "decimal": ("bytes", "fixed"),
}


_CONNECT: Final = {
    "io.debezium.time.Date": "date",
    "io.debezium.time.Time": "time-millis",
    "io.debezium.time.MicroTime": "time-micros",
    "io.debezium.time.Timestamp": "local-timestamp-millis",
    "io.debezium.time.MicroTimestamp": "local-timestamp-micros",
}
"""What Debezium calls types that Avro has a name for as well."""


def parse(text: str, known: Mapping[str, AvroType] | None = None) -> AvroSchema:
    """Reads a schema.

    Args:
        text: JSON; a bare name of a type is taken too.
        known: named types that the text may use without declaring them.

    Raises:
        AvroSchemaError: it is none; the message says where and why.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        if not re.fullmatch(r"[A-Za-z0-9_.]+", text.strip()):
            raise AvroSchemaError(f"the Avro schema is not JSON: {error}") from error
        found = text.strip()
    except RecursionError as error:
        raise AvroSchemaError("the Avro schema is nested too deeply") from error
    parser = _Parser(dict(known or {}))
    root = parser.type(found, "", "schema", 0)
    return AvroSchema(root, parser.names)


class _Parser:
    def __init__(self, names: dict[str, AvroType]) -> None:
        self.names = names
        self._count = 0
        self._declared: set[str] = set()

    def type(self, found: object, namespace: str, at: str, depth: int) -> AvroType:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_TYPES:
            raise AvroSchemaError(f"{at}: the Avro schema is too large or nested too deeply")
        if isinstance(found, str):
            return self._named(found, namespace, at)
        if isinstance(found, list):
            return self._union(found, namespace, at, depth)
        if not isinstance(found, dict) or "type" not in found:
            raise AvroSchemaError(f"{at}: a type is a name, a list or an object with `type`")
        kind = found["type"]
        if not isinstance(kind, str):
            return self.type(kind, namespace, at, depth + 1)
        if kind in ("record", "error"):
            return self._record(found, namespace, at, depth)
        if kind == "enum":
            return self._enum(found, namespace, at)
        if kind == "fixed":
            return self._fixed(found, namespace, at)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            if key not in found:
                raise AvroSchemaError(f"{at}: {kind} without `{key}`")
            return AvroType(kind, items=self.type(found[key], namespace, f"{at}.{key}", depth + 1))
        named = self._named(kind, namespace, at)
        return named if named.kind == "ref" else _with_logical(named, found)

    def _named(self, name: str, namespace: str, at: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        for full in (name,) if "." in name else (_join(namespace, name), name):
            if full in self.names:
                return AvroType("ref", name=full)
        raise AvroSchemaError(f"{at}: there is no type {name!r}")

    def _union(self, found: list[object], namespace: str, at: str, depth: int) -> AvroType:
        branches = tuple(self.type(each, namespace, f"{at}[{i}]", depth + 1) for i, each in enumerate(found))
        labels = [branch.name or branch.kind for branch in branches]
        if "union" in labels:
            raise AvroSchemaError(f"{at}: a union directly within a union")
        if len(set(labels)) != len(labels):
            raise AvroSchemaError(f"{at}: a union with one type twice: {', '.join(labels)}")
        if not branches:
            raise AvroSchemaError(f"{at}: a union of nothing")
        return AvroType("union", branches=branches)

    def _declare(self, found: Mapping[str, object], namespace: str, at: str) -> tuple[str, tuple[str, ...], str]:
        """Full name, aliases, and the namespace inside."""
        name = found.get("name")
        if not isinstance(name, str) or not name:
            raise AvroSchemaError(f"{at}: {found['type']} without a name")
        space = found.get("namespace", namespace)
        full = name if "." in name else _join(space if isinstance(space, str) else "", name)
        if not all(_NAME.fullmatch(part) for part in full.split(".")):
            raise AvroSchemaError(f"{at}: {full!r} is not a name")
        if full in self._declared or full in PRIMITIVES:
            raise AvroSchemaError(f"{at}: {full!r} is declared twice")
        self._declared.add(full)
        inner = full.rpartition(".")[0]
        aliases = found.get("aliases", ())
        texts = [each for each in aliases if isinstance(each, str)] if isinstance(aliases, list) else []
        return full, tuple(each if "." in each else _join(inner, each) for each in texts), inner

    def _record(self, found: Mapping[str, object], namespace: str, at: str, depth: int) -> AvroType:
        full, aliases, inner = self._declare(found, namespace, at)
        entries = found.get("fields")
        if not isinstance(entries, list):
            raise AvroSchemaError(f"{at}: record {full} without `fields`")
        self.names[full] = AvroType("ref", name=full)  # its fields may name it
        fields = tuple(self._field(entry, inner, full, depth) for entry in entries)
        if len({each.name for each in fields}) != len(fields):
            raise AvroSchemaError(f"{at}: record {full} has two fields of one name")
        self.names[full] = AvroType("record", name=full, aliases=aliases, fields=fields)
        return AvroType("ref", name=full)

    def _field(self, entry: object, namespace: str, record: str, depth: int) -> AvroField:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
            raise AvroSchemaError(f"record {record}: a field without a proper name: {name!r}")
        if "type" not in entry:
            raise AvroSchemaError(f"{record}.{name}: a field without a type")
        kind = self.type(entry["type"], namespace, f"{record}.{name}", depth + 1)
        aliases = entry.get("aliases")
        names = tuple(each for each in aliases if isinstance(each, str)) if isinstance(aliases, list) else ()
        return AvroField(name, kind, names, "default" in entry, entry.get("default"))

    def _enum(self, found: Mapping[str, object], namespace: str, at: str) -> AvroType:
        full, aliases, _ = self._declare(found, namespace, at)
        symbols = found.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(s, str) and _NAME.fullmatch(s) for s in symbols):
            raise AvroSchemaError(f"{at}: enum {full} needs `symbols`, a list of names")
        if len(set(symbols)) != len(symbols):
            raise AvroSchemaError(f"{at}: enum {full} has a symbol twice")
        default = found.get("default")
        if default is not None and default not in symbols:
            raise AvroSchemaError(f"{at}: the default of enum {full} is not one of its symbols")
        made = AvroType("enum", full, aliases, symbols=tuple(symbols), default=str(default) if default else None)
        self.names[full] = made
        return AvroType("ref", name=full)

    def _fixed(self, found: Mapping[str, object], namespace: str, at: str) -> AvroType:
        full, aliases, _ = self._declare(found, namespace, at)
        size = found.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 31:
            raise AvroSchemaError(f"{at}: fixed {full} needs a `size`")
        self.names[full] = _with_logical(AvroType("fixed", full, aliases, size=size), found)
        return AvroType("ref", name=full)


def _join(namespace: str, name: str) -> str:
    return f"{namespace}.{name}" if namespace else name


def _with_logical(kind: AvroType, found: Mapping[str, object]) -> AvroType:
    """The type with its logical type; as the specification wants, one that is not valid is not there."""
    logical = found.get("logicalType", _CONNECT.get(str(found.get("connect.name"))))
    if not isinstance(logical, str) or kind.kind not in _LOGICAL.get(logical, ()):
        return kind
    if (logical == "duration" and kind.size != 12) or (logical == "uuid" and kind.kind == "fixed" and kind.size != 16):
        return kind
    precision, scale = 0, 0
    if logical == "decimal":
        read = found.get("precision"), found.get("scale", 0)
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in read):
            return kind
        precision, scale = int(str(read[0])), int(str(read[1]))
        largest = 8 * kind.size - 1
        if not 0 <= scale <= precision or not 1 <= precision <= MAX_PRECISION:
            return kind
        if kind.kind == "fixed" and (not kind.size or 10**precision - 1 >= 1 << largest):
            return kind
    return AvroType(
        kind.kind, kind.name, kind.aliases, size=kind.size, logical=logical, precision=precision, scale=scale
    )
