"""Row events between the moment they come and the moment their transaction is handed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.capture.mysql.events import Events
from headwater.capture.mysql.rows import Places, Rows, decode_events, truncation
from headwater.capture.mysql.table import Layout, Table, as_read
from headwater.capture.mysql.table_map import TableMap
from headwater.change import ChangeBatch


@dataclass(frozen=True, eq=False)
class Slot:
    """A table map that was seen. `layout` is None if the table is not captured."""

    table_map: TableMap
    layout: Layout | None


@dataclass(eq=False)
class Piece:
    """Row events of captured tables, in order: arrays of one element per event.

    Attributes:
        events: where they are.
        slots: the table maps that `slot` counts in.
        at: int64, their indexes in `events`.
        slot: int64.
        commits: uint64 `Position.commit`.
        ordinals: int64, ordinal of the event's first row.
        times_us: int64, commit times.
    """

    events: Events
    slots: Sequence[Slot]
    at: NDArray[np.int64]
    slot: NDArray[np.int64]
    commits: NDArray[np.uint64]
    ordinals: NDArray[np.int64]
    times_us: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Bytes of the events."""
        return int((self.events.ends[self.at] - self.events.begins[self.at]).sum())

    def since(self, commit: int) -> Piece | None:
        """The events with that commit number or a later one; None if there are none."""
        fresh = self.commits >= commit
        if fresh.all():
            return self
        if not fresh.any():
            return None
        at, slot, commits = self.at[fresh], self.slot[fresh], self.commits[fresh]
        return Piece(self.events, self.slots, at, slot, commits, self.ordinals[fresh], self.times_us[fresh])

    def moved(self, commit: int, time_us: int) -> Piece:
        """The same events in another transaction."""
        commits, times = np.full(self.at.size, commit, np.uint64), np.full(self.at.size, time_us, np.int64)
        return Piece(self.events, self.slots, self.at, self.slot, commits, self.ordinals, times)

    def decoded(self) -> Iterator[tuple[ChangeBatch | None, list[dict[str, object]]]]:
        """Batches and rejects, by table map in the order in which they come.

        Raises:
            SourceStopped: the bytes are not what the table map says.
        """
        _, firsts = np.unique(self.slot, return_index=True)
        for slot in self.slot[np.sort(firsts)].tolist():
            chosen = self.slot == slot
            at, layout = self.at[chosen], self.slots[slot].layout
            if layout is None:
                continue
            found = self.events
            rows = Rows(self.slots[slot].table_map, found.buffer, found.types[at], found.begins[at], found.ends[at])
            places = Places(self.commits[chosen], self.ordinals[chosen], self.times_us[chosen])
            decoded = decode_events(layout, rows, places)
            yield decoded.batch, decoded.rejects


@dataclass(frozen=True)
class Emptied:
    """A table lost all its rows at once."""

    table: Table
    commit: int
    ordinal: int
    time_us: int

    size = 0

    def since(self, commit: int) -> Emptied | None:
        """The same, if its commit number is not an earlier one."""
        return self if self.commit >= commit else None

    def moved(self, commit: int, time_us: int) -> Emptied:
        """The same in another transaction."""
        return Emptied(self.table, commit, self.ordinal, time_us)

    def decoded(self) -> Iterator[tuple[ChangeBatch | None, list[dict[str, object]]]]:
        """One TRUNCATE."""
        yield truncation(as_read(self.table), self.commit, self.ordinal, self.time_us), []


Item = Piece | Emptied
