"""An answer as JSON: every value so that a page can show it and JavaScript loses nothing of it, and never too much."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from headwater.serve.moments import printable

MOST_CELL = 32_768
"""Characters of a text beyond which it is cut."""
_SAFE = 2**53 - 1


@dataclass
class Cells:
    """Rows as JSON text.

    Attributes:
        rows: a JSON array for each row.
        truncated: there was more than is here.
    """

    rows: list[str]
    truncated: bool


def gather(batches: Iterable[pa.RecordBatch], most_rows: int, most_bytes: int) -> Cells:
    """The first rows, as many as are allowed.

    Args:
        batches: read no further than is needed.
        most_rows: how many.
        most_bytes: of JSON text.
    """
    found, size = Cells([], False), 0
    for batch in batches:
        table = printable(pa.Table.from_batches([batch.slice(0, most_rows - len(found.rows) + 1)]))
        columns = [column.to_pylist() for column in table.columns]
        for row in zip(*columns, strict=True):
            text = json.dumps([plain(value) for value in row], ensure_ascii=False)
            size += len(text.encode())
            if len(found.rows) == most_rows or size > most_bytes:
                found.truncated = True
                return found
            found.rows.append(text)
    return found


def plain(value: object) -> object:
    """A value for JSON: numbers that JavaScript holds exactly stay numbers; others, and times, become text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= MOST_CELL else f"{value[:MOST_CELL]}..."
    if isinstance(value, int):
        return value if -_SAFE <= value <= _SAFE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return plain(base64.b64encode(value[: MOST_CELL + 1]).decode())
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return plain(str(value))
