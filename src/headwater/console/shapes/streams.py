"""Streams as the log has them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headwater.console.shapes.shape import Asked, Column, Json, Shape

Op = Literal["read", "insert", "update", "delete", "truncate", "snapshot_begin", "snapshot_end"]
LIMIT = Field(100, ge=1, le=1000, description="At most so many records.")
FILTER = Field("", max_length=2000, description="One SQL condition over the columns and _op, _weight, _offset, _time.")


class Stream(Shape):
    """A stream. Offsets are those of its source's log, which its records share with those of other streams: `base` is
    the first that is kept, `head` the next to be written. `changes` counts all since the beginning. `changelog` says
    how much a change holds: append, upsert (deletes are keys only), full. `timed`: it can be sought by time."""

    name: str
    source: str
    type: str
    key: list[str]
    changelog: str
    columns: list[Column]
    base: int
    head: int
    changes: int
    rejects: int
    rows_per_s: float
    timed: bool


class Streams(Shape):
    """All streams that are known."""

    streams: list[Stream]


class Record(Shape):
    """One change as it lies in the log. `position` is the source's, "commit:ordinal"; `at_us` its commit time there,
    null if unknown; `row` has the values in the order of the columns."""

    offset: int
    op: Op
    weight: int
    position: str
    at_us: int | None
    row: list[Json]


class AskRecords(Asked):
    """Where to begin, and which records."""

    offset: int | None = Field(None, ge=0, description="Begin at this offset (with `reverse`: before it).")
    at_us: int | None = Field(None, ge=0, description="Begin at the first transaction of this time or later.")
    origin: Literal["earliest", "latest"] | None = Field(None, alias="from", description="`latest` implies `reverse`.")
    limit: int = LIMIT
    filter: str = FILTER
    reverse: bool = Field(False, description="Newest first, before the place.")


class Records(Shape):
    """Records of a stream. `next_offset` is where to ask next, in the same direction; `done` is true when the end (or
    with `reverse` the beginning) of the log was reached; neither full nor done means that the time for looking ran out:
    ask on. `scanned` counts the log's records that were looked at."""

    stream: str
    columns: list[Column]
    records: list[Record]
    base: int
    head: int
    next_offset: int
    done: bool
    scanned: int


class AskTail(Asked):
    """Which records."""

    filter: str = FILTER
    last: int = Field(20, ge=0, le=200, description="So many that are there already come first.")


class Tailed(Shape):
    """Records that have come. `skipped` offsets of the log were passed over, for more came than can be shown."""

    columns: list[Column]
    records: list[Record]
    skipped: int
    head: int


class AskFixture(Asked):
    """Which part of the stream."""

    start: int | None = Field(None, alias="from", ge=0, description="First offset; by default the last 20 records.")
    end: int | None = Field(None, alias="to", ge=0, description="The offset after the last.")
    limit: int = Field(100, ge=1, le=1000)
