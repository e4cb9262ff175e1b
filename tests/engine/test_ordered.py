"""`OrderedRows` against sorted Python lists: random histories over few groups, many ties, weights and tails."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.engine.state.memory import Memory
from headwater.engine.state.ordered import OrderedRows
from headwater.index.kernels import Longs
from headwater.index.row_encoding import EncodedRows

GROUPS, ENTRIES = 3, 40
Key = tuple[int, ...]


def longs(values: list[int]) -> Longs:
    return np.array(values, np.int64)


class Model:
    """Lists in order: (words, tail, age, entry) with weights beside them."""

    def __init__(self, width: int, tailed: bool) -> None:
        self.width, self.tailed, self.age = width, tailed, 0
        self.lists: list[list[tuple[Key, Key, int, int]]] = [[] for _ in range(GROUPS)]
        self.weight: dict[int, int] = {}
        self.tail: dict[int, Key] = {}
        self.tree = OrderedRows(width, Memory(), self.tails if tailed else None)
        self.tree.reserve(GROUPS, ENTRIES)

    def tails(self, entries: Longs) -> EncodedRows:
        """Tails as words, ended by 0 so that none is a prefix of another."""
        rows = [[*self.tail[entry], 0] for entry in entries.tolist()]
        offsets = np.cumsum([0, *map(len, rows)])
        return EncodedRows(np.array([word for row in rows for word in row], np.uint64), offsets.astype(np.int64))

    def insert(self, rng: random.Random, count: int) -> None:
        free = [entry for entry in range(ENTRIES) if entry not in self.weight]
        entries = rng.sample(free, min(count, len(free)))
        groups = [rng.randrange(GROUPS) for _ in entries]
        words = [[rng.choice((0, 1, 2**63, 2**64 - 1)) for _ in range(self.width)] for _ in entries]
        for entry, group, key in zip(entries, groups, words, strict=True):
            self.weight[entry] = rng.choice((1, 1, 3))
            self.tail[entry] = tuple(rng.randrange(1, 3) for _ in range(rng.randrange(3)))
            self.lists[group].append((tuple(key), (*self.tail[entry], 0) if self.tailed else (), self.age, entry))
            self.age += 1
            self.lists[group].sort()
        given_words = np.array(words, np.uint64).reshape(-1)
        self.tree.insert(longs(groups), longs(entries), given_words, longs([self.weight[e] for e in entries]))

    def remove(self, rng: random.Random, count: int) -> None:
        entries = rng.sample(sorted(self.weight), min(count, len(self.weight)))
        self.tree.remove(longs(entries))
        for entry in entries:
            del self.weight[entry]
        self.lists = [[row for row in rows if row[3] in self.weight] for rows in self.lists]

    def reweigh(self, rng: random.Random, count: int) -> None:
        entries = rng.sample(sorted(self.weight), min(count, len(self.weight)))
        self.tree.reweigh(longs(entries), longs([2] * len(entries)))
        for entry in entries:
            self.weight[entry] += 2

    def ranked(self, group: int) -> list[int]:
        return [row[3] for row in self.lists[group] for _ in range(self.weight[row[3]])]

    def check(self, rng: random.Random) -> None:
        groups = longs(list(range(GROUPS)))
        ranked = [self.ranked(group) for group in range(GROUPS)]
        assert self.tree.counts(groups).tolist() == [len(rows) for rows in ranked]
        for group, rows in enumerate(ranked):
            asked = longs(list(range(-1, len(rows) + 2)))
            found = self.tree.select(np.full(len(asked), group, np.int64), asked)
            assert found.tolist() == [-1, *rows, -1, -1]
        low, high = longs([rng.randrange(4) for _ in groups]), longs([rng.randrange(12) for _ in groups])
        entries, copies, offsets = self.tree.window(groups, low, high)
        assert (copies > 0).all()
        for group, rows in enumerate(ranked):
            part = slice(offsets[group], offsets[group + 1])
            assert np.repeat(entries[part], copies[part]).tolist() == rows[low[group] : high[group]]
        self.check_ranks(ranked)

    def check_ranks(self, ranked: list[list[int]]) -> None:
        everyone = sorted(self.weight)
        before, groups = self.tree.rank_of(longs(everyone))
        for entry, rank, group in zip(everyone, before.tolist(), groups.tolist(), strict=True):
            assert ranked[group].index(entry) == rank
        for group, rows in enumerate(self.lists):
            for words in {row[0] for row in rows}:
                asked, key = longs([group]), np.array(words, np.uint64)
                lower = sum(self.weight[row[3]] for row in rows if row[0] < words)
                equal = sum(self.weight[row[3]] for row in rows if row[0] == words)
                assert self.tree.lower_bound(asked, key).tolist() == [lower]
                assert self.tree.upper_bound(asked, key).tolist() == [lower + equal]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2), st.booleans())
def test_it_is_a_sorted_list(seed: int, width: int, tailed: bool) -> None:
    rng = random.Random(seed)
    model = Model(width, tailed)
    for _ in range(12):
        rng.choice((model.insert, model.insert, model.remove, model.reweigh))(rng, rng.randrange(1, 15))
        model.check(rng)


@pytest.mark.parametrize("groups", [1, 50, 20_000])
def test_it_orders_many(groups: int) -> None:
    rng = np.random.default_rng(groups)
    count = 20_000
    tree = OrderedRows(1, Memory())
    tree.reserve(groups, count)
    group, words = rng.integers(0, groups, count), rng.integers(0, 1 << 62, count).astype(np.uint64)
    entries = rng.permutation(count)
    tree.insert(group, entries, words)
    dead = entries[: count // 3]
    tree.remove(dead)
    group, words, entries = group[count // 3 :], words[count // 3 :], entries[count // 3 :]
    found, _, offsets = tree.first(np.arange(groups), count)
    order = np.lexsort((words, group))
    assert (found == entries[order]).all()
    assert (np.diff(offsets) == np.bincount(group, minlength=groups)).all()


def test_tails_make_room_again() -> None:
    """What tails take is in proportion to what is there, not to what was."""
    tail = EncodedRows(np.arange(1000 * 20, dtype=np.uint64), np.arange(1001) * 20)
    tree = OrderedRows(
        0, Memory(), lambda entries: EncodedRows(tail.words[: len(entries) * 20], tail.offsets[: len(entries) + 1])
    )
    tree.reserve(1, 1000)
    for _ in range(50):
        tree.insert(np.zeros(1000, np.int64), np.arange(1000), np.zeros(0, np.uint64))
        tree.remove(np.arange(1000))
    assert tree.nbytes < 1_500_000
