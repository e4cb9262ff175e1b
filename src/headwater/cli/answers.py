"""What `--json` answers: the shapes that programs may rely on, and their JSON Schema (`answers.schema.json`).

Keys may be added within a version; one that is there keeps its name, its type and its meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict


class Mistake(TypedDict):
    """An error: `code` is explained in docs/runbook.md; file, line and column are empty or 0 where there is none."""

    code: str
    message: str
    hint: str
    file: str
    line: int
    column: int


class Failed(TypedDict):
    """Any command that failed; `code` is its exit code."""

    v: Literal[1]
    code: int
    errors: list[Mistake]


class Warned(TypedDict):
    """A warning."""

    message: str
    hint: str


class Table(TypedDict):
    """A table of texts."""

    columns: list[str]
    rows: list[list[str]]


class Said(TypedDict):
    """A command that speaks in sentences: those of stderr, the lines and tables of stdout, warnings; `code` is its exit
    code."""

    v: Literal[1]
    code: int
    said: list[str]
    lines: list[str]
    tables: list[Table]
    warnings: list[Warned]


class Found(TypedDict):
    """One thing that `doctor` looked at; `source` is a source's name, or empty."""

    of: str
    source: str
    check: str
    level: Literal["ok", "warn", "fail"]
    message: str
    mend: str


class Doctor(TypedDict):
    """`headwater doctor`; ok: no finding is a fail."""

    v: Literal[1]
    ok: bool
    findings: list[Found]


class Check(TypedDict):
    """`headwater check`; unreachable: by source or sync, why. depth: types, syntax, or none."""

    v: Literal[1]
    ok: bool
    depth: Literal["none", "syntax", "types"]
    mistakes: list[Mistake]
    unreachable: dict[str, list[Mistake]]


class Segment(TypedDict):
    """A segment of the log."""

    source: str
    segment: str
    base: int
    records: int
    bytes: int


class Segments(TypedDict):
    """`headwater log ls`."""

    v: Literal[1]
    segments: list[Segment]


class Task(TypedDict):
    """Something that maintenance would do."""

    table: str
    kind: str
    reason: str
    files: int
    bytes: int


class Tasks(TypedDict):
    """`headwater maintain --dry-run`."""

    v: Literal[1]
    tasks: list[Task]


ANSWERS: dict[str, Any] = {
    "error": Failed,
    "sentences": Said,
    "doctor": Doctor,
    "check": Check,
    "log ls": Segments,
    "maintain --dry-run": Tasks,
}
"""By command, and `error` and `sentences` for all that fail or speak in sentences."""


def answers_schema() -> dict[str, object]:
    """One JSON Schema with a definition for each of `ANSWERS`: `answers.schema.json#/$defs/doctor`."""
    from pydantic import TypeAdapter

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What headwater's commands answer with --json",
        "$defs": {name: TypeAdapter(shape).json_schema() for name, shape in ANSWERS.items()},
    }
