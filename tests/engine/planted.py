"""Bugs to plant in the fast paths, each one that somebody could have written, and the queries that are to find it.

A bug replaces what a fast path is made of while a test runs; compiled loops are replaced where Python calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from headwater.engine import known, plain_values, row_test
from headwater.engine.accumulators import best, bits, distinct, float_bits, ordered, sums
from headwater.engine.accumulators.floats import FloatSum
from headwater.engine.accumulators.in_order import InOrder
from headwater.engine.accumulators.mode import Mode
from headwater.engine.accumulators.moments import _Sums
from headwater.engine.accumulators.ordered import Ordered
from headwater.engine.accumulators.part import ALL, Batch
from headwater.engine.coded import coded, numbers_of
from headwater.engine.known import KnownPairs
from headwater.engine.operators import aggregate, join_ceiling, session_kernels, windowed
from headwater.engine.operators.join import JoinOperator
from headwater.engine.operators.join_counts import MatchCounts
from headwater.engine.operators.join_order import SideOrder
from headwater.engine.operators.join_side import JoinSide
from headwater.engine.operators.join_threshold import ThresholdJoinOperator
from headwater.engine.operators.top import TopOperator
from headwater.engine.operators.top_lists import Lists
from headwater.index.text_index import TextIndex
from headwater.sql import row_test as sql_row_test
from headwater.sql import times
from headwater.sql.row_plan import RowTest
from headwater.sql.rules import set_operation, time_key

Broken = Callable[..., Any]
"""Takes what is replaced and then its arguments."""


@dataclass(frozen=True)
class Bug:
    """One bug.

    Attributes:
        path: the fast path that is wrong by it.
        what: it does, in words.
        where: how the names of the queries begin of which one is to find it: the `.test` file, maybe some of the text.
        plant: puts it in place.
    """

    path: str
    what: str
    where: str
    plant: Callable[[pytest.MonkeyPatch], None]


BUGS: list[Bug] = []

ELSEWHERE = frozenset({"partial_aggregates"})
"""Fast paths of several workers, in which `test_combine` plants bugs."""


def _bug(path: str, what: str, where: str, owner: object, name: str) -> Callable[[Broken], Broken]:
    """Notes a bug: `owner.name` is replaced by what is decorated, which is given the right one first."""

    def noted(broken: Broken) -> Broken:
        right = getattr(owner, name)

        def wrong(*args: Any, **kwargs: Any) -> Any:
            return broken(right, *args, **kwargs)

        BUGS.append(Bug(path, what, where, lambda patch: patch.setattr(owner, name, wrong)))
        return broken

    return noted


@_bug("accumulators", "a retraction counts as an addition", "aggregate/aggregate", aggregate, "weights")
def _positive(right: Broken, delta: Any) -> Any:
    return np.abs(right(delta))


@_bug("accumulators", "an emptied group is not taken back", "aggregate/aggregate",
      aggregate.AggregateOperator, "_change")  # fmt: skip
def _emptied_stays(right: Broken, self: Any, keys: Any, firsts: Any, before: Any, after: Any) -> Any:
    return right(self, keys, firsts, replace(before, there=before.there & after.there), after)


@_bug("accumulators", "NULL counts as a value", "aggregate/aggregate: SELECT b, sum(d)", Batch, "valid")
def _null_counts(right: Broken, self: Any, name: str) -> Any:
    return ALL


@_bug("accumulators", "a sum is cut to 64 bits", "aggregate/aggregate: SELECT b, sum(d)", sums.ExactSum, "shown")
def _narrow_sum(right: Broken, self: Any, call: Any, column: Any, taken: Any, slots: Any) -> Any:
    narrow = taken.copy()
    narrow[:, self._offset + 2] = narrow[:, self._offset + 1] >> 63
    return right(self, call, column, narrow, slots)


@_bug("float_sums", "a NaN or infinity that goes is still counted", "aggregate/float_sum", float_bits, "add_others")
def _nan_stays(right: Broken, words: Any, bins: Any, values: Any, rows: Any, weights: Any) -> None:
    infinite = (values >> 52 & 0x7FF) == 0x7FF
    right(words, bins, values, rows, np.where(infinite & (weights < 0), 0, weights))


@_bug("float_sums", "values far from 1 are not subtracted", "aggregate/float_sum", FloatSum, "_add_others")
def _far_stays(right: Broken, self: Any, batch: Any, values: Any, rows: Any) -> None:
    right(self, batch, values, rows[batch.weights[rows] > 0])


@_bug("float_sums", "values far from 1 are not restored", "aggregate/float_sum", FloatSum, "restored")
def _far_forgotten(right: Broken, self: Any, slots: Any, columns: Any) -> None:
    self._records.column(self._offset + 1)[slots] = 0


@_bug("distinct", "the second occurrence of a value counts again", "aggregate/distinct", distinct, "_count")
def _second_counts(
    right: Broken, flat: Any, width: int, pairs: Any, masks: Any, weights: Any, rows: Any, steps: Any
) -> int:
    right(flat, width, pairs, masks, weights, rows, steps)
    rows[:], steps[:] = np.arange(len(rows)), np.where(masks, weights, 0)
    return len(rows)


@_bug("distinct", "a value is gone with the first of its rows", "aggregate/distinct", distinct, "_count")
def _gone_too_soon(
    right: Broken, flat: Any, width: int, pairs: Any, masks: Any, weights: Any, rows: Any, steps: Any
) -> int:
    found = right(flat, width, pairs, masks, weights, rows, steps)
    wrong = np.zeros_like(steps)
    wrong[:, rows[:found]] = steps[:, :found]
    wrong[masks & (weights < 0)] = -1
    rows[:], steps[:] = np.arange(len(rows)), wrong
    return len(rows)


@_bug("distinct", "FILTER is not asked", "aggregate/distinct", Batch, "true")
def _unfiltered(right: Broken, self: Any, name: str) -> Any:
    return np.ones(self.delta.num_rows, np.bool_)


@_bug("extremes", "the best value stays when it goes", "aggregate/extremes", ordered.Ordered, "add")
def _best_stays(right: Broken, self: Any, batch: Any) -> None:
    shown = slice(self._offset + 1, self._offset + self.words)
    before = batch.taken[:, shown].copy()
    right(self, batch)
    come = np.zeros(len(batch.taken), np.bool_)
    come[batch.places[batch.weights > 0]] = True
    batch.taken[~come, shown] = before[~come]


@_bug("extremes", "only the last batch is compared", "aggregate/extremes: SELECT b, min(a)", best, "_by_words")
def _last_batch_only(right: Broken, words: Any, width: int, offset: int, places: Any, *rest: Any) -> None:
    words[offset + places * width] = 0
    right(words, width, offset, places, *rest)


@_bug("quantiles", "the rank is off by one", "aggregate/extremes: SELECT b, median(a)", ordered._Place, "ranks")
def _next_rank(right: Broken, self: Any, counts: Any) -> Any:
    found = right(self, counts)
    return np.minimum(found + 1, np.maximum(counts - 1, 0)) if self.kind == "at" else found


@_bug("quantiles", "the median of an even count is the lower of the two", "aggregate/extremes: SELECT b, median(a)",
      ordered._Place, "ranks")  # fmt: skip
def _lower_of_two(right: Broken, self: Any, counts: Any) -> Any:
    return right(replace(self, kind="below") if self.kind == "above" else self, counts)


@_bug("extremes", "rows without a value are left out", "aggregate/in_order", InOrder, "_counted")
def _nulls_left_out(right: Broken, self: Any, batch: Any) -> Any:
    return Ordered._counted(self, right(self, batch))


@_bug("accumulators", "bits are set by rows that are gone", "aggregate/bits", bits, "_count_bits")
def _bits_stay(right: Broken, *args: Any) -> None:
    right(*args[:6], np.maximum(args[6], 0), args[7])


@_bug("modes", "a value keeps the place that it came to", "aggregate/mode", Mode, "_set_in_order")
def _stays_in_place(right: Broken, self: Any, entries: Any, groups: Any, before: Any, after: Any, rows_of: Any) -> None:
    after = np.where((before > 0) & (after > 0), before, after)
    right(self, entries, groups, before, after, rows_of)


@_bug("hop_panes", "the first window of a row is left out", "aggregate/hop", aggregate, "spread")
def _one_window_less(right: Broken, delta: Any, keys: Any, apart: Any, hop: Any) -> Any:
    return right(delta, keys, apart, replace(hop, windows=hop.windows - 1))


@_bug("hop_panes", "windows are a microsecond off the slide", "aggregate/hop", aggregate, "spread")
def _wrong_slide(right: Broken, delta: Any, keys: Any, apart: Any, hop: Any) -> Any:
    return right(delta, keys, apart, replace(hop, slide_us=hop.slide_us + 1))


@_bug(
    "append_only",
    "which values were seen is forgotten with the batch",
    "aggregate/distinct: SELECT a, count(DISTINCT b)",
    distinct,
    "_mark",
)
def _seen_forgotten(right: Broken, bits: Any, pairs: Any, *rest: Any) -> Any:
    bits[pairs] = 0
    return right(bits, pairs, *rest)


@_bug(
    "append_only",
    "a join keeps one row of a batch",
    "join/pairs: SELECT t.id, u.id AS uid FROM t JOIN u ON t.a = u.a",
    JoinSide,
    "_take_in",
)
def _one_row_kept(right: Broken, self: Any, delta: Any) -> Any:
    return right(self, delta.slice(0, 1) if self._append_only else delta)


@_bug("append_only", "the last of the first rows is forgotten", "order/append_only", TopOperator, "_past")  # fmt: skip
def _last_forgotten(right: Broken, self: Any, groups: Any) -> Any:
    entries, copies, _ = self._tree.window(groups, self._last - 1, np.iinfo(np.int64).max)
    return entries[copies == self._rows.weights_of(entries)]


@_bug("top_n", "a row that is there twice stands once", "order/order", TopOperator, "_window")
def _stands_once(right: Broken, self: Any, groups: Any) -> Any:
    found = right(self, groups)
    return Lists(found.entries, np.ones_like(found.copies), found.offsets)


@_bug("top_n", "no row takes the place of one that leaves", "order/order", TopOperator, "_emitted")
def _not_replaced(right: Broken, self: Any, found: Any, gone: Any, fresh: Any) -> Any:
    kept = (found.weights < 0) | np.isin(found.entries, fresh.slots)
    places = found.places[kept] if len(found.places) else found.places
    return right(self, replace(found, entries=found.entries[kept], weights=found.weights[kept], places=places),
                 gone, fresh)  # fmt: skip


@_bug("top_n", "OFFSET skips one row less", "order/order", TopOperator, "_firsts")
def _offset_less(right: Broken, self: Any, groups: Any) -> Any:
    return np.maximum(right(self, groups) - 1, 0)


_SWAPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


@_bug("join_ranges", "bounds are inclusive where they are not", "join/range", SideOrder, "ranks")
def _swapped_bounds(right: Broken, self: Any, word: str, values: Any) -> Any:
    return right(self, _SWAPPED[word], values)


@_bug("join_ranges", "only the widest range of the last batch is known", "join/range", SideOrder, "insert")
def _narrow_reach(right: Broken, self: Any, *args: Any) -> None:
    self._widest = 0
    right(self, *args)


@_bug("join_ranges", "a threshold does not move back", "join/range: SELECT e.s", ThresholdJoinOperator, "_moved")
def _stuck_threshold(right: Broken, self: Any, values: Any, come: Any) -> Any:
    return right(self, values, come) if (come > 0).any() else []


@_bug("join_extremes", "of equals only the first is kept", "join/best_of_window", join_ceiling, "_may_match")
def _beaten_by_equals(right: Broken, times: Any, values: Any, *args: Any) -> None:
    right(times, values - 1, *args)


@_bug("join_extremes", "only the last window is looked at", "join/best_of_window", join_ceiling, "_may_match")
def _last_window(right: Broken, times: Any, values: Any, low: Any, high: Any, step: Any, *args: Any) -> None:
    right(times, values, low, min(high, low + step - 1), step, *args)


@_bug("join_pairs", "a match that goes is still counted", "join/pairs", MatchCounts, "add")
def _match_stays(right: Broken, self: Any, slots: Any, weights: Any) -> None:
    right(self, slots, np.maximum(weights, 0))


@_bug("join_pairs", "NULL matches NULL", "join/pairs", JoinSide, "void")
def _null_matches(right: Broken, self: Any, delta: Any) -> None:
    return None


@_bug("join_pairs", "rows that come together do not meet", "join/pairs", JoinOperator, "step")
def _not_met(right: Broken, self: Any, deltas: Any) -> Any:
    waiting: list[Callable[[], None]] = []
    for side in self._sides:
        side.apply = lambda *args, side=side: waiting.append(lambda: JoinSide.apply(side, *args))
    found = right(self, deltas)
    for side in self._sides:
        del side.apply
    for take_in in waiting:
        take_in()
    return found


@_bug("session_entries", "of two sessions that are joined one is not taken back", "time_window/session_entries",
      session_kernels, "touched_sessions")  # fmt: skip
def _one_taken_back(right: Broken, flat: Any, width: int, slots: Any, rows: Any, gap: int, *rest: Any) -> Any:
    return right(flat, width, slots, rows, -1, *rest)


class _Numpy:
    """NumPy with other functions of some names."""

    def __init__(self, **others: Broken) -> None:
        vars(self).update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _starts_bug(what: str, mod: Broken) -> Bug:
    def wrong(times: Any, step: int, out: Any) -> None:
        out[:] = times - mod(times, step)

    return Bug("even_windows", what, "time_window/early",
               lambda patch: patch.setattr(windowed, "last_multiples", wrong))  # fmt: skip


BUGS += [
    _starts_bug("before 1970 windows begin after their rows", np.fmod),
    _starts_bug("a row on a boundary is in the window before", lambda times, step: np.mod(times - 1, step) + 1),
]


BUGS += [
    Bug("plain_filters", "remainders are never negative", "linear/plain_filters",
        lambda patch: patch.setattr(row_test, "np", _Numpy(fmod=np.mod))),
    Bug("plain_filters", "<= is taken for <", "linear/plain_filters",
        lambda patch: patch.setitem(row_test._COMPARE, "<=", np.less)),
]  # fmt: skip


@_bug("plain_filters", "what a product is compared with is rounded to the wrong side", "linear/plain_filters",
      sql_row_test, "_scaled")  # fmt: skip
def _wrong_side(right: Broken, *args: Any) -> Any:
    found = right(*args)
    return found and replace(found, values=(found.values[0] + 1,))


@_bug("plain_values", "decimal places are not made equal", "linear/plain_values", plain_values, "_scaled")
def _not_scaled(right: Broken, values: Any, places: int) -> Any:
    return values


@_bug("plain_values", "NULL plus a number is a number", "linear/plain_values", plain_values, "_both")
def _null_is_zero(right: Broken, one: Any, other: Any) -> Any:
    return None


@_bug("plain_values", "what is too large wraps around", "linear/plain_values", plain_values, "product")
def _unbounded(right: Broken, *args: Any) -> Any:
    return [(0, 0)]


BUGS += [
    Bug("plain_values", "what is compared with NULL is false", "linear/plain_values",
        lambda patch: patch.setattr(RowTest, "columns", ())),
    Bug("plain_values", "remainders are never negative", "linear/plain_values",
        lambda patch: patch.setitem(plain_values._APPLY, "%", np.mod)),
    Bug("plain_values", "bytes are counted for characters", "linear/plain_values",
        lambda patch: patch.setitem(plain_values._LENGTHS, "length", pc.binary_length)),
]  # fmt: skip


@_bug("moments", "deviations count twice", "aggregate/moments", _Sums, "deviations")
def _doubled(right: Broken, sums: Any, i: int, j: int) -> Any:
    return right(sums, i, j) * 2


@_bug("distinct_texts", "a text that begins with another is that text", "linear/distinct_texts", TextIndex, "numbers")
def _prefix_is_the_text(right: Broken, self: Any, given: Any, most_new: int) -> Any:
    return right(self, pc.utf8_slice_codeunits(given, 0, 1), most_new)


@_bug("distinct_texts", "NULL is the empty text", "linear/distinct_texts", TextIndex, "texts")
def _null_is_empty(right: Broken, self: Any, first: int = 0) -> Any:
    return right(self, first).fill_null("")


@_bug("distinct_texts", "answers of two texts are those of the first", "linear/distinct_texts", KnownPairs, "answers")
def _first_alone(right: Broken, self: Any, delta: Any) -> Any:
    found = right(self, delta)
    numbers = self._numbers[0].of(delta)
    return {n: coded(np.minimum(numbers, len(v.dictionary) - 1), v.dictionary) for n, v in (found or {}).items()}


@_bug("coarse_times", "the last second of a stretch is in the next", "linear/coarse_times", known, "_whole")
def _too_late(right: Broken, column: Any) -> Any:
    return right(column) + 1_000_000


@_bug("coarse_times", "every format is one of hours", "linear/coarse_times", times, "_of_format")
def _of_hours(right: Broken, format_: str) -> int:
    return 3_600_000_000


@_bug("coarse_times", "NULL is the first stretch", "linear/coarse_times", known.KnownTimes, "answers")
def _null_is_first(right: Broken, self: Any, delta: Any) -> Any:
    found = right(self, delta)
    return {n: coded(np.maximum(numbers_of(v), 1), v.dictionary) for n, v in found.items()} if found else found


def _count_bug(word: str, what: str, condition: str, times: str) -> Bug:
    return Bug("set_counts", what, "set_operation/counts",
               lambda patch: patch.setitem(set_operation._COUNTED, word, (condition, times)))  # fmt: skip


BUGS += [
    _count_bug("EXCEPT ALL", "EXCEPT ALL keeps all of the first side", "{left} > {right}", "{left}"),
    _count_bug("EXCEPT", "EXCEPT counts as EXCEPT ALL does", "{left} > {right}", ""),
    _count_bug("INTERSECT ALL", "INTERSECT ALL takes the greater count", "{left} > 0 AND {right} > 0",
               "greatest({left}, {right})"),
    _count_bug("INTERSECT", "INTERSECT takes either side", "{left} > 0 OR {right} > 0", ""),
]  # fmt: skip

BUGS += [
    Bug("time_keys", f"every text is of the {unit}", "aggregate/time_keys",
        lambda patch, unit=unit: patch.setattr(time_key, "shown_unit", lambda format_: unit))  # type: ignore[misc]
    for unit in ("hour", "second")
]  # fmt: skip
