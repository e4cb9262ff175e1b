"""Reads YAML into plain values and remembers the line and column of every node.

Only what JSON could say is taken: mappings with text keys, lists and scalars (YAML 1.2, so `no` is text). Anchors,
aliases, tags, repeated keys and several documents in a file are refused, each with its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from headwater.errors import Place
from headwater.position import JsonScalar
from headwater.project.mistakes import Mistakes

YamlValue: TypeAlias = "JsonScalar | list[YamlValue] | dict[str, YamlValue]"
NodePath: TypeAlias = tuple[str | int, ...]
Expand: TypeAlias = Callable[[str, Place, bool], str | None]
"""Fills in the references in a scalar: (text, place of the scalar, whether columns may be counted from it) to the text
filled in, or None when that failed and the mistake was noted."""

_SCALARS = ("null", "bool", "int", "float")
_PLAIN_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """One YAML file.

    Attributes:
        file: its name, as it should be printed.
        data: the mapping at its top.
        places: where each value begins, by path.
        keys: where each mapping key stands, by the path of its value.
        written: scalars as they stand in the file, before references were filled in; safe to print unless secret.
        broken: paths of scalars whose references could not be filled in (a mistake was noted for each).
    """

    file: str
    data: dict[str, YamlValue] = field(default_factory=dict)
    places: dict[NodePath, Place] = field(default_factory=dict)
    keys: dict[NodePath, Place] = field(default_factory=dict)
    written: dict[NodePath, str] = field(default_factory=dict)
    broken: set[NodePath] = field(default_factory=set)

    def place(self, path: NodePath, *, key: bool = False) -> Place:
        """Where the node at `path` stands (`key`: its key), or else the nearest node above it that is there."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.places:
            path = path[:-1]
        if path in self.keys and not isinstance(path[-1], int) and path not in self.written:
            return self.keys[path]
        return self.places.get(path, Place(self.file))


def read_yaml(text: str, *, file: str, mistakes: Mistakes, expand: Expand | None = None) -> Document | None:
    """Reads a file whose top is a mapping; an empty file is an empty mapping.

    Args:
        text: the file's text.
        file: its name, for places.
        mistakes: takes what is wrong.
        expand: fills in references such as `${NAME}` in scalar values; None leaves them.

    Returns:
        The document, or None if it cannot be read at all.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except (YAMLError, RecursionError, AssertionError) as error:
        mistakes.add(f"this is not YAML: {_problem(error)}", place=_place_of_error(error, text, file))
        return None
    document = Document(file)
    if root is None:
        return document
    if not isinstance(root, MappingNode):
        mistakes.add("expected `key: value` lines at the top of the file", place=_place(root, file))
        return None
    data = _Builder(yaml, document, mistakes, expand).build(root, ())
    if isinstance(data, dict):
        document.data.update(data)
    return document


class _Builder:
    """Turns YAML nodes into values and notes their places."""

    def __init__(self, yaml: YAML, document: Document, mistakes: Mistakes, expand: Expand | None) -> None:
        self._yaml = yaml
        self._document = document
        self._mistakes = mistakes
        self._expand = expand

    def build(self, node: Node, path: NodePath) -> YamlValue:
        place = _place(node, self._document.file)
        self._document.places[path] = place
        if node.anchor is not None:
            self._mistakes.add(
                "anchors and aliases (&, *) are not supported", place=place, hint="write the value out at each use"
            )
            self._document.broken.add(path)
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(child, (*path, number)) for number, child in enumerate(node.value)]
        return self._scalar(cast(ScalarNode, node), path, place)

    def _mapping(self, node: MappingNode, path: NodePath) -> dict[str, YamlValue]:
        values: dict[str, YamlValue] = {}
        for key_node, child in node.value:
            place = _place(key_node, self._document.file)
            if not isinstance(key_node, ScalarNode) or key_node.anchor is not None:
                self._mistakes.add("a key must be plain text", place=place)
                continue
            key = str(key_node.value)
            if key in values:
                first = self._document.keys[(*path, key)]
                self._mistakes.add(
                    f"{key!r} is given twice", place=place, hint=f"the first one is in line {first.line}; keep one"
                )
                continue
            self._document.keys[(*path, key)] = place
            values[key] = self.build(child, (*path, key))
        return values

    def _scalar(self, node: ScalarNode, path: NodePath, place: Place) -> JsonScalar:
        text = str(node.value)
        if text or node.style is not None:
            self._document.written[path] = text
        kind = str(node.tag).removeprefix(_PLAIN_TAG)
        if kind in _SCALARS:
            value: JsonScalar = self._yaml.constructor.construct_object(node)
            return value
        if not str(node.tag).startswith(_PLAIN_TAG) or kind == "binary":
            self._mistakes.add(f"tags such as {node.tag} are not supported", place=place)
            self._document.broken.add(path)
            return text
        if self._expand is None:
            return text
        expanded = self._expand(text, place, node.style is None)
        if expanded is None:
            self._document.broken.add(path)
            return text
        return expanded


def _place(node: Node, file: str) -> Place:
    return Place(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return f"it holds the character #x{code:04x}, which must not stand in a text file"
    if isinstance(error, MarkedYAMLError):
        return " ".join(str(part) for part in (error.context, error.problem) if part)
    return str(error) or "its %YAML line is not understood"


def _place_of_error(error: Exception, text: str, file: str) -> Place:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return Place(file, error.problem_mark.line + 1, error.problem_mark.column + 1)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Place(file)
