"""Lake tables, their past, and how they are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.overview import TableGlance
from headwater.console.shapes.shape import Asked, Column, Json, Rows, Shape


class TableEntry(TableGlance):
    """A table. `kind` says what it keeps (mirror, changelog, history, append), `feeds` the stream or model that it is
    of: "stream:orders", "model:revenue", or "" for a table of another writer."""

    kind: str
    feeds: str


class Tables(Shape):
    """All tables of the lake."""

    format: str
    tables: list[TableEntry]


class TableSnapshot(Shape):
    """One table snapshot. `id` is text, for it may be beyond 2^53; it is what `snapshot=`, `from=` and `to=` take.
    Nulls are what the commit does not say. `named` are tags and branches."""

    id: str
    at_us: int
    epoch: int | None
    operation: str
    maintenance: bool
    current: bool
    rows: int | None
    added: int | None
    deleted: int | None
    files: int | None
    bytes: int | None
    named: list[str]


class TableFile(Shape):
    """One file: data, or deletes (rows of data files that are gone)."""

    path: str
    kind: str
    rows: int
    bytes: int
    partition: str


class Layout(Shape):
    """How new files are written: columns that they are partitioned by, sorted by, and have Bloom filters of."""

    partition: list[str]
    sort: list[str]
    bloom: list[str]


class MaintenanceRun(Shape):
    """One task of maintenance that was carried out, or failed (`note` says why)."""

    kind: str
    reason: str
    at_us: int
    took_s: float
    cpu_s: float
    done: bool
    note: str
    files_removed: int
    files_added: int
    bytes_read: int
    bytes_written: int
    rows: int


class Snippets(Shape):
    """How other programs read the table; references such as $S3_KEY stand where credentials go."""

    duckdb: str
    spark: str
    pyiceberg: str
    polars: str
    headwater: str


class TableDetail(TableEntry):
    """A table closely. `snapshots` are the newest 200, newest first; `files` the largest 200 of `files_total`; `health`
    holds the figures that maintenance goes by; `held` says why it was rolled back and is left alone."""

    columns: list[Column]
    held: str | None
    key: list[str]
    location: str
    snapshots: list[TableSnapshot]
    snapshots_total: int
    files_listed: list[TableFile]
    files_total: int
    layout: Layout
    health: dict[str, float]
    maintenance: list[MaintenanceRun]
    snippets: Snippets


class AskRows(Asked):
    """As of when, and how many."""

    at: str | None = Field(None, max_length=200, description='A moment: a time, "2 hours ago", "epoch 17", "tag x".')
    snapshot: str | None = Field(None, pattern=r"^\d{1,19}$", description="A table snapshot's id.")
    limit: int = Field(100, ge=1, le=1000)


class TableRows(Rows):
    """Rows of a table, in no order. `note` says which moment they are of."""

    note: str
    elapsed_ms: float


class AskDiff(Asked):
    """Between which moments."""

    start: str = Field(alias="from", max_length=200, description="A table snapshot's id, or a moment.")
    end: str | None = Field(None, alias="to", max_length=200, description="The same; now if not given.")
    limit: int = Field(100, ge=1, le=1000)


class TableDiff(Rows):
    """What changed between two moments; rows that only moved to other files are left out. `rows` are those that went
    and came, each with its weight first: -1 gone, +1 come. An update of a key is both, and counted as `updated`."""

    added: int
    removed: int
    updated: int


class AskMaintain(Asked):
    """That a table is kept now."""

    confirm: Literal[True] = True


class Asking(Shape):
    """What was asked for; /v1/maintenance/{id} says what became of it."""

    id: str


class Maintained(Shape):
    """What became of it: `waiting`, `done`, or `failed` with the error."""

    id: str
    state: Literal["waiting", "done", "failed"]
    error: str | None
    runs: list[dict[str, Json]]
