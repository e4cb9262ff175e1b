"""Whether every document that one JSON Schema allows is allowed by another, as far as that can be shown.

Types, enums, properties, required properties, items and bounds are compared; any other keyword (oneOf, pattern,
format, ...) must be the same in both, or be missing in the reader's. What cannot be shown to be compatible is not.
"""

from __future__ import annotations

import json
from typing import Final

Json = dict[str, object]

_ANNOTATIONS: Final = frozenset(
    ("$id", "$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
     "definitions", "$defs", "id")
)  # fmt: skip
_COMPARED: Final = frozenset(
    ("type", "enum", "const", "properties", "required", "additionalProperties", "items", "$ref", "minimum", "maximum",
     "minLength", "maxLength", "minItems", "maxItems", "exclusiveMinimum", "exclusiveMaximum")
)  # fmt: skip
_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_ALL: Final = frozenset(("null", "boolean", "object", "array", "number", "string"))
MAX_DEPTH: Final = 64


def incompatibilities(reader: str, writer: str) -> list[str]:
    """What keeps `reader` from allowing what `writer` allows, as far as can be shown; nothing if it does."""
    comparison = _Comparison(json.loads(reader), json.loads(writer))
    comparison.compare(comparison.reader, comparison.writer, "#", 0)
    return comparison.found


class _Comparison:
    def __init__(self, reader: object, writer: object) -> None:
        self.reader, self.writer = reader, writer
        self.found: list[str] = []

    def compare(self, reader: object, writer: object, at: str, depth: int) -> None:
        to, of = _resolved(self.reader, reader), _resolved(self.writer, writer)
        if to is True or to == {} or of is False:
            return
        of = {} if of is True else of
        if not isinstance(to, dict) or not isinstance(of, dict) or depth > MAX_DEPTH:
            self.found.append(f"{at}: cannot be shown to be compatible")
            return
        if to == of and "$ref" not in json.dumps(to):
            return
        self._values(to, of, at)
        self._bounds(to, of, at)
        self._objects(to, of, at, depth)
        if "items" in to:
            self.compare(to["items"], of.get("items", True), f"{at}/items", depth + 1)
        for keyword in to:
            if keyword not in _COMPARED | _ANNOTATIONS and to[keyword] != of.get(keyword):
                self.found.append(f"{at}/{keyword}: changed, which cannot be shown to be compatible")

    def _values(self, to: Json, of: Json, at: str) -> None:
        lost = _types(of) - _types(to) - ({"integer"} if "number" in _types(to) else set())
        if lost:
            self.found.append(f"{at}/type: {', '.join(sorted(lost))} is no longer allowed")
        allowed = [to["const"]] if "const" in to else to.get("enum")
        had = [of["const"]] if "const" in of else of.get("enum")
        if isinstance(allowed, list) and (not isinstance(had, list) or any(value not in allowed for value in had)):
            self.found.append(f"{at}/enum: values are no longer allowed")

    def _bounds(self, to: Json, of: Json, at: str) -> None:
        for keyword in (*_LEAST, *_MOST):
            new, old = to.get(keyword), of.get(keyword)
            if not isinstance(new, int | float):
                continue
            tighter = not isinstance(old, int | float) or (new > old if keyword in _LEAST else new < old)
            if tighter:
                self.found.append(f"{at}/{keyword}: tighter than before")

    def _objects(self, to: Json, of: Json, at: str, depth: int) -> None:
        new, old = _properties(to), _properties(of)
        for name, schema in new.items():
            before = old.get(name, of.get("additionalProperties", True))
            self.compare(schema, before, f"{at}/properties/{name}", depth + 1)
        rest = to.get("additionalProperties", True)
        for name, schema in old.items():
            if name not in new:
                self.compare(rest, schema, f"{at}/properties/{name}", depth + 1)
                if rest is False and schema is not False:
                    self.found.append(f"{at}/properties/{name}: no longer allowed")
        if rest is not True:
            self.compare(rest, of.get("additionalProperties", True), f"{at}/additionalProperties", depth + 1)
        needed = [name for name in _names(to) if name not in _names(of)]
        for name in needed:
            schema = new.get(name)
            if not (isinstance(schema, dict) and "default" in schema):
                self.found.append(f"{at}/required: {name} was not required")


def _resolved(root: object, schema: object) -> object:
    """The schema that a local reference means, its own otherwise."""
    seen = 0
    while isinstance(schema, dict) and isinstance(schema.get("$ref"), str) and seen < MAX_DEPTH:
        found, seen = root, seen + 1
        for step in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found
    return schema


def _types(schema: Json) -> set[str]:
    kinds = schema.get("type")
    if kinds is None:
        return set(_ALL)
    return {kinds} if isinstance(kinds, str) else {str(kind) for kind in kinds} if isinstance(kinds, list) else set()


def _properties(schema: Json) -> Json:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _names(schema: Json) -> list[str]:
    found = schema.get("required")
    return [str(name) for name in found] if isinstance(found, list) else []
