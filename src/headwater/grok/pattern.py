"""A grok pattern and what it compiles to: one expression of RE2 and the columns that it fills.

`%{SYNTAX}`, `%{SYNTAX:name}` and `%{SYNTAX:name:type}` stand for patterns of the library or of the user's own, which
may use others; `(?<name>...)` names a part of one's own. As in Logstash, what is not named is not kept, a part that
matched nothing is null, and the pattern may match anywhere in the line. `[a][b]` as a name becomes the column `a_b`.
A name that stands several times is one column: the first of its parts that matched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import UserError
from headwater.grok.dialect import to_re2
from headwater.grok.library import DATE_FORMATS, PATTERNS

TYPES: Mapping[str, str] = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "integer": "BIGINT",
    "long": "BIGINT",
    "float": "DOUBLE",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}
"""What may stand as a field's type, and DuckDB's name of it."""

_REFERENCE = re.compile(r"%\{(?P<syntax>\w+)(?::(?P<name>[^{}:]+))?(?::(?P<type>\w+))?\}")
_NAMED = re.compile(r"(?<!\\)\(\?(?:P?<(?P<plain>[A-Za-z_]\w*)>|'(?P<quoted>[A-Za-z_]\w*)')")
_LONGEST = 100_000
_DEEPEST = 40


@dataclass(frozen=True)
class Field:
    """A column that a pattern fills.

    Attributes:
        name: the column's.
        type: DuckDB's name of its type.
        groups: names of the groups of the expression that fill it; the first that is not empty does.
        formats: of a timestamp, the formats that it may be written in.
    """

    name: str
    type: str
    groups: tuple[str, ...]
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern.

    Attributes:
        regex: an expression of RE2, whose groups are those of the fields.
        fields: in the order of the pattern.
    """

    regex: str
    fields: tuple[Field, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups in the order of the expression."""
        return tuple(sorted((name for field in self.fields for name in field.groups), key=lambda name: int(name[1:])))


class _Expansion:
    """One pattern being taken apart; gathers the fields."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = patterns
        self._fields: dict[str, Field] = {}
        self._groups = 0

    def expand(self, text: str, inside: tuple[str, ...] = ()) -> str:
        """The pattern with all references replaced, and names of ours for the groups."""
        if len(inside) > _DEEPEST:
            raise UserError(f"patterns go {_DEEPEST} deep: {' > '.join(inside[:5])} > ...")
        parts, at = [], 0
        for found in _REFERENCE.finditer(text):
            parts += [self._named(text[at : found.start()]), self._reference(found, inside)]
            at = found.end()
        parts.append(self._named(text[at:]))
        whole = "".join(parts)
        if len(whole) > _LONGEST:
            raise UserError(f"the pattern grows beyond {_LONGEST:,} characters", hint="use smaller patterns")
        return whole

    @property
    def fields(self) -> tuple[Field, ...]:
        """Found so far."""
        return tuple(self._fields.values())

    def _reference(self, found: re.Match[str], inside: tuple[str, ...]) -> str:
        syntax, name, type_ = found["syntax"], found["name"], found["type"]
        if syntax not in self._patterns:
            raise UserError(f"there is no pattern {syntax}", hint=_near(syntax, self._patterns))
        if syntax in inside:
            raise UserError(f"the pattern {syntax} uses itself: {' > '.join((*inside, syntax))}")
        group = self._group(name, type_, syntax) if name else ""
        opening = f"(?P<{group}>" if group else "(?:"
        return f"{opening}{self.expand(self._patterns[syntax], (*inside, syntax))})"

    def _named(self, text: str) -> str:
        """The text with its own named groups noted and renamed."""
        return _NAMED.sub(lambda found: f"(?P<{self._group(found['plain'] or found['quoted'], None, '')}>", text)

    def _group(self, name: str, type_: str | None, syntax: str) -> str:
        wanted = TYPES.get(type_ or "string")
        if wanted is None:
            raise UserError(f"there is no type {type_!r} of a field", hint=f"one of {', '.join(TYPES)}")
        column = re.sub(r"\W+", "_", name).strip("_")
        if not column:
            raise UserError(f"{name!r} cannot name a column")
        group, self._groups = f"g{self._groups}", self._groups + 1
        before = self._fields.get(column)
        formats = DATE_FORMATS.get(syntax, ("ISO8601",)) if wanted == TYPES["timestamp"] else ()
        if before is None:
            self._fields[column] = Field(column, wanted, (group,), formats)
        elif before.type != wanted:
            raise UserError(f"the field {column} is {before.type} in one place and {wanted} in another")
        else:
            both = tuple(dict.fromkeys((*before.formats, *formats)))
            self._fields[column] = Field(column, wanted, (*before.groups, group), both)
        return group


@lru_cache(200)
def _compiled(text: str, own: tuple[tuple[str, str], ...]) -> Pattern:
    expansion = _Expansion({**PATTERNS, **dict(own)})
    regex = to_re2(expansion.expand(text))
    try:
        pc.match_substring_regex(pa.array([""]), regex)
    except pa.ArrowInvalid as error:
        told = str(error).partition("regular expression: ")[2] or str(error)
        raise UserError(f"the pattern cannot be compiled: {told[:300]}") from error
    return Pattern(regex, expansion.fields)


def compile_pattern(text: str, own: Mapping[str, str] | None = None) -> Pattern:
    """Compiles a grok pattern.

    Args:
        text: the pattern.
        own: patterns of the user's own, by name; they hide those of the library.

    Raises:
        UserError: a pattern is not known, uses itself, or holds what no engine of linear time can do.
    """
    return _compiled(text, tuple(sorted((own or {}).items())))


def read_patterns(text: str) -> dict[str, str]:
    """Patterns of the text of a pattern file of Logstash's: a name, blanks, the pattern; lines that begin with # are
    comments.

    Raises:
        UserError: a line is not of that form.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, pattern = line.strip().partition(" ")
        if not re.fullmatch(r"\w+", name) or not pattern.strip():
            raise UserError(f"line {number} of the patterns: expected a name, a blank and a pattern")
        found[name] = pattern.strip()
    return found


def _near(name: str, known: Mapping[str, str]) -> str:
    import difflib

    close = difflib.get_close_matches(name.upper(), known, 3)
    return f"did you mean {' or '.join(close)}?" if close else "give it under `patterns:`"
