"""Rows of tables that are a function of their number, so that any row can be taken back without having been kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT

Longs = npt.NDArray[np.int64]

ROWS_A_KEY = 10
REGIONS = 20
STATIC = {"regions"}
"""Tables that have as many rows however large the others are."""

STEP_US = 100_000
START_US = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC."""

_UNMATCHED_KEYS = 1.05
"""Facts have keys of which one in 21 is in no other table at first; new rows of `dims` have them."""


@dataclass(frozen=True)
class Sizes:
    """How much is there.

    Attributes:
        facts: rows of `facts`; `dims` has a tenth, `more` a fifth.
        keys: different keys in `dims`.
    """

    facts: int

    @property
    def keys(self) -> int:
        """Keys of which `facts` has about `ROWS_A_KEY` rows each."""
        return max(self.facts // ROWS_A_KEY, 1)

    def of(self, table: str) -> int:
        """Rows of a table before any change."""
        return {"facts": self.facts, "dims": self.keys, "more": self.keys * 2, "regions": REGIONS}[table]


SCHEMAS: dict[str, pa.Schema] = {
    "facts": pa.schema(
        [("id", pa.int64()), ("key", pa.int64()), ("region", pa.int32()), ("amount", pa.int64()),
         ("price", pa.float64()), ("name", pa.string()), ("moment", pa.timestamp("us"))]
    ),
    "dims": pa.schema([("key", pa.int64()), ("label", pa.string()), ("rate", pa.float64())]),
    "more": pa.schema(
        [("id", pa.int64()), ("key", pa.int64()), ("amount", pa.int64()), ("moment", pa.timestamp("us"))]
    ),
    "regions": pa.schema([("region", pa.int32()), ("title", pa.string())]),
}  # fmt: skip


def table(name: str, ids: Longs, sizes: Sizes) -> pa.Table:
    """The rows of a table with these numbers."""
    return pa.Table.from_arrays(_COLUMNS[name](ids, sizes), schema=SCHEMAS[name])


def load(name: str, sizes: Sizes, batch: int) -> Iterator[pa.Table]:
    """All rows before any change, `batch` at a time."""
    count = sizes.of(name)
    for start in range(0, count, batch):
        yield table(name, np.arange(start, min(start + batch, count), dtype=np.int64), sizes)


class Changes:
    """Further changes of a table: two in three new rows, one in three an old row taken back, each once.

    Args:
        name: the table.
        sizes: what is there.
        seed: of what is taken back.
    """

    def __init__(self, name: str, sizes: Sizes, seed: int) -> None:
        self._name, self._sizes = name, sizes
        self._next, self._rng = sizes.of(name), np.random.default_rng(seed)
        self._gone: Longs = np.zeros(0, np.int64)

    def take(self, count: int) -> pa.Table:
        """The next `count` changes, with `_weight`."""
        old = np.setdiff1d(self._rng.integers(0, self._sizes.of(self._name), count), self._gone)
        old = self._rng.permutation(old)[: count // 3]
        self._gone = np.concatenate([self._gone, old])
        fresh = np.arange(self._next, self._next + count - len(old), dtype=np.int64)
        self._next += len(fresh)
        rows = table(self._name, np.concatenate([fresh, old]), self._sizes)
        weights = np.repeat(np.array([1, -1], np.int64), [len(fresh), len(old)])
        order = self._rng.permutation(len(weights))
        return rows.append_column(WEIGHT, pa.array(weights)).take(pa.array(order))


def _facts(ids: Longs, sizes: Sizes) -> list[object]:
    word = _mixed(ids, 3) % 1000
    name = pc.binary_join_element_wise("item", pa.array(word).cast(pa.string()), "-")
    return [
        ids, _mixed(ids, 1) % int(sizes.keys * _UNMATCHED_KEYS), (_mixed(ids, 4) % REGIONS).astype(np.int32),
        _mixed(ids, 2) % 100_000, (_mixed(ids, 5) % 1_000_000) / 128, name, _times(ids, sizes.facts, sizes),
    ]  # fmt: skip


def _dims(ids: Longs, sizes: Sizes) -> list[object]:
    label = pc.binary_join_element_wise("label", pa.array(_mixed(ids, 6) % 100).cast(pa.string()), "-")
    return [ids, label, (_mixed(ids, 7) % 100) / 4]


def _more(ids: Longs, sizes: Sizes) -> list[object]:
    keys = _mixed(ids, 8) % int(sizes.keys * _UNMATCHED_KEYS)
    return [ids, keys, _mixed(ids, 9) % 100_000, _times(ids, sizes.of("more"), sizes)]


def _regions(ids: Longs, sizes: Sizes) -> list[object]:
    numbers = (ids % REGIONS).astype(np.int32)
    return [numbers, pc.binary_join_element_wise("region", pa.array(ids).cast(pa.string()), "-")]


_COLUMNS: dict[str, Callable[[Longs, Sizes], list[object]]] = {
    "facts": _facts, "dims": _dims, "more": _more, "regions": _regions,
}  # fmt: skip


def _times(ids: Longs, count: int, sizes: Sizes) -> pa.Array:
    """Times in no order, all over the span in which a row of `facts` happens every `STEP_US`."""
    span = sizes.facts * STEP_US
    return pa.array(START_US + _mixed(ids + count, 10) % (span // 1000) * 1000).view(pa.timestamp("us"))


def _mixed(ids: Longs, salt: int) -> Longs:
    """A number from 0 that looks random, the same for the same id: splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
