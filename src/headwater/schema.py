"""The types of a stream: its columns, its key, and what its changes can be relied on to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Changelog = Literal["append", "upsert", "full"]
"""How much a stream's changes say.

- `append`: rows only ever appear (a truncate aside).
- `upsert`: an update carries the new row, a delete only the key; who needs the old row must remember it.
- `full`: an update or delete carries the whole old row too.
"""


@dataclass(frozen=True)
class StreamSchema:
    """A stream's name and types.

    Attributes:
        name: the name that models use, unique in the project.
        columns: the row's columns in order, without the change columns of `headwater.change`. Field metadata may carry
            the source's own type under b"headwater.source_type".
        key: names of the key columns; empty for a table without a key.
        changelog: see `Changelog`.
    """

    name: str
    columns: pa.Schema
    key: tuple[str, ...] = ()
    changelog: Changelog = "append"

    def __post_init__(self) -> None:
        missing = [name for name in self.key if name not in self.columns.names]
        if missing:
            raise ValueError(f"stream {self.name!r}: key columns {missing} are not among its columns")
        if self.changelog == "upsert" and not self.key:
            raise ValueError(f"stream {self.name!r}: an upsert stream needs a key")
