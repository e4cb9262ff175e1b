"""What may stand under `checks:` of a model's front matter, and in `checks/*.yml`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, RootModel, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from headwater.project.quantity import PositiveDuration
from headwater.project.setting import Columns, Name, Settings

Value = StrictBool | StrictInt | StrictFloat | StrictStr
"""A value as YAML has it; text takes the type of the column."""

SomeColumns = Annotated[Columns, Field(min_length=1)]


class Accepted(Settings):
    """The values that a column may have."""

    column: str = Field(min_length=1, description="The column.", examples=["status"])
    values: tuple[Value, ...] = Field(
        min_length=1, description="What it may hold; NULL passes.", examples=[["open", "paid"]]
    )


class Range(Settings):
    """The bounds of a column."""

    column: str = Field(min_length=1, description="The column.", examples=["amount"])
    min: Value | None = Field(default=None, description="The least value that passes.", examples=[0])
    max: Value | None = Field(default=None, description="The largest value that passes.", examples=[10000])
    above: Value | None = Field(default=None, description="Only what is larger passes.")
    below: Value | None = Field(default=None, description="Only what is less passes.")

    @model_validator(mode="after")
    def _has_a_bound(self) -> Range:
        if all(bound is None for bound in (self.min, self.max, self.above, self.below)):
            raise ValueError("a range needs a bound: min, max, above or below")
        return self


class RowCount(Settings):
    """How many rows there may be at the end of an epoch."""

    min: int | None = Field(default=None, ge=0, description="At least so many.", examples=[1])
    max: int | None = Field(default=None, ge=0, description="At most so many.")

    @model_validator(mode="after")
    def _has_a_bound(self) -> RowCount:
        if self.min is None and self.max is None:
            raise ValueError("a row_count needs a bound: min or max")
        return self


class Freshness(Settings):
    """How old the newest row may be."""

    column: str = Field(min_length=1, description="A column of times.", examples=["ordered_at"])
    within: PositiveDuration = Field(description="How long ago the newest may be.", examples=["10 min"])


class Volume(Settings):
    """Whether about as many rows appear as usual, by a robust z-score over the check's own history."""

    every: PositiveDuration = Field(
        default=timedelta(hours=1), description="The period over which rows are counted.", examples=["1 h"]
    )
    z: float = Field(default=3.5, gt=0, description="A period with a larger robust z-score is unusual.")
    history: int = Field(default=48, ge=7, le=1000, description="So many periods tell what is usual.")


class Referential(Settings):
    """Every row has a partner in another stream or model."""

    columns: SomeColumns = Field(description="The columns here; a row with NULL in one passes.", examples=["order_id"])
    to: str = Field(min_length=1, description="The stream or model of the partners.", examples=["orders"])
    key: Columns = Field(default=(), description="Its columns; those of the same names, if not given.")


KINDS = (
    "not_null", "accepted", "range", "expression", "unique", "referential", "row_count", "freshness", "volume",
)  # fmt: skip


class CheckEntry(Settings):
    """One check: one of the kinds, and what happens when it fails."""

    not_null: SomeColumns | None = Field(default=None, description="Columns that are never NULL.", examples=["amount"])
    accepted: Accepted | None = Field(default=None, description="The values that a column may have.")
    range: Range | None = Field(default=None, description="The bounds of a column.")
    expression: str | None = Field(
        default=None, min_length=1, description="SQL over the columns of a row; the row passes unless it is false.",
        examples=["amount >= 0 OR kind = 'refund'"],
    )  # fmt: skip
    unique: SomeColumns | None = Field(
        default=None, description="Columns in which no two rows agree; rows with NULL in one pass.", examples=["email"]
    )
    referential: Referential | None = Field(default=None, description="Every row has a partner elsewhere.")
    row_count: RowCount | None = Field(default=None, description="How many rows there may be.")
    freshness: Freshness | None = Field(default=None, description="How old the newest row may be.")
    volume: Volume | None = Field(default=None, description="Whether about as many rows appear as usual.")
    severity: Literal["warn", "reject", "stop"] = Field(
        default="warn",
        description="warn: it is told. reject: rows that fail are kept in the ledger instead of the table (kinds that "
        "look at each row). stop: an epoch after which it fails is not committed.",
    )
    name: Name | None = Field(default=None, description="Its name; made of the kind and the columns if not given.")
    description: str = Field(default="", description="Why it matters, in a sentence.")

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _is_one(self) -> CheckEntry:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = f"this one has {' and '.join(given)}" if given else "this one has none"
            raise ValueError(f"a check states one thing ({', '.join(KINDS)}); {said}")
        if self.severity == "reject" and given[0] not in KINDS[:4]:
            raise ValueError(
                f"{given[0]} cannot reject: it judges rows together, and says of no single one that it is the bad one; "
                "use warn or stop"
            )
        return self


class ChecksFile(RootModel[dict[str, tuple[CheckEntry, ...]]]):
    """`checks/*.yml`: by stream or model, its checks."""
