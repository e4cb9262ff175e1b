"""Words of varying length by number: one arena, with numbers and room used again."""

from __future__ import annotations

import numpy as np

from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, Words, copy_spans
from headwater.index.row_encoding import EncodedRows

_LEAST_DEAD_WORDS = 1 << 12


class Tails:
    """Keeps runs of words; what is removed makes room once it is more than half.

    Args:
        memory: where the arrays live.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._arena: Words = np.zeros(0, np.uint64)
        self._starts: Longs = np.zeros(0, np.int64)
        self._lengths: Longs = np.zeros(0, np.int64)
        self._freed: list[Longs] = []
        self._fresh = self._used = self._dead = 0

    @property
    def arrays(self) -> tuple[Words, Longs, Longs]:
        """The arena, and where in it each number's words start and how many they are."""
        return self._arena, self._starts, self._lengths

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._arena.nbytes + self._starts.nbytes + self._lengths.nbytes

    def add(self, rows: EncodedRows) -> Longs:
        """Keeps the words of each row; returns their numbers."""
        numbers = self._new_numbers(len(rows))
        lengths = np.diff(rows.offsets)
        total = int(rows.offsets[-1] - rows.offsets[0])
        self._arena = self._memory.grown(self._arena, self._used + total)
        self._starts = self._memory.grown(self._starts, self._fresh)
        self._lengths = self._memory.grown(self._lengths, self._fresh)
        self._arena[self._used : self._used + total] = rows.words[rows.offsets[0] : rows.offsets[-1]]
        self._starts[numbers] = self._used + rows.offsets[:-1] - rows.offsets[0]
        self._lengths[numbers] = lengths
        self._used += total
        return numbers

    def remove(self, numbers: Longs) -> None:
        """Forgets numbers; those below 0 are passed over."""
        numbers = numbers[numbers >= 0]
        if not len(numbers):
            return
        self._dead += int(self._lengths[numbers].sum())
        self._lengths[numbers] = 0
        self._freed.append(numbers)
        if self._dead >= _LEAST_DEAD_WORDS and self._dead * 2 > self._used:
            self._compact()

    def _new_numbers(self, count: int) -> Longs:
        found: list[Longs] = []
        while self._freed and count:
            last = self._freed.pop()
            found.append(last[:count])
            if len(last) > count:
                self._freed.append(last[count:])
            count -= len(found[-1])
        found.append(np.arange(self._fresh, self._fresh + count, dtype=np.int64))
        self._fresh += count
        return np.concatenate(found)

    def _compact(self) -> None:
        """Moves the living words together, in an arena of their size."""
        living = np.flatnonzero(self._lengths[: self._fresh])
        lengths = self._lengths[living]
        ends = np.cumsum(lengths)
        arena = np.zeros(self._used - self._dead, np.uint64)
        spans = (self._starts[living] * 8, lengths * 8)
        copy_spans(arena.view(np.uint8), (ends - lengths) * 8, self._arena.view(np.uint8), *spans)
        self._arena = self._memory.grown(np.zeros(0, np.uint64), len(arena))
        self._arena[: len(arena)] = arena
        self._starts[living] = ends - lengths
        self._used, self._dead = len(arena), 0
