"""How the command line speaks: data to stdout, words to stderr, colour only on a terminal, errors with their place.

Exit codes are a promise: 0 it worked, 1 it failed, 2 wrong usage, 3 the project is not valid, 4 a connection failed,
5 data or a verification is wrong, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from headwater.errors import (
    CheckFailed,
    CorruptCheckpoint,
    CorruptLog,
    DestinationStopped,
    DestinationUnavailable,
    HeadwaterError,
    Place,
    ProjectError,
    SourceStopped,
    SourceUnavailable,
    SqlError,
)
from headwater.redaction import redacted

OK, FAILED, USAGE, INVALID, UNREACHABLE, WRONG_DATA, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[tuple[type[HeadwaterError], ...], int], ...] = (
    ((ProjectError, SqlError), INVALID),
    ((SourceUnavailable, SourceStopped, DestinationUnavailable, DestinationStopped), UNREACHABLE),
    ((CorruptLog, CorruptCheckpoint, CheckFailed), WRONG_DATA),
)
_SECRET_KEY = re.compile(
    r"(?P<key>\b\w*(?:url|dsn|passw\w*|secret\w*|token\w*|credential\w*|api_?key|conninfo)\s*:\s*)(?P<value>[^\s#].*)",
    re.I,
)

Segment = tuple[str, str]
"""Text and its style, in rich's words."""


def exit_code(error: HeadwaterError) -> int:
    """The exit code that stands for an error."""
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILED)


@dataclass
class Said:
    """What a command said while it was listened to (`gathered`)."""

    said: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    tables: list[dict[str, object]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return dict(vars(self))


_LISTENING: ContextVar[Said | None] = ContextVar("listening", default=None)


@contextmanager
def gathered() -> Iterator[Said]:
    """Nothing that is said meanwhile is printed, but for errors; it is in what this gives."""
    said = Said()
    token = _LISTENING.set(said)
    try:
        yield said
    finally:
        _LISTENING.reset(token)


def is_listened_to() -> bool:
    """Whether what is said is gathered, not printed."""
    return _LISTENING.get() is not None


def print_json(value: Mapping[str, object]) -> None:
    """Prints one JSON object to stdout, with "v": 1 first."""
    print(json.dumps({"v": 1, **value}, ensure_ascii=False))


def print_data(line: str) -> None:
    """Prints a line of data to stdout."""
    if (listening := _LISTENING.get()) is not None:
        listening.lines.append(line)
        return
    print(line)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints left-aligned columns to stdout."""
    if (listening := _LISTENING.get()) is not None:
        listening.tables.append({"columns": list(header), "rows": [list(row) for row in rows]})
        return
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        _write(sys.stdout, [(text, "bold" if number == 0 else "")])


def print_styled(segments: list[Segment]) -> None:
    """Prints a line to stdout, in colour on a terminal."""
    _write(sys.stdout, segments)


def counted(count: int, noun: str) -> str:
    """ "1 model", "2 models"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """A number of bytes for people: "512 bytes", "3.4 MB" (of 10^6 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return counted(count, "byte")


def note(message: str) -> None:
    """Says something to the person at the terminal, on stderr."""
    if (listening := _LISTENING.get()) is not None:
        listening.said.append(message)
        return
    _write(sys.stderr, [(message, "")])


def warn(message: str, hint: str = "") -> None:
    """Says on stderr that something is not as it might be."""
    if (listening := _LISTENING.get()) is not None:
        listening.warnings.append({"message": redacted(message), "hint": hint})
        return
    _write(sys.stderr, [("warning: ", "yellow"), (redacted(message), "")])
    if hint:
        _write(sys.stderr, [("  hint: ", "cyan"), (hint, "")])


def print_error(error: HeadwaterError) -> None:
    """Prints an error to stderr: what, its code (docs/runbook.md), where with the line of the file and a
    caret, and what mends it."""
    for mistake in error.mistakes if isinstance(error, ProjectError) else [error]:
        _print_one(mistake)
    if isinstance(error, ProjectError) and len(error.mistakes) > 1:
        note(error.message)


def print_usage_error(message: str, command: str = "") -> None:
    """Says on stderr what was wrong with the command as typed, and where the help of that `command` is."""
    _write(sys.stderr, [("error: ", "bold red"), (redacted(message.strip()), "bold")])
    _write(sys.stderr, [("  hint: ", "cyan"), (" ".join(("headwater", *command.split(), "--help")), "")])


def error_json(error: HeadwaterError) -> list[dict[str, object]]:
    """An error as `--json` prints it: one object for each mistake."""
    mistakes = error.mistakes if isinstance(error, ProjectError) else [error]
    return [_as_json(mistake) for mistake in mistakes]


def _as_json(error: HeadwaterError) -> dict[str, object]:
    place = error.place or Place("")
    return {
        "code": error.code,
        "message": redacted(error.message),
        "hint": error.hint,
        "file": place.file,
        "line": place.line,
        "column": place.column,
    }


def _print_one(error: HeadwaterError) -> None:
    _write(sys.stderr, [("error: ", "bold red"), (redacted(error.message), "bold"), (f" [{error.code}]", "dim")])
    if error.place is not None:
        for line in excerpt(error.place):
            _write(sys.stderr, line)
    if error.hint:
        _write(sys.stderr, [("  hint: ", "cyan"), (redacted(error.hint), "")])


def excerpt(place: Place) -> list[list[Segment]]:
    """The place, the line of the file that it names with what is secret masked, and a caret below the column."""
    lines: list[list[Segment]] = [[("  --> ", "blue"), (str(place), "")]]
    text = _line(place)
    if text is None:
        return lines
    number = str(place.line)
    margin = " " * len(number)
    before = re.sub(r"[^\t]", " ", text[: place.column - 1])
    word = re.match(r"[\w.\-]+", text[place.column - 1 :])
    shown = mask_secret(text)
    lines.append([(f"  {number} | ", "blue"), (shown, "")])
    if shown == text or place.column <= _masked_from(text):
        carets = "^" * (len(word[0]) if word and shown == text else 1)
        lines.append([(f"  {margin} | ", "blue"), (before + carets, "red")])
    return lines


def _line(place: Place) -> str | None:
    if not place.line:
        return None
    try:
        lines = Path(place.file).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return None
    return lines[place.line - 1].rstrip("\r") if place.line <= len(lines) else None


def mask_secret(line: str) -> str:
    """A line of a project file with what may be a secret masked; references such as `${NAME}` stay."""
    secret = _SECRET_KEY.search(line)
    if secret is None or secret["value"].lstrip("\"'").startswith("${"):
        return redacted(line)
    return redacted(line[: secret.start("value")]) + "***"


def _masked_from(line: str) -> int:
    """Column, from 1, up to which a masked line is as it was."""
    masked = mask_secret(line)
    return next((at for at, (a, b) in enumerate(zip(line, masked, strict=False), 1) if a != b), len(masked) + 1)


def _write(stream: TextIO, segments: list[Segment]) -> None:
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        stream.write("".join(text for text, _ in segments) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    Console(file=stream, soft_wrap=True, highlight=False).print(Text.assemble(*segments))
