"""What may stand in `headwater.yml` and in a model's front matter, apart from the connectors' own settings.

Reference pages, the JSON Schema for editors and validation all come from these classes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    WithJsonSchema,
)

from headwater.api.settings import ApiSettings
from headwater.lake.layout import partition_by, sort_by
from headwater.project.check_settings import CheckEntry
from headwater.project.lake_settings import LakeSettings
from headwater.project.quantity import Duration, MemoryAmount, PositiveDuration
from headwater.project.setting import Columns, Name, Settings, one_or_many


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


def _layout_entry(read: Callable[[str], object]) -> Callable[[str], str]:
    def checked(text: str) -> str:
        read(text)
        return text

    return checked


PartitionText = Annotated[str, AfterValidator(_layout_entry(partition_by))]
SortText = Annotated[str, AfterValidator(_layout_entry(sort_by))]


class TableSettings(Settings):
    """What a lake table keeps of its stream or model, and how its files lie."""

    kind: Literal["mirror", "changelog", "history", "append"] = Field(
        default="mirror",
        description="mirror: the rows that are there now. changelog: every change as a row. history: every version of "
        "every row, with the time in which it was valid. append: every row that ever came; what goes is only counted.",
    )
    deletes: Literal["hard", "soft"] = Field(
        default="hard",
        description="soft: a deleted row stays in the mirror, _is_deleted is true and _deleted_at when.",
    )
    dropped: Literal["keep", "remove"] = Field(
        default="keep",
        description="What becomes of a mirror's column that the stream or model no longer has. keep: it stays, null in "
        "new rows. remove: it leaves the table, as does one that another engine added; older table snapshots have it.",
    )
    partition: Annotated[tuple[PartitionText, ...], BeforeValidator(one_or_many)] = Field(
        default=(),
        description="What the rows of a file agree in: columns, or year(c), month(c), day(c), hour(c), bucket(N, c), "
        "truncate(W, c) of them.",
        examples=[["day(ordered_at)", "bucket(16, customer_id)"]],
    )
    sort: Annotated[tuple[SortText, ...], BeforeValidator(one_or_many)] = Field(
        default=(),
        description="The order of the rows of a file: columns, with asc or desc and nulls first or nulls last.",
        examples=[["customer_id", "ordered_at desc"]],
    )
    bloom: Columns = Field(
        default=(), description="Columns that single values are looked up in: each file has a Bloom filter of them."
    )


class StreamSettings(Settings):
    """What to do with one stream of a source."""

    watermark: Watermark | None = Field(default=None, description="Event time of the stream; time windows need it.")
    mirror: bool | None = Field(
        default=None, description="Land the stream as a lake table; the default is the source's."
    )
    table: TableSettings | None = Field(default=None, description="What the lake table of the same name is like.")
    tables: dict[Name, TableSettings] = Field(
        default_factory=dict,
        description="More lake tables, by name.",
        examples=[{"orders_history": {"kind": "history"}}],
    )


class SourceSection(Settings):
    """Keys that every source has, whatever its type."""

    type: str = Field(description="The connector.", examples=["postgres"])
    mirror: bool = Field(default=True, description="Land every stream as a lake table of the same name.")
    streams: dict[str, StreamSettings] = Field(
        default_factory=dict, description="Settings of single streams, by stream name."
    )
    audit: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Streams whose every change is kept as a row of NAME_audit, with * and ?; the source's "
        "transactions become rows of SOURCE_transactions.",
        examples=[["orders", "payment_*"]],
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


Size = Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)]


class RejectsSettings(Settings):
    """How much the ledger of rejects may hold."""

    max_bytes: Size = Field(
        default=ByteSize(10 * 2**30),
        description="Bytes of its records from which on models and tables stop until rejects have been replayed or "
        "discarded: nothing is dropped. Settled ones go first. Default 10 GiB.",
        examples=["2 GiB"],
    )
    keep_settled: PositiveDuration = Field(
        default=timedelta(days=30),
        description="How long replayed, superseded and discarded rejects stay after they were last seen.",
    )


Share = Annotated[float, Field(gt=0, le=1)]


class MaintenanceSettings(Settings):
    """How tables are kept while the project runs, and by `headwater maintain`."""

    enabled: bool = Field(
        default=True, description="Whether `headwater run` does it; `headwater maintain` does so when it is asked."
    )
    target_file_size: Size = Field(
        default=ByteSize(128 * 2**20), description="How large data files are made; default 128 MiB."
    )
    merge_files: int = Field(
        default=8, ge=2, description="So many small files of about one size become one; so do files of deletes."
    )
    most_deleted: Share = Field(
        default=0.3, description="A data file of which a larger share of rows is deleted is rewritten."
    )
    keep_snapshots: int = Field(default=100, ge=1, description="Table snapshots kept, besides tags and branches.")
    keep_snapshots_for: PositiveDuration = Field(
        default=timedelta(days=5), description="Older table snapshots go even if there are fewer."
    )
    orphan_age: Duration = Field(
        default=timedelta(days=3),
        description="How old a file must be that no table snapshot ever named before it is removed: longer than any "
        "commit takes.",
    )
    longest_query: Duration = Field(
        default=timedelta(hours=1),
        description="How long files stay after the last table snapshot that names them has gone, for whoever reads it.",
    )
    interval: PositiveDuration = Field(default=timedelta(seconds=5), description="Time between two looks at a table.")
    share: Share = Field(default=0.25, description="Most of the time that it works, of all.")
    bytes_per_second: Size | None = Field(
        default=None, description="Most bytes that it reads and writes a second; no limit if not given."
    )
    alarm_files: int = Field(
        default=500,
        gt=0,
        description="Small files and files of deletes of one table from which on there is an alarm, and epochs wait "
        "for maintenance.",
    )
    alarm_deleted: Share = Field(
        default=0.6, description="Share of a table's rows in its files that is deleted from which on it is so too."
    )
    longest_wait: Duration = Field(
        default=timedelta(seconds=10), description="Longest that an epoch waits for maintenance."
    )


class OutboxRetention(Settings):
    """How long a sync's outbox keeps what was delivered, to be looked at. What was not delivered stays."""

    max_age: Duration = Field(default=timedelta(hours=1), description="Older records may go.", examples=["1 h"])
    max_bytes: Size = Field(
        default=ByteSize(256 * 2**20), description="The oldest may go when there are more; default 256 MiB."
    )


class SyncSection(Settings):
    """Keys that every sync has, whatever its type. A sync sends the changes of a model to a destination."""

    type: str = Field(description="The destination.", examples=["postgres"])
    model: str = Field(min_length=1, description="The model whose changes are sent.", examples=["revenue_by_minute"])
    key: Columns = Field(
        default=(),
        description="Columns that identify a record at the destination: those of the model's key, and more if you "
        "like. The default is the model's key. Without any, rows are only ever inserted.",
        examples=[["customer_id"]],
    )
    start: Literal["all", "changes"] = Field(
        default="all",
        description="What a new sync sends first. all: every row that the model has. changes: only what changes from "
        "then on; what the first snapshot of its sources brings is left out.",
    )
    send: Literal["newest", "every"] | None = Field(
        default=None,
        description="newest: of several changes of a key that wait, only the newest is sent, and it takes the place of "
        "one that was refused. every: each is sent, in order, and waits behind one that was refused. The default is "
        "what is best for the destination.",
    )
    retractions: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="What happens when a row goes from a model without a key, which cannot be sent. refuse: such a "
        "model is not allowed, unless its rows only ever appear. ignore: it is counted, and not sent.",
    )
    batch_records: int = Field(default=1000, gt=0, description="Most records that are handed over at once.")
    records_per_second: float | None = Field(
        default=None, gt=0, description="Most records a second; no limit if not given."
    )
    attempts: int = Field(
        default=8,
        gt=0,
        description="How often a record is tried before it is parked, while others get through. While none does, the "
        "destination is taken to be down, and nothing is parked.",
    )
    first_wait: PositiveDuration = Field(
        default=timedelta(milliseconds=200),
        description="Wait before a second try; it doubles each time, and a random part of it is taken off.",
    )
    longest_wait: PositiveDuration = Field(default=timedelta(minutes=5), description="The longest such wait.")
    keep: OutboxRetention = Field(
        default_factory=OutboxRetention, description="How long delivered records can be looked at."
    )


class LineageSettings(Settings):
    """A lineage service (Marquez, DataHub, OpenMetadata) that is told what becomes of what, in OpenLineage's events."""

    url: str = Field(pattern=r"^https?://", description="Its address.", examples=["http://localhost:5000"])
    endpoint: str = Field(default="api/v1/lineage", description="Path that takes events.")
    token: SecretStr | None = Field(
        default=None, description="Shown to it as `Authorization: Bearer ...`.", examples=["${LINEAGE_TOKEN}"]
    )
    namespace: str = Field(default="headwater", min_length=1, description="Namespace of jobs and data sets.")
    interval: PositiveDuration = Field(
        default=timedelta(minutes=5), description="Time between two tellings while the project runs.", examples=["5 m"]
    )


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
    syncs: dict[Name, dict[str, object]] = Field(
        default_factory=dict, description="Which models' changes are sent where, by a name of your choice."
    )
    run: RunSettings = Field(default_factory=RunSettings, description="How `headwater run` works.")
    maintenance: MaintenanceSettings = Field(
        default_factory=MaintenanceSettings, description="How tables are kept small and healthy."
    )
    api: ApiSettings | None = Field(
        default=None, description="The web server of a running project; there is one too if a source needs it."
    )
    rejects: RejectsSettings = Field(
        default_factory=RejectsSettings, description="How much the ledger of rejects may hold."
    )
    lineage: LineageSettings | None = Field(
        default=None, description="Where to tell OpenLineage events; without it none are told."
    )


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
    checks: tuple[CheckEntry, ...] = Field(
        default=(),
        description="What must be true of its rows.",
        examples=[[{"not_null": ["amount"], "severity": "reject"}]],
    )
    table: TableSettings | None = Field(default=None, description="What the lake table of the same name is like.")
    tables: dict[Name, TableSettings] = Field(
        default_factory=dict,
        description="More lake tables, by name.",
        examples=[{"orders_history": {"kind": "history"}}],
    )
