"""Answers that are known from rows before: computed once for each text, pair of texts or stretch of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from headwater.engine.coded import coded
from headwater.engine.session import Session
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.index.key_index import KeyIndex
from headwater.index.memory import Arrays
from headwater.index.text_index import TextIndex
from headwater.index.text_kernels import Ints
from headwater.sql.bind import quote
from headwater.sql.plan import Node
from headwater.sql.row_plan import Once

_JUDGED_ROWS = 1024
"""After so many rows it is judged whether texts repeat."""

_PAYS = 3
"""It pays if there are so many rows to a new text."""

_PAUSE = 15
"""For so many times the rows judged it is not tried again, if it did not pay."""

_MOST_BYTES = 1 << 25
"""With so many bytes of texts and answers all are forgotten."""

_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999. Beyond, and for the infinities, it is not tried."""

_MOST_STEPS = 1 << 12
"""So many stretches of time are known at once."""

_AHEAD = 64
"""So many are computed before their time has come."""

_TOGETHER = pa.schema([("together", pa.int64())])

Answers = dict[str, pa.Array]


class Known(Protocol):
    """Answers to some expressions."""

    def answers(self, delta: pa.Table) -> Answers | None:
        """The expressions' columns over the rows of a delta; None if they had better be computed row by row."""


class Asker:
    """Asks DuckDB for the values of expressions that read one or two columns.

    Args:
        source: the node whose columns they are.
        parts: the expressions, all of the same columns.
    """

    def __init__(self, session: Session, source: Node, parts: Sequence[Once]) -> None:
        self.columns = parts[0].columns
        self.names = [part.name for part in parts]
        self._session = session
        # DuckDB knows the node with all of its columns. These few have a name of their own, so that it is not told
        # of other columns again and again.
        name, kept = (
            f"{source.name} {' '.join(self.columns)}",
            tuple(c for c in source.columns if c.name in self.columns),
        )
        self._node = Node(name, kept, (), "")
        listed = ", ".join(f"{part.expression} AS {quote(part.name)}" for part in parts)
        self._sql = f"SELECT {listed} FROM {quote(name)} AS {quote(source.name)}"

    def __call__(self, values: Sequence[pa.Array]) -> Answers:
        """The values for rows of these columns."""
        found = self._session.run(self._sql, {self._node: pa.table(list(values), names=list(self.columns))})
        return {name: found.column(name).combine_chunks() for name in self.names}


class TextNumbers:
    """Numbers the texts of a column, as long as they repeat."""

    def __init__(self, column: str, memory: Arrays) -> None:
        self.column, self.index = column, TextIndex(memory=memory)
        self.cleared = 0
        """How often all numbers were given up."""
        self._delta: pa.Table | None = None
        self._numbers: Ints | None = None
        self._seen = self._new = self._pause = 0

    def of(self, delta: pa.Table) -> Ints | None:
        """The numbers of a delta's texts, found out once for each delta; None if it does not pay."""
        if delta is not self._delta:
            self._delta, self._numbers = delta, self._found(delta)
        return self._numbers

    def let_go(self) -> None:
        """Forgets the delta."""
        self._delta = self._numbers = None

    def _found(self, delta: pa.Table) -> Ints | None:
        if self._pause > 0:
            self._pause -= delta.num_rows
            return None
        if self.index.nbytes > _MOST_BYTES:
            self._clear()
        before = len(self.index)
        column = delta.column(self.column)
        # One chunk would be copied too.
        texts = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        texts = texts if texts.type == pa.string() else texts.cast(pa.string())
        numbers = self.index.numbers(texts, max(delta.num_rows // _PAYS, _JUDGED_ROWS))
        self._seen, self._new = self._seen + delta.num_rows, self._new + len(self.index) - before
        if numbers is None or self._seen >= _JUDGED_ROWS:
            if numbers is None or self._new * _PAYS > self._seen:
                self._pause = _PAUSE * self._seen
                self._clear()
                numbers = None
            self._seen = self._new = 0
        return numbers

    def _clear(self) -> None:
        self.index.clear()
        self.cleared += 1


class KnownTexts:
    """Answers by the texts of one column."""

    def __init__(self, ask: Asker, numbers: TextNumbers) -> None:
        self._ask, self._numbers = ask, numbers
        self._cleared = -1
        self._answers: Answers = {}
        self._count = 0

    def answers(self, delta: pa.Table) -> Answers | None:
        numbers = self._numbers.of(delta)
        if numbers is None:
            return None
        if self._cleared != self._numbers.cleared:
            self._cleared, self._answers, self._count = self._numbers.cleared, {}, 0
        index = self._numbers.index
        if len(index) > self._count:
            self._answers = _extended(self._answers, self._ask([index.texts(self._count)]))
            self._count = len(index)
        return {name: coded(numbers, values) for name, values in self._answers.items()}


class KnownPairs:
    """Answers by the texts of two columns."""

    def __init__(self, ask: Asker, numbers: Sequence[TextNumbers], memory: Arrays) -> None:
        self._ask, self._numbers, self._memory = ask, list(numbers), memory
        self._cleared: list[int] = []
        self._index = KeyIndex(_TOGETHER, memory=memory)
        self._answers: Answers = {}
        self._pause = 0

    def answers(self, delta: pa.Table) -> Answers | None:
        first, second = (numbers.of(delta) for numbers in self._numbers)
        if first is None or second is None:
            return None
        if self._pause > 0:
            self._pause -= delta.num_rows
            return None
        cleared = [numbers.cleared for numbers in self._numbers]
        if self._cleared != cleared or self._index.nbytes > _MOST_BYTES:
            self._cleared, self._answers = cleared, Answers()
            self._index = KeyIndex(_TOGETHER, memory=self._memory)
        together = pa.array(first.astype(np.int64) << 32 | second)
        pairs, fresh = self._index.find_or_insert(pa.table([together], schema=_TOGETHER))
        new = pa.array(np.flatnonzero(fresh))
        if len(new) * _PAYS > max(delta.num_rows, _JUDGED_ROWS):
            self._pause, self._cleared = _PAUSE * delta.num_rows, []
            return None
        if len(new):
            asked = [delta.column(name).take(new).combine_chunks() for name in self._ask.columns]
            self._answers = _extended(self._answers, self._ask(asked))
        return {name: coded(pairs.astype(np.int32), values) for name, values in self._answers.items()}


class KnownTimes:
    """Answers by which stretch of time a row falls in.

    Args:
        step_us: how long stretches are, microseconds; they begin at multiples of it since 1970.
    """

    def __init__(self, ask: Asker, step_us: int) -> None:
        self._ask, self._step = ask, step_us
        self._first = self._end = 0
        self._answers: Answers = {}

    def answers(self, delta: pa.Table) -> Answers | None:
        column = delta.column(self._ask.columns[0])
        valid = column.is_valid().to_numpy() if column.null_count else None
        times: Longs = column.cast(pa.int64()).fill_null(0).to_numpy() if column.null_count else _whole(column)
        known = times if valid is None else times[valid]
        if not len(known):
            return None
        low, high = int(known.min()), int(known.max())
        if low < _FIRST_US or high > _LAST_US or (high - low) // self._step >= _MOST_STEPS:
            return None
        self._reach(low // self._step, high // self._step)
        numbers = (times // self._step - (self._first - 1)).astype(np.int32)
        if valid is not None:
            numbers[~valid] = 0
        return {name: coded(numbers, values) for name, values in self._answers.items()}

    def _reach(self, low: int, high: int) -> None:
        """Knows the stretches from `low` to `high`. Answer 0 is that of NULL."""
        if self._first <= low and high < self._end:
            return
        end = min(high + _AHEAD, _LAST_US // self._step) + 1
        starts = np.arange(low, end) * self._step
        times = pa.array(np.concatenate([[0], starts]), mask=np.arange(len(starts) + 1) == 0)
        self._answers = self._ask([times.cast(pa.timestamp("us"))])
        self._first, self._end = low, end


def _whole(column: pa.ChunkedArray) -> Longs:
    times: Longs = column.to_numpy().view(np.int64)
    return times


def _extended(answers: Mapping[str, pa.Array], more: Answers) -> Answers:
    return {name: pa.concat_arrays([answers[name], values]) if answers else values for name, values in more.items()}


def known_answers(worker: Worker, source: Node, parts: Sequence[Once]) -> tuple[list[TextNumbers], list[Known]]:
    """Who numbers texts, and who answers expressions over a node's columns."""
    groups: dict[tuple[tuple[str, ...], int], list[Once]] = {}
    for part in parts:
        groups.setdefault((part.columns, part.step_us), []).append(part)
    texts = {name: TextNumbers(name, worker.memory) for part in parts if not part.step_us for name in part.columns}
    found: list[Known] = []
    for (columns, step_us), group in groups.items():
        ask = Asker(worker.session, source, group)
        if step_us:
            found.append(KnownTimes(ask, step_us))
        elif len(columns) == 1:
            found.append(KnownTexts(ask, texts[columns[0]]))
        else:
            found.append(KnownPairs(ask, [texts[name] for name in columns], worker.memory))
    return list(texts.values()), found
