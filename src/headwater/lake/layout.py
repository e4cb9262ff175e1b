"""How the rows of a table lie in files: partitions, order, Bloom filters. Neutral of the table format.

The transforms are Iceberg's (https://iceberg.apache.org/spec/#partition-transforms), written as its SQL extensions do:
`region`, `day(ordered_at)`, `bucket(16, customer_id)`, `truncate(4, code)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

import pyarrow as pa

from headwater.lake.columns import lake_columns

Transform = Literal["identity", "bucket", "truncate", "year", "month", "day", "hour"]

_TIMES = ("year", "month", "day", "hour")
_SIZED = re.compile(r"(bucket|truncate)\s*\(\s*(\d+)\s*,\s*([^()]+?)\s*\)", re.IGNORECASE)
_TIME = re.compile(r"(year|month|day|hour|identity)\s*\(\s*([^()]+?)\s*\)", re.IGNORECASE)
_ORDER = re.compile(r"(\S+)(?:\s+(asc|desc))?(?:\s+nulls\s+(first|last))?", re.IGNORECASE)
PARTITION_FORM = "a column, or one of year(c), month(c), day(c), hour(c), bucket(N, c), truncate(W, c)"
SORT_FORM = "a column, with asc or desc and nulls first or nulls last behind it"


@dataclass(frozen=True)
class PartitionBy:
    """One partition column.

    Attributes:
        column: the column that it is computed from.
        transform: how.
        size: number of buckets, or width; 0 for other transforms.
    """

    column: str
    transform: Transform = "identity"
    size: int = 0

    def __str__(self) -> str:
        if self.size:
            return f"{self.transform}({self.size}, {self.column})"
        return self.column if self.transform == "identity" else f"{self.transform}({self.column})"


@dataclass(frozen=True)
class SortBy:
    """One column that the rows of a file are in order of."""

    column: str
    descending: bool = False
    nulls_first: bool = False

    def __str__(self) -> str:
        order = " desc" if self.descending else ""
        return f"{self.column}{order}{' nulls first' if self.nulls_first else ''}"


@dataclass(frozen=True)
class Layout:
    """How new files of a table are written; files that are there stay as they are.

    Attributes:
        partition: rows of one file agree in these.
        sort: the order of the rows of a file.
        bloom: columns that have a Bloom filter in each file, for look-ups of single values.
    """

    partition: tuple[PartitionBy, ...] = ()
    sort: tuple[SortBy, ...] = ()
    bloom: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it names, each once."""
        named = (*(p.column for p in self.partition), *(s.column for s in self.sort), *self.bloom)
        return tuple(dict.fromkeys(named))

    def __str__(self) -> str:
        parts = (
            ("partition", ", ".join(map(str, self.partition))),
            ("sort", ", ".join(map(str, self.sort))),
            ("bloom", ", ".join(self.bloom)),
        )
        return "; ".join(f"{name}: {text}" for name, text in parts if text) or "none"


@dataclass(frozen=True)
class Misfit:
    """A part of a layout that does not go with a table's columns.

    Attributes:
        part: `partition`, `sort` or `bloom`.
        number: which entry of it.
        message, expected: what is wrong, and what would be right.
    """

    part: str
    number: int
    message: str
    expected: str


def partition_by(text: str) -> PartitionBy:
    """Reads one entry of `partition:`.

    Raises:
        ValueError: it is not written as any of them is.
    """
    text = text.strip()
    if sized := _SIZED.fullmatch(text):
        if not int(sized[2]):
            raise ValueError(f"expected a number above 0 in {text!r}")
        return PartitionBy(sized[3], cast(Transform, sized[1].lower()), int(sized[2]))
    if timed := _TIME.fullmatch(text):
        return PartitionBy(timed[2], cast(Transform, timed[1].lower()))
    if not text or re.search(r"[()\[\]]", text):
        raise ValueError(f"expected {PARTITION_FORM}")
    return PartitionBy(text)


def sort_by(text: str) -> SortBy:
    """Reads one entry of `sort:`.

    Raises:
        ValueError: it is not written as one is.
    """
    found = _ORDER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected {SORT_FORM}")
    return SortBy(found[1], (found[2] or "").lower() == "desc", (found[3] or "").lower() == "first")


def misfits(layout: Layout, columns: pa.Schema) -> Iterator[Misfit]:
    """What of a layout a table of these columns cannot have."""
    kinds = {field.name: field.type for field in lake_columns(columns)}
    listed = ", ".join(kinds)
    entries = [("partition", number, by.column) for number, by in enumerate(layout.partition)]
    entries += [("sort", number, by.column) for number, by in enumerate(layout.sort)]
    entries += [("bloom", number, column) for number, column in enumerate(layout.bloom)]
    for part, number, column in entries:
        if column not in kinds:
            yield Misfit(part, number, f"the table has no column {column!r}", f"its columns are {listed}")
        elif pa.types.is_nested(kinds[column]):
            yield Misfit(part, number, f"the column {column!r} is {kinds[column]}", "a column of single values")
        elif part == "bloom" and pa.types.is_boolean(kinds[column]):
            yield Misfit(part, number, f"the column {column!r} is a boolean", "a column of many values")
        elif part == "partition" and (expected := _expected(layout.partition[number], kinds[column])):
            what = layout.partition[number].transform
            yield Misfit(part, number, f"{what} cannot be taken of the column {column!r}: {kinds[column]}", expected)
    yield from _repeated(layout)


def _repeated(layout: Layout) -> Iterator[Misfit]:
    seen: set[tuple[str, str]] = set()
    for number, by in enumerate(layout.partition):
        kind = "time" if by.transform in _TIMES else str(by)
        if (by.column, kind) in seen:
            expected = (
                "one of year, month, day and hour of a column, and nothing twice: the finer one holds the coarser"
            )
            yield Misfit("partition", number, f"the column {by.column!r} is there before", expected)
        seen.add((by.column, kind))


def _expected(by: PartitionBy, kind: pa.DataType) -> str:
    """What the column would have to be; empty if it is that."""
    floating, texts = pa.types.is_floating(kind), pa.types.is_string(kind) or pa.types.is_binary(kind)
    if by.transform == "hour" and not pa.types.is_timestamp(kind):
        return "a column of timestamps"
    if by.transform in _TIMES and not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return "a column of timestamps or dates"
    if by.transform == "bucket" and (floating or pa.types.is_boolean(kind)):
        return "a column of whole numbers, decimals, texts, bytes, dates or times"
    if by.transform == "truncate" and not (texts or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        return "a column of whole numbers, decimals, texts or bytes"
    return "a column that is not of floating point" if by.transform == "identity" and floating else ""


assert set(_TIMES) < set(get_args(Transform))
