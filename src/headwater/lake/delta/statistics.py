"""Statistics of a data file for the log: counts, and bounds of columns by which readers pass files over."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.parquet as pq

_LONGEST = 32
"""Texts are bounds up to this length; longer ones would have to be cut."""


def statistics(written: pq.FileMetaData) -> str:
    """The statistics of a file as the log's JSON.

    Columns without bounds: floats (NaN has no order), decimals and nested ones, and those with a bound that Python has
    no words for (infinity, years before 1 and after 9999).
    """
    lowest: dict[str, Any] = {}
    highest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for number in range(written.num_columns):
        column = written.schema.column(number)
        if column.path != column.name:
            continue
        chunks = [written.row_group(group).column(number).statistics for group in range(written.num_row_groups)]
        known = [chunk for chunk in chunks if chunk is not None]
        if len(known) == len(chunks):
            nulls[column.name] = sum(chunk.null_count for chunk in known)
            bounds = _bounds(known)
            if bounds is not None:
                lowest[column.name], highest[column.name] = bounds
    found = {"numRecords": written.num_rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls}
    return json.dumps(found, separators=(",", ":"))


def wide(stats: str) -> str:
    """The statistics of a file of which rows are deleted: its bounds may be those of rows that are gone."""
    return json.dumps({**json.loads(stats or "{}"), "tightBounds": False}, separators=(",", ":"))


def _bounds(chunks: list[pq.Statistics]) -> tuple[Any, Any] | None:
    valued = [chunk for chunk in chunks if chunk.has_min_max]
    if not valued:
        return None
    try:
        ends = (min(chunk.min for chunk in valued), max(chunk.max for chunk in valued))
    except (OverflowError, ValueError):
        return None
    write = _WRITERS.get(type(ends[0]))
    if write is None or (isinstance(ends[0], str) and max(map(len, ends)) > _LONGEST):
        return None
    return write(ends[0]), write(ends[1])


def _instant(moment: Any) -> str:
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z" if moment.tzinfo is not None else text


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    int: int,
    str: str,
    datetime.date: lambda day: day.isoformat(),
    datetime.datetime: _instant,
}
