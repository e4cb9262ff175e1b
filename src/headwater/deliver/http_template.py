"""Texts with columns in them, each value escaped for the place where it stands.

`{{column}}` stands for a value, `{{*}}` for the row as a JSON object, `{{@op}}`, `{{@key}}` and `{{@epoch}}` for what
is known of the record besides. There is nothing else: conditions and expressions belong into the model's SQL.

| place | a value becomes |
|---|---|
| URL | percent-encoded text; null, empty, `.` and `..` would make it another URL: such a record is refused |
| JSON | a JSON value |
| JSON, inside of quotes | its text, escaped; null is nothing |
| form (`application/x-www-form-urlencoded`) | percent-encoded text; null is nothing |
| header | its text, if that is printable ASCII; other records are refused |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

ROW, OP, KEY, EPOCH = "*", "@op", "@key", "@epoch"
SPECIAL = frozenset((ROW, OP, KEY, EPOCH))
_PLACE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_DOTS = frozenset(("", ".", ".."))


class TemplateError(ValueError):
    """A template is not sound."""


class Refused(Exception):
    """A record cannot be written into a template; the message says why, without its values."""


Values = Mapping[str, str]
"""JSON text by column and special name."""


@dataclass(frozen=True)
class Template:
    """A text with places for values.

    Attributes:
        parts: the text between the places, one more than there are places.
        names: what each place is for.
        write: of each place, how a value (name, JSON text) is written.
    """

    parts: tuple[str, ...]
    names: tuple[str, ...]
    write: tuple[Callable[[str, str], str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""
        return tuple(dict.fromkeys(name for name in self.names if name not in SPECIAL))

    def fill(self, values: Values) -> str:
        """The text of one record.

        Raises:
            Refused: a value cannot stand where it is wanted.
        """
        pieces = [self.parts[0]]
        for name, write, part in zip(self.names, self.write, self.parts[1:], strict=True):
            pieces += (write(name, values[name]), part)
        return "".join(pieces)


def url_template(text: str) -> Template:
    """A URL.

    Raises:
        TemplateError: braces are left over, or a special name is none.
    """
    return _template(text, lambda before: _in_url)


def header_template(text: str) -> Template:
    """A header's value.

    Raises:
        TemplateError: as `url_template`, or it is not printable ASCII.
    """
    if not (text.isprintable() and text.isascii()):
        raise TemplateError("a header's value is printable ASCII")
    return _template(text, lambda before: _in_header)


def body_template(text: str, content_type: str) -> Template:
    """A body.

    Raises:
        TemplateError: as `url_template`, or it would not be JSON.
    """
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return _template(text, lambda before: _in_form)
    template = _template(text, lambda before: _in_quotes if _is_quoted(before) else _in_json)
    try:
        for value in ("null", '"x"', "1"):
            json.loads(template.fill(dict.fromkeys(template.names, value)))
    except ValueError as error:
        raise TemplateError(f"the body is not JSON once values stand in it: {error}") from error
    return template


def text_of(value: str) -> str:
    """A JSON value as plain text: a string's content, "" for null, all else as JSON writes it."""
    if value == "null":
        return ""
    return str(json.loads(value)) if value.startswith('"') else value


def _template(text: str, writer: Callable[[str], Callable[[str, str], str]]) -> Template:
    parts, names, write, at = [], [], [], 0
    for match in _PLACE.finditer(text):
        name = match[1]
        if name.startswith("@") and name not in SPECIAL:
            raise TemplateError(f"{{{{{name}}}}} is none of {', '.join(sorted(SPECIAL))}")
        parts.append(text[at : match.start()])
        names.append(name)
        write.append(writer("\0".join(parts)))
        at = match.end()
    parts.append(text[at:])
    if any("{{" in part for part in parts):
        raise TemplateError("a place is written {{column}}, and one here has no end")
    return Template(tuple(parts), tuple(names), tuple(write))


def _is_quoted(before: str) -> bool:
    """Whether what follows this much JSON stands inside of quotes."""
    return re.sub(r"\\.", "", before).count('"') % 2 == 1


def _in_url(name: str, value: str) -> str:
    text = text_of(value)
    if text in _DOTS:
        raise Refused(f"{name!r} is {'null' if value == 'null' else 'empty or dots'}, and stands in the url")
    return quote(text, safe="")


def _in_header(name: str, value: str) -> str:
    text = text_of(value)
    if not (text.isprintable() and text.isascii()):
        raise Refused(f"{name!r} stands in a header and is not printable ASCII")
    return text


def _in_json(name: str, value: str) -> str:
    return value


def _in_quotes(name: str, value: str) -> str:
    return json.dumps(text_of(value), ensure_ascii=False)[1:-1]


def _in_form(name: str, value: str) -> str:
    return quote(text_of(value), safe="")
