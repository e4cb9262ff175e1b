"""Variances, covariances, correlation and regression, from exact sums of the values and of their products.

A product of two doubles is the sum of two doubles (Dekker 1971), so the sums of products are exact too. What is shown
is computed from the sums with twice a double's precision, for the difference of two nearly equal numbers is its core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.engine.accumulators.floats import FloatSum
from headwater.engine.accumulators.part import Batch, Claim, KeysOf
from headwater.engine.accumulators.records import Records, Taken
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs
from headwater.sql.plan import Accumulator, Column

Doubles = NDArray[np.float64]
Pair = tuple[Doubles, Doubles]
"""Numbers as the sums of two doubles, the second small."""

_SPLIT = 134_217_729.0
_NOTHING = 2.0**-90
"""What is smaller than this, next to what it is the difference of, is a rounding."""


class Moments:
    """The sums of one or two columns and of their products, over rows in which none of the columns is null.

    Args:
        columns: of doubles; of two, the first is what DuckDB calls y, the second x.
    """

    def __init__(self, columns: tuple[str, ...], memory: Memory) -> None:
        self._columns = columns
        size = len(columns)
        alone: list[tuple[int, ...]] = [(i,) for i in range(size)]
        self._factors = alone + [(i, j) for i in range(size) for j in range(i, size)]
        self._sums = [FloatSum("", memory) for _ in self._factors]
        self.words = sum(part.words for part in self._sums)

    def place(self, records: Records, offset: int) -> None:
        for part in self._sums:
            part.place(records, offset)
            offset += part.words

    def reserve(self, slots: int) -> None:
        return None

    def add(self, batch: Batch) -> None:
        masks = [mask for name in self._columns if len(mask := batch.valid(name))]
        valid = np.logical_and.reduce(masks) if masks else np.zeros(0, np.bool_)
        values = [np.asarray(batch.values(name).fill_null(0.0)) for name in self._columns]
        for factors, part in zip(self._factors, self._sums, strict=True):
            for given in [values[factors[0]]] if len(factors) == 1 else _product(*(values[i] for i in factors)):
                part.add_values(batch, np.ascontiguousarray(given).view(np.int64), valid)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        counts = self._sums[0].counts(taken)
        sums = {f: part.pairs(taken, slots) for f, part in zip(self._factors, self._sums, strict=True)}
        with np.errstate(all="ignore"):
            found, known = _SHOWN[call.kind](_Sums(np.maximum(counts, 1).astype(np.float64), sums))
        return pa.array(found, mask=~(known & (counts > 0))).cast(column.arrow)

    def forget(self, slots: Longs, closed: bool) -> None:
        for part in self._sums:
            part.forget(slots, closed)

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        return {f"{i}": part.saved(slots)["bins"] for i, part in enumerate(self._sums)}

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        for i, part in enumerate(self._sums):
            part.restored(slots, {"bins": columns[f"{i}"]})

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        return None

    def restore(self, folder: Path, claim: Claim) -> None:
        return None


class _Sums:
    """The sums of groups, and what statistics are made of.

    Attributes:
        n: how many rows.
    """

    def __init__(self, n: Doubles, sums: Mapping[tuple[int, ...], Pair]) -> None:
        self.n, self._sums = n, sums

    def mean(self, i: int) -> Doubles:
        """The mean of a column."""
        return self._sums[i,][0] / self.n

    def deviations(self, i: int, j: int) -> Doubles:
        """The sum of the products of the deviations of two columns from their means."""
        whole = self._sums[i, j]
        square = _divided(_multiplied(self._sums[i,], self._sums[j,]), self.n)
        high, low = _two_sum(whole[0], -square[0])
        found = high + (low + (whole[1] - square[1]))
        return np.where(np.abs(found) <= _NOTHING * np.maximum(np.abs(whole[0]), np.abs(square[0])), 0.0, found)


def _two_sum(a: Doubles, b: Doubles) -> Pair:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _split(a: Doubles) -> Pair:
    scaled = _SPLIT * a
    high = scaled - (scaled - a)
    return high, a - high


def _product(a: Doubles, b: Doubles) -> Pair:
    """The product of doubles, exactly; where it is not finite, it is the first number alone."""
    with np.errstate(all="ignore"):
        product = a * b
        (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
        rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, np.where(np.isfinite(rest), rest, 0.0)


def _multiplied(a: Pair, b: Pair) -> Pair:
    high, low = _product(a[0], b[0])
    return _two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def _divided(a: Pair, n: Doubles) -> Pair:
    first = a[0] / n
    high, low = _product(first, n)
    return _two_sum(first, ((a[0] - high) - low + a[1]) / n)


Shown = tuple[Doubles, NDArray[np.bool_]]


def _always(values: Doubles) -> Shown:
    return values, np.ones(len(values), np.bool_)


def _of_sample(root: bool) -> Callable[[_Sums], Shown]:
    def shown(s: _Sums) -> Shown:
        found = s.deviations(0, 0) / np.maximum(s.n - 1, 1)
        return np.sqrt(found) if root else found, s.n > 1

    return shown


def _slope(s: _Sums) -> Doubles:
    spread = s.deviations(1, 1)
    return np.where(spread == 0, np.nan, s.deviations(0, 1) / spread)


def _correlation(s: _Sums) -> Doubles:
    spreads = np.sqrt(s.deviations(0, 0) / s.n) * np.sqrt(s.deviations(1, 1) / s.n)
    return np.where(spreads == 0, np.nan, s.deviations(0, 1) / s.n / spreads)


def _fit(s: _Sums) -> Shown:
    """regr_r2: NULL if x does not vary, 1 if y does not."""
    y, x = s.deviations(0, 0), s.deviations(1, 1)
    return np.where(y == 0, 1.0, _correlation(s) ** 2), x != 0


_SHOWN: Mapping[str, Callable[[_Sums], Shown]] = {
    "var_pop": lambda s: _always(s.deviations(0, 0) / s.n),
    "var_samp": _of_sample(root=False),
    "stddev_pop": lambda s: _always(np.sqrt(s.deviations(0, 0) / s.n)),
    "stddev_samp": _of_sample(root=True),
    "sem": lambda s: _always(np.sqrt(s.deviations(0, 0) / s.n) / np.sqrt(s.n)),
    "covar_pop": lambda s: _always(s.deviations(0, 1) / s.n),
    "covar_samp": lambda s: (s.deviations(0, 1) / np.maximum(s.n - 1, 1), s.n > 1),
    "corr": lambda s: _always(_correlation(s)),
    "regr_avgx": lambda s: _always(s.mean(1)),
    "regr_avgy": lambda s: _always(s.mean(0)),
    "regr_sxx": lambda s: _always(s.deviations(1, 1)),
    "regr_syy": lambda s: _always(s.deviations(0, 0)),
    "regr_sxy": lambda s: _always(s.deviations(0, 1)),
    "regr_slope": lambda s: _always(_slope(s)),
    "regr_intercept": lambda s: (s.mean(0) - _slope(s) * s.mean(1), s.deviations(1, 1) != 0),
    "regr_r2": _fit,
}
