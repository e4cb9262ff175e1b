"""What may stand in `headwater.yml` and in a model's front matter, apart from the connectors' own settings.

Reference pages, the JSON Schema for editors and validation all come from these classes.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, WithJsonSchema

from headwater.project.quantity import Duration, MemoryAmount, PositiveDuration

NAME_PATTERN = r"[a-z][a-z0-9_]{0,62}"


def is_name(text: str) -> bool:
    """Whether `text` can name a project, source or model."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def _check_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            "expected a name of lower-case letters, digits and _, beginning with a letter, 63 characters at most"
        )
    return text


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_check_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_many)]


class Settings(BaseModel):
    """Parent of all settings: frozen, no unknown keys, and no input in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Watermark(Settings):
    """How a stream says that a time is over."""

    column: str = Field(min_length=1, description="The event-time column.", examples=["paid_at"])
    delay: Duration = Field(
        default=timedelta(0),
        description="How much later than the newest row an older one may still come.",
        examples=["5 s"],
    )
    idle_after: PositiveDuration | None = Field(
        default=None,
        description="After so long without a row the stream no longer holds back the windows of models that read "
        "others too, until its next row; what then comes of an earlier time is late. Never, if not given.",
        examples=["1 m"],
    )


class StreamSettings(Settings):
    """What to do with one stream of a source."""

    watermark: Watermark | None = Field(default=None, description="Event time of the stream; time windows need it.")
    mirror: bool | None = Field(
        default=None, description="Land the stream as a lake table; the default is the source's."
    )


class SourceSection(Settings):
    """Keys that every source has, whatever its type."""

    type: str = Field(description="The connector.", examples=["postgres"])
    mirror: bool = Field(default=True, description="Land every stream as a lake table of the same name.")
    streams: dict[str, StreamSettings] = Field(
        default_factory=dict, description="Settings of single streams, by stream name."
    )
    history: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Streams whose every change is kept as a row of NAME_history, with * and ?; the source's "
        "transactions become rows of SOURCE_transactions.",
        examples=[["orders", "payment_*"]],
    )


class LakeSettings(Settings):
    """Where the tables are."""

    type: Literal["iceberg"] = Field(default="iceberg", description="Table format.")
    warehouse: str = Field(
        default="lake",
        min_length=1,
        description="Folder of the tables and their catalog, counted from the project's folder.",
    )
    namespace: Name | None = Field(
        default=None, description="Namespace of the tables; the default is the project's name."
    )


class LogRetention(Settings):
    """How long the log keeps records that every model and table has taken. Records that one still needs stay."""

    max_age: PositiveDuration = Field(default=timedelta(days=1), description="Older records may go.", examples=["24 h"])
    max_bytes: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)] = Field(
        default=ByteSize(10 * 2**30),
        description="The oldest records may go when a stream's log is larger; default 10 GiB.",
        examples=["10 GiB", 500_000_000],
    )


class RunSettings(Settings):
    """How `headwater run` works."""

    epoch_interval: PositiveDuration = Field(
        default=timedelta(milliseconds=500),
        description="Time between two epochs: how fresh the tables are.",
        examples=["1 s"],
    )
    epoch_max_records: int = Field(default=100_000, gt=0, description="Most records that one epoch takes.")
    checkpoint_interval: PositiveDuration = Field(
        default=timedelta(seconds=2),
        description="Time between two checkpoints: how much a restart repeats. Longer if they take long.",
        examples=["1 m"],
    )
    threads: int = Field(default=1, gt=0, description="How many threads share out the keys of each model.")
    memory: MemoryAmount = Field(
        default="50 %",
        description="About how much memory the process may take, in bytes or as a share of the machine's. What "
        "streams, tables and models remember beyond half of it is kept in files; large transactions come in slices.",
        examples=["2 GiB", "25 %"],
    )
    log_segment: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(ge=4096)] = Field(
        default=ByteSize(64 * 2**20),
        description="Size at which a file of the log is closed and another begun; default 64 MiB.",
        examples=["64 MiB"],
    )
    log_retention: LogRetention = Field(default_factory=LogRetention, description="When the log lets records go.")


class ProjectFile(Settings):
    """The top of `headwater.yml`."""

    name: Name = Field(description="Name of the project.", examples=["shop"])
    sources: dict[Name, dict[str, object]] = Field(
        default_factory=dict, description="Where changes come from, by a name of your choice."
    )
    state: str = Field(
        default=".headwater",
        min_length=1,
        description="Folder of the log and the state, counted from the project's folder.",
    )
    lake: LakeSettings = Field(default_factory=LakeSettings, description="Where the tables are.")
    run: RunSettings = Field(default_factory=RunSettings, description="How `headwater run` works.")


class ModelSettings(Settings):
    """Front matter of a model: YAML in the block comment that leads the file."""

    description: str = Field(default="", description="What the model says, in a sentence.")
    owner: str = Field(default="", description="Who answers for it.")
    key: Columns = Field(
        default=(),
        description="Columns that identify a row; found from the SQL where it can be.",
        examples=[["window_start"]],
    )
    emit: Literal["changes", "final"] = Field(
        default="changes", description="changes: every change of the result. final: a window once, when it is over."
    )
    lateness: Duration = Field(
        default=timedelta(0), description="How long after its end a window still takes rows.", examples=["5 seconds"]
    )
    late: Literal["update", "reject", "drop"] | None = Field(
        default=None,
        description="What happens to rows that are later still. update: correct the result (the default where emit is "
        "changes). reject: into the rejects (the default where it is final). drop: only counted.",
    )
    ttl: dict[Name, PositiveDuration] = Field(
        default_factory=dict,
        description="How long rows of streams stay in the model, by stream: a row leaves it, and what is kept of it, "
        "when the watermark is so far past its time.",
        examples=[{"payments": "7 days"}],
    )
    recompute: Literal["allowed", "refused"] = Field(
        default="refused",
        description="Whether the model may compute a query again over all rows at every change, where there is no key "
        "to work by.",
    )
