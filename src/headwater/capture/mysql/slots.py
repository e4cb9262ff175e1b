"""The table maps that were seen, laid out for the compiled walk."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headwater.capture.mysql.pieces import Slot

SLOTS_MAX = 1024
"""So many are kept; then they are looked at anew, for the walk looks through them one by one."""


@dataclass
class Slots:
    """Table maps seen, and the arrays of them that the walk looks things up in."""

    known: list[Slot] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lay_out()

    def add(self, slot: Slot, body: bytes) -> None:
        """One more; of several with the same id the last counts."""
        self.known.append(slot)
        self.ids.append(slot.table_map.table_id)
        self.bodies.append(body)
        self.lay_out()

    def lay_out(self) -> None:
        """Makes the arrays."""
        sizes = np.array([len(body) for body in self.bodies], np.int64)
        ends = np.cumsum(sizes)
        wanted = np.array([slot.layout is not None for slot in self.known], np.uint8)
        maps = np.frombuffer(b"".join(self.bodies) or b"\0", np.uint8)
        self.arrays = (np.array(self.ids, np.int64), maps, ends - sizes, ends, wanted)
