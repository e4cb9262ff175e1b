"""From the expressions that Logstash's engine (Oniguruma) reads to those of RE2.

RE2 takes time linear in its input, and so has no lookaround, no backreferences, no atomic groups and no possessive
repetition. What means the same in other words is rewritten, the rest is refused: `\\h` is a hexadecimal digit, `(?m)`
lets `.` match a newline, `{,n}` is `{0,n}`, `^` and `$` stand at every line, a group without a name is not kept, and an
atomic group whose every match has one length is a plain one.
"""

from __future__ import annotations

import re
from typing import NoReturn

from headwater.errors import UserError

_HEX = "0-9A-Fa-f"
_LINEAR = "patterns run in linear time, which this cannot"
_REFUSED_GROUPS = {
    "(?=": "a lookahead",
    "(?!": "a negative lookahead",
    "(?<=": "a lookbehind",
    "(?<!": "a negative lookbehind",
    "(?~": "an absence operator",
    "(?(": "a condition",
}
_REFUSED_ESCAPES = {"k": "a backreference", "g": "a subexpression call", "G": "\\G", "K": "\\K", "X": "\\X", "Z": "\\Z"}
_REWRITTEN_ESCAPES = {"h": f"[{_HEX}]", "H": f"[^{_HEX}]", "e": r"\x1b", "R": r"(?:\r\n|[\n\v\f\r])"}
_FLAGS = re.compile(r"\(\?([a-z]*)(-[a-z]+)?([:)])")
_FIXED = re.compile(r"(?:\\[dwsDWSh]|\\[^A-Za-z0-9]|[^\\\[\](){}*+?|.^$]|\[\^?[^\]\\\[]+\]|\{[0-9]+\})+")
_BRACES = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")


def to_re2(regex: str) -> str:
    """The expression in RE2's language. Groups of the form `(?P<name>` are kept.

    Raises:
        UserError: it holds what cannot be done in linear time; the hint says what to do instead.
    """
    return _Translation(regex).whole()


class _Translation:
    """One expression being translated from left to right."""

    def __init__(self, regex: str) -> None:
        self._regex = regex
        self._at = 0
        self._out: list[str] = []
        self._repeated = False
        self._anchored = False

    def whole(self) -> str:
        """All of it."""
        while self._at < len(self._regex):
            self._step()
        return ("(?m)" if self._anchored else "") + "".join(self._out)

    def _step(self) -> None:
        character = self._regex[self._at]
        repeats = False
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        elif character == "(":
            self._group()
        elif character in "*+?" or (character == "{" and _BRACES.match(self._regex, self._at)):
            repeats = self._repetition()
        else:
            self._anchored |= character in "^$"
            self._put(character)
        self._repeated = repeats

    def _put(self, text: str, length: int | None = None) -> None:
        """Writes `text` for the next `length` characters, by default as many as it has."""
        self._out.append(text)
        self._at += len(text) if length is None else length

    def _escape(self) -> None:
        escaped = self._regex[self._at + 1 : self._at + 2]
        if escaped.isdigit() and escaped != "0":
            self._refuse(f"the backreference \\{escaped}", "write the pattern out twice")
        if escaped in _REFUSED_ESCAPES:
            self._refuse(_REFUSED_ESCAPES[escaped], "write \\z for the end of the text" if escaped == "Z" else "")
        if escaped == "u":
            self._put(f"\\x{{{self._regex[self._at + 2 : self._at + 6]}}}", 6)
        else:
            self._put(_REWRITTEN_ESCAPES.get(escaped, "\\" + escaped), 2)

    def _class(self) -> None:
        """A class of characters, to its closing bracket."""
        start = self._at
        self._put("[^" if self._regex.startswith("[^", start) else "[")
        first = self._at
        while self._at < len(self._regex):
            rest = self._regex[self._at : self._at + 2]
            if rest[0] == "]" and self._at > first:
                self._put("]")
                return
            if rest == "[:":
                end = self._regex.find(":]", self._at)
                self._put(self._regex[self._at : end + 2] if end > 0 else "[")
            elif rest == "&&":
                self._refuse("an intersection of classes", "write the class out")
            elif rest == "\\h":
                self._put(_HEX, 2)
            elif rest == "\\H":
                self._refuse("\\H inside a class", f"write [^{_HEX}]")
            elif rest[0] == "\\":
                self._put(rest)
            else:
                self._put("\\[" if rest[0] == "[" else rest[0], 1)
        self._refuse("a class without its closing ]", "write \\[ for the character itself")

    def _group(self) -> None:
        rest = self._regex[self._at : self._at + 4]
        for opening, what in _REFUSED_GROUPS.items():
            if rest.startswith(opening):
                self._refuse(what, "say what the text itself must be; \\b stands at the edge of a word")
        if rest.startswith(("(?P<", "(?:")):
            self._put("(?P<" if rest == "(?P<" else "(?:")
        elif rest.startswith("(?#"):
            self._at = self._regex.find(")", self._at) + 1 or len(self._regex)
        elif rest.startswith("(?>"):
            self._atomic()
        elif rest.startswith("(?"):
            self._flags()
        else:
            self._put("(?:", 1)

    def _atomic(self) -> None:
        """A group that gives nothing back has nothing to give if it can only match one length."""
        body = _FIXED.match(self._regex, self._at + 3)
        if body is None or not self._regex.startswith(")", body.end()):
            self._refuse("an atomic group (?>...)", "write (?:...), if it may give back what it took")
        self._put("(?:", 3)

    def _flags(self) -> None:
        found = _FLAGS.match(self._regex, self._at)
        if found is None or not set(found[1] + (found[2] or "-")[1:]) <= set("im"):
            self._refuse(f"the group {self._regex[self._at : self._at + 6]}...", "only the flags i and m are known")
        self._put(found[0].replace("m", "s"), len(found[0]))

    def _repetition(self) -> bool:
        """`*`, `+`, `?` or `{n,m}`, or the `?` that makes one lazy; whether a sign that follows would be of it."""
        character = self._regex[self._at]
        if self._repeated and character == "+":
            self._refuse("a possessive repetition", "leave the second + out, if it may give back what it took")
        braces = _BRACES.match(self._regex, self._at)
        if braces is None or not (braces[1] or braces[3]):
            self._put(character)
        elif braces[2] and not braces[1]:
            self._put(f"{{0,{braces[3]}}}", len(braces[0]))
        else:
            self._put(braces[0])
        return not (self._repeated and character == "?")

    def _refuse(self, what: str, hint: str) -> NoReturn:
        near = self._regex[max(0, self._at - 10) : self._at + 20]
        raise UserError(f"{what} at ...{near}...: {_LINEAR}", hint=hint)
