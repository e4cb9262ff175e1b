"""Whether one Avro schema can read what another has written: "Schema Resolution" in the Avro 1.12 specification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from headwater.formats.avro.schema import AvroField, AvroSchema, AvroType

_PROMOTED: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


def incompatibilities(reader: AvroSchema, writer: AvroSchema) -> list[str]:
    """What keeps `reader` from reading what `writer` wrote; nothing if it can."""
    comparison = _Comparison(reader, writer)
    comparison.compare(reader.root, writer.root, "")
    return comparison.found


@dataclass
class _Comparison:
    reader: AvroSchema
    writer: AvroSchema
    found: list[str] = field(default_factory=list)
    compared: set[tuple[str, str]] = field(default_factory=set)

    def compare(self, reader: AvroType, writer: AvroType, at: str) -> None:
        to, of = self.reader.resolve(reader), self.writer.resolve(writer)
        if of.kind == "union":
            for branch in of.branches:
                self.compare(to, branch, at)
        elif to.kind == "union":
            if not any(self._reads(branch, of) for branch in to.branches):
                self._say(at, f"reader union lacks the writer's {of.name or of.kind}")
        elif to.kind != of.kind:
            if to.kind not in _PROMOTED.get(of.kind, ()):
                self._say(at, f"type changed from {of.kind} to {to.kind}")
        elif to.name and not _same_name(to, of):
            self._say(at, f"name changed from {of.name} to {to.name}")
        else:
            self._same_kind(to, of, at)

    def _reads(self, reader: AvroType, writer: AvroType) -> bool:
        inner = _Comparison(self.reader, self.writer, compared=set(self.compared))
        inner.compare(reader, writer, "")
        return not inner.found

    def _same_kind(self, to: AvroType, of: AvroType, at: str) -> None:
        if to.kind == "record":
            self._records(to, of, at)
        elif to.kind == "enum":
            missing = [symbol for symbol in of.symbols if symbol not in to.symbols]
            if missing and to.default is None:
                self._say(at, f"enum {to.name} lacks the symbols {', '.join(missing)}")
        elif to.kind == "fixed" and to.size != of.size:
            self._say(at, f"size of fixed {to.name} changed from {of.size} to {to.size}")
        elif to.items is not None and of.items is not None:
            self.compare(to.items, of.items, f"{at}/{'items' if to.kind == 'array' else 'values'}")

    def _records(self, to: AvroType, of: AvroType, at: str) -> None:
        if (to.name, of.name) in self.compared:
            return
        self.compared.add((to.name, of.name))
        for each in to.fields:
            source = writer_field(each, of)
            if source is not None:
                self.compare(each.type, source.type, f"{at}/{each.name}")
            elif not each.has_default:
                self._say(at, f"reader field {each.name} has no default and the writer has none")

    def _say(self, at: str, what: str) -> None:
        self.found.append(f"{at or '/'}: {what}")


def writer_field(reader: AvroField, writer: AvroType) -> AvroField | None:
    """The field of the writer's record that a field of the reader's takes; None if there is none."""
    by_name = {each.name: each for each in writer.fields}
    return next((by_name[name] for name in (reader.name, *reader.aliases) if name in by_name), None)


def _same_name(to: AvroType, of: AvroType) -> bool:
    last = of.name.rpartition(".")[2]
    return to.name.rpartition(".")[2] == last or of.name in to.aliases or last in to.aliases
