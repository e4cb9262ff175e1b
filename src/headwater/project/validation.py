"""Holds YAML values against settings classes and says what is wrong in the words of the file.

Pydantic finds the mistakes; here each gets its place, what was expected, what stands there, and "did you mean". What
stands there is shown as it was written (`${NAME}`, not its value), and never for a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, cast

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from headwater.project.document import Document, NodePath, YamlValue
from headwater.project.mistakes import Mistakes, did_you_mean

M = TypeVar("M", bound=BaseModel)
JsonSchema = Mapping[str, object]

_WORDS = (
    (r"^Value error, ", ""),
    (r"^Input should be ", "expected "),
    (r"^String should ", "the text should "),
    (r"^(Tuple|List|Set) should ", "the list should "),
    (r"a valid (tuple|list|set)", "a list"),
    (r"a valid dictionary.*", "`key: value` lines"),
    (r"a valid string", "text"),
    (r"a valid integer.*", "a whole number"),
    (r"a valid number.*", "a number"),
    (r"a valid boolean.*", "true or false"),
    (
        r"could not (parse value and unit from byte string|interpret byte unit).*",
        "expected a size like 500 MB or 10 GiB",
    ),
)
_URL_PASSWORD = re.compile(r"://(?:[^:@/\s]*):(?P<password>[^@\s]+)@")


def validate(
    settings: type[M],
    data: Mapping[str, YamlValue],
    *,
    document: Document,
    path: NodePath,
    mistakes: Mistakes,
    substituted: Iterable[str] = (),
    also_known: Iterable[str] = (),
) -> M | None:
    """Makes a `settings` of `data`.

    Args:
        settings: the class.
        data: the values.
        document: where they come from.
        path: where in the document they stand.
        mistakes: takes what is wrong.
        substituted: values that came from outside the file; a message that holds one is withheld.
        also_known: keys beside the class's own, for "did you mean".

    Returns:
        The settings, or None when there were mistakes.
    """
    try:
        made = settings.model_validate(data)
    except ValidationError as error:
        reporter = _Reporter(settings, document, path, mistakes, frozenset(substituted), tuple(also_known))
        for detail in error.errors(include_url=False, include_context=True):
            reporter.report(detail)
        return None
    empty = [name for name, value in _secrets(made) if not value]
    for name in empty:
        mistakes.add(f"{name!r} is empty", place=document.place((*path, name)), hint="give it a value")
    return None if empty else made


class _Reporter:
    """Turns one pydantic error into one mistake."""

    def __init__(
        self,
        settings: type[BaseModel],
        document: Document,
        path: NodePath,
        mistakes: Mistakes,
        substituted: frozenset[str],
        also_known: tuple[str, ...],
    ) -> None:
        self._schema = cast(JsonSchema, settings.model_json_schema())
        self._document = document
        self._path = path
        self._mistakes = mistakes
        self._substituted = substituted
        self._also_known = also_known

    def report(self, detail: ErrorDetails) -> None:
        """Notes the mistake, unless it follows from a reference that could not be filled in."""
        loc = self._in_file(detail["loc"])
        if any(loc[: len(broken)] == broken for broken in self._document.broken):
            return
        if detail["type"] == "missing":
            self._missing(loc)
        elif detail["type"] == "extra_forbidden":
            self._unknown(loc)
        else:
            self._wrong(loc, detail)

    def _in_file(self, loc: tuple[int | str, ...]) -> NodePath:
        """The path in the file: pydantic also names union branches and "[key]", which are not nodes."""
        path = self._path
        for step in loc:
            if (*path, step) in self._document.places or step == loc[-1]:
                path = (*path, step)
        return path[:-1] if path and path[-1] == "[key]" else path

    def _missing(self, path: NodePath) -> None:
        field = self._field(path)
        examples = field.get("examples")
        example = f", e.g. {path[-1]}: {_shown(examples[0])}" if isinstance(examples, list) and examples else ""
        self._mistakes.add(
            f"{path[-1]!r} is missing",
            place=self._document.place(path[:-1]),
            hint=f"add it: {field.get('description', '')}".rstrip(" .:") + example,
        )

    def _unknown(self, path: NodePath) -> None:
        known = self._properties(path[:-1])
        if path[:-1] == self._path:
            known = [*known, *self._also_known]
        self._mistakes.add(
            f"unknown key {path[-1]!r}",
            place=self._document.place(path, key=True),
            hint=did_you_mean(str(path[-1]), known),
        )

    def _wrong(self, path: NodePath, detail: ErrorDetails) -> None:
        field = self._field(path)
        name = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
        message = f"{name}: {self._message(path, detail)}"
        hint = str(field.get("description", ""))
        expected = str((detail.get("ctx") or {}).get("expected", ""))
        if detail["type"] == "literal_error":
            near = did_you_mean(self._document.written.get(path, ""), re.findall(r"'([^']*)'", expected))
            hint = near if near.startswith("did") else hint
        self._mistakes.add(message, place=self._document.place(path), hint=hint)

    def _message(self, path: NodePath, detail: ErrorDetails) -> str:
        message = detail["msg"]
        for pattern, word in _WORDS:
            message = re.sub(pattern, word, message)
        secret = self._is_secret(path)
        given = {str(detail["input"])} if secret and not isinstance(detail["input"], (dict, list)) else set()
        if _holds_any(message, self._substituted | given):
            return "this value is not valid (it is not shown, as it may be secret)"
        written = self._document.written.get(path)
        return message if secret or written is None else f"{message}, but this is {written!r}"

    def _is_secret(self, path: NodePath) -> bool:
        depth = len(self._path)
        return any(self._field(path[:end]).get("writeOnly") for end in range(depth + 1, len(path) + 1))

    def _properties(self, path: NodePath) -> list[str]:
        properties = self._field(path).get("properties")
        return list(properties) if isinstance(properties, dict) else []

    def _field(self, path: NodePath) -> JsonSchema:
        """The JSON Schema of what stands at `path`; empty where the schema does not say."""
        field: JsonSchema = self._schema
        for step in path[len(self._path) :]:
            field = next((inner for option in self._options(field) for inner in _inside(option, step)), {})
        return _merged(field, self._options(field))

    def _options(self, field: JsonSchema) -> list[JsonSchema]:
        """`field` itself, or the alternatives that it refers to."""
        reference = field.get("$ref")
        if isinstance(reference, str):
            definitions = cast(Mapping[str, JsonSchema], self._schema.get("$defs", {}))
            return self._options(definitions[reference.rpartition("/")[2]])
        branches = field.get("anyOf") or field.get("allOf")
        if isinstance(branches, list):
            return [option for branch in branches for option in self._options(branch)]
        return [field]


def _inside(field: JsonSchema, step: str | int) -> Iterator[JsonSchema]:
    """What a schema says of one key or item."""
    properties = field.get("properties")
    if isinstance(properties, dict) and step in properties:
        yield properties[step]
        return
    inner = field.get("items" if isinstance(step, int) else "additionalProperties")
    if isinstance(inner, dict):
        yield inner


def _merged(field: JsonSchema, options: list[JsonSchema]) -> JsonSchema:
    """The schema of a field with what its alternatives add; the field's own description wins."""
    merged: dict[str, object] = {}
    for option in options:
        merged.update(option)
    return {**merged, **field}


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _secrets(made: BaseModel) -> Iterator[tuple[str, str | bytes]]:
    for name in type(made).model_fields:
        value = getattr(made, name)
        if isinstance(value, (SecretStr, SecretBytes)):
            yield name, value.get_secret_value()


def _holds_any(message: str, values: Iterable[str]) -> bool:
    """Whether a message gives away a value, or the password in one that is a URL."""
    passwords = {match["password"] for value in values for match in _URL_PASSWORD.finditer(value)}
    return any(value and value in message for value in {*values, *passwords})
