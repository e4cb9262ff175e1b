"""Reads `tests/*.yml`: what streams are given, and what models are expected to say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from pydantic import Field, RootModel, model_validator

from headwater.errors import Place
from headwater.project.document import Document, NodePath, YamlValue, read_yaml
from headwater.project.mistakes import Mistakes
from headwater.project.schema import DIALECT, Schema, schema_of
from headwater.project.setting import Columns, Settings
from headwater.project.settings import Watermark
from headwater.project.validation import validate

FOLDER = "tests"
OP, WEIGHT = "_op", "_weight"
OPS = ("insert", "update", "delete", "truncate")

Rows = tuple[dict[str, object], ...]


class DeclaredStream(Settings):
    """The types of a stream, where no run has told them, or others are wanted."""

    columns: dict[str, str] = Field(
        min_length=1,
        description="DuckDB's type of each column.",
        examples=[{"id": "BIGINT", "amount": "DECIMAL(10,2)"}],
    )
    key: Columns = Field(
        default=(), description="The columns that identify a row; an update then says only the new one."
    )
    watermark: Watermark | None = Field(
        default=None, description="Event time of the stream; that of headwater.yml, if not given."
    )


class ExpectedReject(Settings):
    """A row that could not go on."""

    stream: str | None = Field(default=None, description="Of this stream or model (model/input where one computes).")
    stage: Literal["evaluate", "late", "quality"] | None = Field(default=None, description="Where it could not go on.")
    reason: str | None = Field(default=None, description="Why; of a check its name.")
    key: str | None = Field(default=None, description='Its key, as a JSON array of texts: ["7"].')


class StepSettings(Settings):
    """What is given at once, and what is expected after it."""

    given: dict[str, Rows] = Field(
        default_factory=dict,
        description="By stream, the rows that come. _op: insert (if not given), update, delete or truncate; "
        "_weight: -1 is a row that goes.",
        examples=[{"orders": [{"order_id": 1, "amount": "10.50"}]}],
    )
    watermarks: dict[str, str] = Field(
        default_factory=dict, description="By stream, the event time before which nothing more is expected.",
        examples=[{"payments": "2026-01-01 00:05:00"}],
    )  # fmt: skip
    expect: dict[str, Rows] | Rows = Field(
        default_factory=dict,
        description="By model, all its rows after this step, in any order; only the columns that are named count.",
        examples=[{"revenue": [{"minute": "2026-01-01 00:00:00", "revenue": "10.50"}]}],
    )
    expect_changes: dict[str, Rows] = Field(
        default_factory=dict, description="By model, what this step changes in it: rows with their _weight."
    )
    expect_rejects: tuple[ExpectedReject, ...] | None = Field(
        default=None, description="The rows that could not go on in this step, all of them."
    )
    expect_late: dict[str, int] = Field(
        default_factory=dict, description="By model, how many rows have come too late so far."
    )
    expect_checks: dict[str, Literal["ok", "warn", "fail", "unknown"]] = Field(
        default_factory=dict, description="By check (MODEL.NAME), how it stands after this step."
    )


class OneTest(StepSettings):
    """One test of models: a step, or several."""

    name: str = Field(default="", description="What it shows; the file's name if not given.")
    description: str = Field(default="", description="More of it.")
    model: str | None = Field(default=None, description="The model that `expect` is of, if that is a list of rows.")
    streams: dict[str, DeclaredStream] = Field(default_factory=dict, description="Types of streams.")
    steps: tuple[StepSettings, ...] = Field(default=(), description="Steps, one after the other, each an epoch.")

    @model_validator(mode="after")
    def _says_one_way(self) -> OneTest:
        if self.steps and (self.given or self.expect):
            raise ValueError("a test has `steps`, or `given` and `expect`, not both")
        if isinstance(self.expect, tuple) and self.expect and self.model is None:
            raise ValueError("`expect` is by model; or write `model: NAME` beside a list of rows")
        return self


class SeveralTests(Settings):
    """Several tests in a file."""

    streams: dict[str, DeclaredStream] = Field(
        default_factory=dict, description="Types of streams, for all tests here."
    )
    tests: tuple[OneTest, ...] = Field(description="The tests.")


class TestsDocument(RootModel[SeveralTests | OneTest]):
    """`tests/*.yml`: one test, or `tests:` with several."""


@dataclass(frozen=True)
class Texts:
    """Rows as they are written.

    Attributes:
        rows: the texts of the values by column, None for null.
        ops: what happens, by row.
        places: where each row stands.
        nested: columns whose values are lists or mappings, told as JSON.
    """

    rows: Sequence[Mapping[str, str | None]] = ()
    ops: Sequence[str] = ()
    places: Sequence[Place] = ()
    nested: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GivenStep:
    """One step of a test; see `StepSettings`."""

    given: Mapping[str, Texts]
    expect: Mapping[str, Texts]
    expect_changes: Mapping[str, Texts]
    settings: StepSettings
    place: Place


@dataclass(frozen=True)
class ModelTest:
    """One test.

    Attributes:
        name: what it shows.
        file: the file's path.
        place: where it stands.
        streams: declared types, those of the file and its own.
        steps: in order.
    """

    name: str
    file: Path
    place: Place
    streams: Mapping[str, DeclaredStream] = field(default_factory=dict)
    steps: Sequence[GivenStep] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models of which something is expected."""
        named = [name for step in self.steps for name in (*step.expect, *step.expect_changes)]
        named += [name for step in self.steps for name in step.settings.expect_late]
        named += [name.partition(".")[0] for step in self.steps for name in step.settings.expect_checks]
        return tuple(dict.fromkeys(named))


def files_of_tests(folder: Path) -> list[Path]:
    """Files of tests of the project in `folder`, in order of name; hidden ones (an editor's) do not count."""
    return sorted(path for path in (folder / FOLDER).rglob("*.yml") if not path.name.startswith("."))


def read_tests(folder: Path, mistakes: Mistakes) -> list[ModelTest]:
    """Reads every test of a project; those with mistakes are left out and noted."""
    return [test for path in files_of_tests(folder) for test in _read(path, mistakes)]


def _read(path: Path, mistakes: Mistakes) -> list[ModelTest]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        mistakes.add(f"the test cannot be read: {reason}", place=Place(str(path)))
        return []
    document = read_yaml(text, file=str(path), mistakes=mistakes)
    if document is None:
        return []
    several = "tests" in document.data
    form: type[SeveralTests] | type[OneTest] = SeveralTests if several else OneTest
    found = validate(form, document.data, document=document, path=(), mistakes=mistakes)
    if found is None:
        return []
    if isinstance(found, OneTest):
        return [_test(found, path, (), document, {}, mistakes, path.stem)]
    return [
        _test(one, path, ("tests", number), document, found.streams, mistakes, f"{path.stem} {number + 1}")
        for number, one in enumerate(found.tests)
    ]


def _test(
    settings: OneTest, path: Path, at: NodePath, document: Document, shared: Mapping[str, DeclaredStream],
    mistakes: Mistakes, name: str,
) -> ModelTest:  # fmt: skip
    steps: list[GivenStep] = []
    if settings.steps:
        steps = [
            _step(one, (*at, "steps", number), document, None, mistakes) for number, one in enumerate(settings.steps)
        ]
    else:
        steps = [_step(settings, at, document, settings.model, mistakes)]
    streams = {**shared, **settings.streams}
    return ModelTest(settings.name or name, path, document.place(at), streams, steps)


def _step(settings: StepSettings, at: NodePath, document: Document, model: str | None, mistakes: Mistakes) -> GivenStep:
    data = cast("dict[str, YamlValue]", _node(document.data, at))

    def texts(key: str) -> dict[str, Texts]:
        value = data.get(key)
        if isinstance(value, list) and model is not None:
            return {model: _texts(value, (*at, key), document, mistakes)}
        given = value if isinstance(value, dict) else {}
        return {
            name: _texts(rows, (*at, key, name), document, mistakes)
            for name, rows in given.items()
            if isinstance(rows, list)
        }

    return GivenStep(texts("given"), texts("expect"), texts("expect_changes"), settings, document.place(at))


def _texts(rows: list[YamlValue], at: NodePath, document: Document, mistakes: Mistakes) -> Texts:
    told: list[dict[str, str | None]] = []
    ops: list[str] = []
    nested: set[str] = set()
    for number, row in enumerate(rows):
        assert isinstance(row, dict)
        place = document.place((*at, number))
        weight = row.get(WEIGHT, 1)
        op = str(row.get(OP, "delete" if weight == -1 else "insert"))
        if op not in OPS or weight not in (1, -1):
            mistakes.add(f"{OP} is one of {', '.join(OPS)}, and {WEIGHT} 1 or -1", place=place)
        ops.append(op)
        nested |= {name for name, value in row.items() if isinstance(value, list | dict)}
        told.append(
            {
                name: _text(value, (*at, number, name), document)
                for name, value in row.items()
                if name not in (OP, WEIGHT)
            }
        )
    places = [document.place((*at, number)) for number in range(len(rows))]
    return Texts(told, ops, places, frozenset(nested))


def _text(value: YamlValue, path: NodePath, document: Document) -> str | None:
    """A value as text, as it is written: a decimal keeps its digits."""
    if value is None:
        return None
    if isinstance(value, list | dict):
        return json.dumps(value)
    return document.written.get(path, str(value))


def _node(data: YamlValue, path: NodePath) -> YamlValue:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def tests_schema() -> Schema:
    """JSON Schema of `tests/*.yml`, for editors."""
    return {"$schema": DIALECT, **schema_of(TestsDocument), "title": "tests/*.yml"}
