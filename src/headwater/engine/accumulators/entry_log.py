"""Checkpoints of what a part keeps per value of a group: each entry is written with its group's key when it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from headwater.engine.accumulators.part import Claim, KeysOf
from headwater.engine.state.memory import Memory
from headwater.engine.state.slot_log import SlotLog
from headwater.index.kernels import Longs

_OWN = "entry:"


class EntryLog:
    """A `SlotLog` of entries."""

    def __init__(self, memory: Memory) -> None:
        self._log = SlotLog(memory)

    def note(self, entries: Longs) -> None:
        """These entries are new, or have changed."""
        self._log.note(entries)

    def forget(self, entries: Longs) -> None:
        """These entries are gone."""
        self._log.forget(entries)

    def save(
        self, folder: Path, previous: Path | None, keys_of: KeysOf, groups: Longs, entry: Callable[[Longs], pa.Table]
    ) -> None:
        """Writes what has changed.

        Args:
            folder: as in `SlotLog.save`.
            previous: as in `SlotLog.save`.
            keys_of: the keys of groups.
            groups: the group of every entry.
            entry: what is to be written of entries besides.
        """

        def rows_of(entries: Longs) -> pa.Table:
            own = entry(entries)
            keys = keys_of(groups[entries])
            names = [f"{_OWN}{name}" for name in own.column_names]
            return pa.Table.from_arrays([*keys.columns, *own.columns], names=[*keys.column_names, *names])

        self._log.save(folder, previous, rows_of)

    def load(self, folder: Path, claim: Claim, add: Callable[[Longs, pa.Table], Longs]) -> None:
        """Reads entries back.

        Args:
            claim: tells which are this worker's.
            add: given groups and what was written of entries, puts entries in place and returns them.
        """
        for ids, rows in self._log.load(folder):
            mine, groups = claim(rows)
            own = [name for name in rows.column_names if name.startswith(_OWN)]
            given = rows.select(own).rename_columns([name.removeprefix(_OWN) for name in own])
            if mine is None:
                self._log.adopt(ids, add(groups, given))
            elif mine.any():
                self._log.note(add(groups, given.filter(pa.array(mine))))
