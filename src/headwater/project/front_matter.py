"""Splits a model's file into its settings and its SELECT.

The settings are YAML in the block comment that leads the file, if the comment's first line looks like `word:`; any
other leading comment is prose and belongs to the SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LEADING_COMMENT = re.compile(r"\A\s*/\*(?P<body>.*?)\*/", re.DOTALL)
_KEY_LINE = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_-]*\s*:(\s|\Z)")


@dataclass(frozen=True)
class ModelText:
    """A model's file, split.

    Attributes:
        front_matter: YAML text, padded so that lines and columns count as in the file; empty if there is none.
        sql: the SELECT without trailing semicolon; columns count as in the file.
        first_line: the line of the file that `sql` begins in, from 1.
    """

    front_matter: str
    sql: str
    first_line: int


def split(text: str) -> ModelText:
    """Splits the text of a model's file."""
    comment = _LEADING_COMMENT.match(text)
    if comment is None or not _KEY_LINE.match(comment["body"]):
        return _sql("", text, 0)
    start, end = comment.span("body")
    return _sql(_blanked(text[:start]) + text[start:end], text, comment.end())


def _sql(front_matter: str, text: str, start: int) -> ModelText:
    """What follows `start`, from the line of its first character on, with what stood before it blanked out."""
    rest = text[start:]
    begin = start + len(rest) - len(rest.lstrip())
    line_start = text.rfind("\n", 0, begin) + 1
    sql = _blanked(text[line_start:begin]) + text[begin:]
    return ModelText(front_matter, re.sub(r"[\s;]+\Z", "", sql), text.count("\n", 0, line_start) + 1)


def _blanked(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
