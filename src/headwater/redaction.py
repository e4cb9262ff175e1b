"""Keeps secrets out of what is written: messages, the log of events, the status, tracebacks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

MASK = "***"
LEAST = 4
"""Secrets shorter than this are not looked for in free text: they would hide half of it."""

_URL_PASSWORD = re.compile(r"(://[^:@/\s]*:)(?!\$\{\w+\}@)[^@\s]+@")
_KEYWORD_PASSWORD = re.compile(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'&]+)", re.IGNORECASE)


def redacted(text: str) -> str:
    """`text` without the passwords of URLs and connection strings; a reference such as `${PASSWORD}` in the place of a
    URL's stays."""
    return _KEYWORD_PASSWORD.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1{MASK}@", text))


class Secrets:
    """Values that no text may show.

    Args:
        values: passwords, tokens, URLs that hold a password.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        found = {part for value in values for part in _parts(value) if len(part) >= LEAST}
        self._values = sorted(found, key=len, reverse=True)

    def and_also(self, values: Iterable[str]) -> Secrets:
        """These, and more."""
        return Secrets([*self._values, *values])

    def mask(self, text: str) -> str:
        """`text` without them, and without what looks like a password in it."""
        for value in self._values:
            text = text.replace(value, MASK)
        return redacted(text)


def _parts(value: str) -> list[str]:
    """A secret, and the password in it if it is a URL or a connection string, as it stands and decoded."""
    inside = [match.group(0).split(":", 2)[-1].removesuffix("@") for match in _URL_PASSWORD.finditer(value)]
    inside += [match.group(2).strip("'") for match in _KEYWORD_PASSWORD.finditer(value)]
    return [value, *inside, *(unquote(part) for part in inside)]
