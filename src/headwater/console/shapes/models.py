"""What is asked and answered about the text of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.shape import Asked, Rows, Shape
from headwater.sql.read_only import MOST_CHARACTERS


class Draft(Asked):
    """The text of a model, front matter and all. `name` is its name, if it has one."""

    sql: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    name: str | None = Field(None, max_length=63, pattern=r"^[a-z][a-z0-9_]*$")
    limit: int | None = Field(None, ge=0, le=1_000_000)


class SavedText(Asked):
    """The text that a model is to have. `digest` is that of the text that was read; without one the model is new."""

    sql: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    digest: str | None = Field(None, max_length=100)


class Way(Shape):
    """How one operator of a model is kept up to date. `last_resort` says what each change costs, if there is no key to
    work by."""

    operator: str
    way: str
    detail: str
    reads: list[str]
    last_resort: str = ""


class ModelProblem(Shape):
    """What is wrong with a model, and where: lines and columns count from 1."""

    level: Literal["fail", "warn"]
    message: str
    hint: str
    file: str = ""
    line: int = 0
    column: int = 0


class ModelPreview(Rows):
    """A model before it runs, with its first rows."""

    reads: list[str]
    key: list[str]
    incremental: list[Way]
    notes: list[str]
    problems: list[ModelProblem]
    note: str
    elapsed_ms: float


class ModelText(Shape):
    """The text of a model as it lies in the project."""

    sql: str
    digest: str
    path: str


class Saved(Shape):
    """Where the text was written. Nothing runs it until it is applied."""

    path: str
    digest: str
