"""What a normaliser remembers of a stream while a snapshot of it is taken and its changes go on.

A key is *seen* when it was read or changed since SNAPSHOT_BEGIN. At the end of a whole snapshot, rows of keys that were
not seen are no longer at the source. That takes no order of keys, in which two systems would have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, Op
from headwater.engine.evolution import Evolution
from headwater.engine.state.checkpoint_files import Json
from headwater.engine.state.row_store import RowStore
from headwater.index.kernels import Mask
from headwater.index.key_index import group

_LACKS_ROWS, _WHOLE = 1, -1


@dataclass
class Resync:
    """How a stream stands to its source's table.

    Attributes:
        incomplete: rows are missing, so a change may leave out values that were never sent.
        running: a snapshot has begun and not ended.
        seen: the keys seen since it began; None if it is not of the whole table.
    """

    incomplete: bool = False
    running: bool = False
    seen: RowStore | None = None

    @property
    def lenient(self) -> bool:
        """Whether a row may be named that will only be read later."""
        return self.incomplete or self.running

    def begin(self, weight: int, keys: pa.Schema) -> None:
        """A snapshot begins; one that did not end is given up."""
        self.running = True
        self.incomplete = self.incomplete or weight == _LACKS_ROWS
        self.seen = RowStore(keys, tuple(keys.names), append_only=True) if weight == _WHOLE else None

    def see(self, rows: pa.Table) -> None:
        """Takes note of the keys of rows that were read or changed."""
        if self.seen is None or not rows.num_rows:
            return
        keys = rows.select(self.seen.columns.names)
        if not keys.schema.equals(self.seen.columns):
            self.seen = _retyped(self.seen, keys.schema)
        _, first = group(keys, keys.schema)
        keys = keys.take(pa.array(first))
        keys = keys.filter(pa.array(~self.seen.contains(keys)))
        self.seen.apply(_once(keys))

    def unseen(self, rows: pa.Table) -> Mask:
        """Which of the rows have a key that was not seen."""
        if self.seen is None:
            return np.zeros(rows.num_rows, np.bool_)
        return np.asarray(~self.seen.contains(rows.select(self.seen.columns.names)))

    def follow(self, change: Evolution, key: tuple[str, ...]) -> None:
        """The stream's columns have changed. Under another key it can no longer be told which rows are gone."""
        if self.seen is None:
            return
        renamed = {before: field.name for field, before in zip(change.columns, change.origin, strict=True) if before}
        names = [renamed.get(name) for name in self.seen.columns.names]
        if sorted(map(str, names)) != sorted(key):
            self.seen = None
        elif names != self.seen.columns.names:
            rows = self.seen.rows().drop_columns([WEIGHT]).rename_columns(list(map(str, names)))
            self.seen = RowStore(rows.schema, tuple(rows.column_names), append_only=True)
            self.seen.apply(_once(rows))

    def end(self, weight: int, rows: pa.Table) -> Mask:
        """A snapshot ends; which of the stream's rows are gone."""
        gone = np.zeros(rows.num_rows, np.bool_)
        if weight < 0:
            self.incomplete = False
            if self.seen is not None:
                gone = self.unseen(rows)
        self.running, self.seen = False, None
        return gone

    def checkpoint(self, folder: Path, previous: Path | None) -> Json:
        """Writes the keys into `folder`, and returns what else is to be kept."""
        if self.seen is not None:
            before = previous / "seen" if previous and (previous / "seen").is_dir() else None
            self.seen.checkpoint(folder / "seen", before)
        return {"incomplete": self.incomplete, "running": self.running, "whole": self.seen is not None}

    @classmethod
    def restore(cls, folder: Path, kept: Json | None) -> Resync:
        """The inverse of `checkpoint`; checkpoints from before there were such snapshots hold none."""
        if kept is None:
            return cls()
        seen = RowStore.restore(folder / "seen", append_only=True) if kept["whole"] else None
        return cls(bool(kept["incomplete"]), bool(kept["running"]), seen)


def _once(keys: pa.Table) -> pa.Table:
    return keys.append_column(WEIGHT, pa.array(np.ones(keys.num_rows, np.int64)))


def _retyped(seen: RowStore, columns: pa.Schema) -> RowStore:
    """The same keys, in columns of which a type has become wider."""
    fresh = RowStore(columns, tuple(columns.names), append_only=True)
    fresh.apply(_once(seen.rows().drop_columns([WEIGHT]).cast(columns)))
    return fresh


CUTS = (Op.TRUNCATE, Op.SNAPSHOT_BEGIN, Op.SNAPSHOT_END)
"""What stands between two segments of changes."""
