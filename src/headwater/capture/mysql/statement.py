"""Statements of the binlog cut into tokens: enough to follow how tables change, whoever wrote the SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --(?=\s|$)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/ | /\*M?!\d* | \*/ )
  | `(?P<name> (?:[^`]|``)* )`
  | (?P<text> '(?:[^'\\]|''|\\.)*' | "(?:[^"\\]|""|\\.)*" )
  | (?P<word> [\w$@\x80-\uffff]+ )
  | (?P<sign> . )
    """,
    re.DOTALL | re.VERBOSE,
)
"""What stands in /*! ... */ is executed by the server, so only the marks around it are space."""

_ESCAPES = {"0": "\0", "n": "\n", "t": "\t", "r": "\r", "b": "\b", "Z": "\x1a"}


class NotUnderstood(Exception):
    """A statement that changes a table in a way that cannot be followed; the message says at what."""


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        kind: name (quoted), text (a string; with ANSI_QUOTES a name in double quotes), word or sign.
        text: the name or string without its quotes, the word or sign as it stands.
        upper: the word in capitals; empty if it is none.
    """

    kind: str
    text: str
    upper: str = ""


def tokens(sql: str) -> list[Token]:
    """The tokens of a statement, without comments and space."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind, text = str(match.lastgroup), match.group(match.lastgroup or 0)
        if kind == "name":
            found.append(Token("name", text.replace("``", "`")))
        elif kind == "text":
            found.append(Token("text", unquoted(text)))
        elif kind == "word":
            found.append(Token("word", text, text.upper()))
        elif kind == "sign":
            found.append(Token("sign", text))
    return found


def unquoted(literal: str) -> str:
    """A string literal's value."""
    quote = literal[0]
    plain = literal[1:-1].replace(quote * 2, quote)
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group(1)), plain, flags=re.DOTALL)


class Reading:
    """Tokens read from left to right."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens = list(found)
        self._at = 0

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._tokens)

    def peek(self, ahead: int = 0) -> Token:
        """A token that is not taken yet; an empty sign past the end."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("sign", "")

    def next(self) -> Token:
        """Takes a token."""
        token = self.peek()
        self._at += 1
        return token

    def take(self, *words: str) -> bool:
        """Takes these words or signs if they come next, in this order."""
        for ahead, word in enumerate(words):
            token = self.peek(ahead)
            if (token.upper or (token.text if token.kind == "sign" else "")) != word:
                return False
        self._at += len(words)
        return True

    def take_any(self, *words: str) -> str:
        """Takes one of these words if one comes next; which."""
        for word in words:
            if self.take(word):
                return word
        return ""

    def expect(self, *words: str) -> None:
        """Takes these words.

        Raises:
            NotUnderstood: something else comes.
        """
        if not self.take(*words):
            raise NotUnderstood(f"{' '.join(words)} expected at {self.peek().text!r}")

    def name(self) -> str:
        """Takes an identifier.

        Raises:
            NotUnderstood: something else comes.
        """
        token = self.next()
        if token.kind == "sign":
            raise NotUnderstood(f"a name expected at {token.text!r}")
        return token.text

    def table(self, database: str) -> tuple[str, str]:
        """Takes a table's name: (database, table)."""
        first = self.name()
        return (first, self.name()) if self.take(".") else (database, first)

    def group(self) -> list[Token]:
        """Takes a parenthesis and all in it; the tokens between.

        Raises:
            NotUnderstood: none comes, or it does not end.
        """
        self.expect("(")
        depth, begin = 1, self._at
        while depth:
            if self.over:
                raise NotUnderstood("a parenthesis is not closed")
            token = self.next()
            if token.kind == "sign":
                depth += (token.text == "(") - (token.text == ")")
        return self._tokens[begin : self._at - 1]

    def rest(self) -> list[Token]:
        """Takes all that is left."""
        left = self._tokens[self._at :]
        self._at = len(self._tokens)
        return left


def split(found: Sequence[Token]) -> list[list[Token]]:
    """Tokens parted at the commas that are in no parenthesis."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        if token.kind == "sign":
            depth += (token.text == "(") - (token.text == ")")
            if token.text == "," and depth == 0:
                parts.append([])
                continue
        parts[-1].append(token)
    return [part for part in parts if part]
