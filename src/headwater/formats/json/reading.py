"""Reads batches of JSON messages into one struct of columns and a verdict on every message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.formats.decoder import Bad
from headwater.formats.json import kernels_text
from headwater.formats.json.columns import Columns
from headwater.formats.json.kernels_paths import TAPE
from headwater.formats.json.kernels_scan import MOST_DEPTH, MOST_VALUES, scan
from headwater.formats.json.kernels_text import Longs
from headwater.formats.json.paths import MOST_PATHS, PathTable, longer, make_tape
from headwater.formats.spans import spans_of

TOMBSTONE = -1

REASONS: dict[int, tuple[str, str]] = {
    kernels_text.NOT_JSON: ("not_json", "this is not JSON"),
    kernels_text.ENDS_EARLY: ("ends_early", "the JSON ends before it is complete"),
    kernels_text.BAD_UTF8: ("bad_utf8", "a text is not UTF-8"),
    kernels_text.BAD_ESCAPE: ("bad_escape", "a text has half a surrogate pair, which is no character"),
    kernels_text.DUPLICATE_KEY: ("duplicate_key", "a field stands twice in one object"),
    kernels_text.TOO_DEEP: ("too_deep", f"it is nested more than {MOST_DEPTH} deep"),
    kernels_text.TOO_MANY_FIELDS: (
        "too_many_fields",
        f"the stream would have more than {MOST_PATHS} different fields, or one of a very long name; declare the "
        "column that holds them as JSON or MAP",
    ),
    kernels_text.NOT_AN_OBJECT: ("not_an_object", "a message has to be a JSON object"),
    kernels_text.EMPTY: ("empty", "the message is empty"),
    kernels_text.TOO_MANY_VALUES: ("too_many_values", f"it has more than {MOST_VALUES:,} values"),
}
"""Reason and text of each of the kernels' codes."""


@dataclass(frozen=True)
class Found:
    """What a batch of messages held.

    Attributes:
        columns: a struct of columns, a row for each good message.
        outcome: int64 by message: its row, TOMBSTONE, or less: -1 less the code of what is wrong.
    """

    columns: pa.StructArray
    outcome: Longs

    @property
    def messages(self) -> Longs:
        """The number of each row's message."""
        return np.flatnonzero(self.outcome >= 0)

    def bad(self) -> tuple[Bad, ...]:
        """The messages that could not be read."""
        numbers = np.flatnonzero(self.outcome < TOMBSTONE)
        codes = (TOMBSTONE - self.outcome[numbers]).tolist()
        return tuple(Bad(number, *REASONS[code]) for number, code in zip(numbers.tolist(), codes, strict=True))


class JsonReader:
    """Reads the messages of one stream; remembers their fields, so that the next batch is read faster. One thread.

    Args:
        nan: whether NaN, Infinity and -Infinity are numbers.
        as_text: top-level fields whose values are wanted as text: texts as they are, all else as it is written.
        passed_over: top-level fields that are not wanted.
    """

    def __init__(self, nan: bool = False, as_text: Iterable[str] = (), passed_over: Iterable[str] = ()) -> None:
        self._nan = nan
        self._table = PathTable(as_text, passed_over)
        self._tape = make_tape(0)

    def read(self, values: pa.Array) -> Found:
        """Reads messages: binary or text, null for a tombstone."""
        spans = spans_of(values)
        outcome = np.empty(len(values), np.int64)
        self._table.restart()
        table, longest = self._table, max(int((spans.ends - spans.starts).max(initial=0)), 1)
        reserve = min(longest // 2 + 2, MOST_VALUES + 1)
        self._reserve(int((spans.ends - spans.starts).sum()) // 24 + reserve + 1024)
        scratch = np.empty(longest, np.uint8)
        read = rows = 0
        while True:
            read, rows = scan(
                spans.data,
                spans.starts,
                spans.ends,
                read,
                rows,
                self._nan,
                self._tape,
                table.paths,
                table.names,
                table.slots,
                table.counts,
                table.stack,
                scratch,
                outcome,
            )
            if read == len(values):
                break
            self._reserve(2 * len(self._tape) + reserve)
        found = Columns(spans.data, table, self._tape).fields(0, rows)
        self._release()
        return Found(found, outcome)

    def _reserve(self, capacity: int) -> None:
        if len(self._tape) < capacity:
            self._tape = longer(self._tape, capacity)

    def _release(self) -> None:
        """Does not keep the room that one uncommonly large batch took."""
        if len(self._tape) > 1 << 22 and self._table.counts[TAPE] < 1 << 20:
            self._tape = make_tape(0)
