"""The index from key to places against a dict of lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InvariantBroken
from headwater.lake.key_index import Dead, Relocation, RowIndex, Taken

KEY = pa.schema([("k", pa.string()), ("n", pa.int64())])
Key = tuple[str | None, int]
Place = tuple[int, int]
Model = dict[Key, set[Place]]
KEYS = st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2))
ROUNDS = st.lists(
    st.tuples(st.lists(KEYS, max_size=6), st.lists(KEYS, max_size=6), st.sets(st.integers(0, 5)), st.booleans()),
    max_size=12,
)


def keys_table(keys: list[Key]) -> pa.Table:
    return pa.table(
        [pa.array([k for k, _ in keys], pa.string()), pa.array([n for _, n in keys], pa.int64())], schema=KEY
    )


def positions(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


@pytest.mark.parametrize("unique", [False, True])
@given(rounds=ROUNDS)
def test_index_equals_a_dict_of_places(unique: bool, rounds: list[tuple[list[Key], list[Key], set[int], bool]]) -> None:
    """Each round takes keys away, adds a file, kills some of its rows, and now and then rewrites all files."""
    index = RowIndex(KEY, unique=unique)
    model: Model = defaultdict(set)
    for number, (added, wanted, killed, rewritten) in enumerate(rounds):
        file = 2 * number
        take(index, model, wanted)
        if unique:
            added = [key for key in dict.fromkeys(added) if not model[key]]
        fresh = index.insert(keys_table(added), file, positions(len(added)))
        for row, key in enumerate(added):
            assert fresh[row] == (not model[key])
            model[key].add((file, row))
        sweep(index, model, file, killed)
        if rewritten:
            relocate(index, model, file + 1)
        assert len(index) == sum(map(len, model.values()))
        assert found(index, model) == {key: places for key, places in model.items() if places}


def found(index: RowIndex, keys: Iterable[Key]) -> Model:
    """All places that the index knows of these keys."""
    result: Model = {}
    for key in keys:
        if index.find(keys_table([key]))[0] >= 0:
            count = 1
            while not isinstance(taken := index.take(keys_table([key]), np.array([count + 1])), int):
                count += 1
            taken = index.take(keys_table([key]), np.array([count]))
            assert isinstance(taken, Taken)
            result[key] = set(zip(taken.files.tolist(), taken.rows.tolist(), strict=True))
    return result


def take(index: RowIndex, model: Model, wanted: list[Key]) -> None:
    counts = Counter(wanted)
    keys = list(counts)
    taken = index.take(keys_table(keys), np.array([counts[key] for key in keys], np.int64))
    if isinstance(taken, int):
        assert len(model[keys[taken]]) < counts[keys[taken]]
        return
    places = list(zip(taken.files.tolist(), taken.rows.tolist(), strict=True))
    for key, count in zip(keys, taken.counts.tolist(), strict=True):
        mine, places = places[:count], places[count:]
        assert len(set(mine)) == count
        assert model[key].issuperset(mine)
        model[key].difference_update(mine)
    assert not places
    index.forget(taken)


def sweep(index: RowIndex, model: Model, file: int, killed: set[int]) -> None:
    """Some rows of the newest file are dead, and all of the first."""
    bases, dead = np.full(file + 1, -1, np.int64), np.zeros(10, np.bool_)
    bases[0], bases[file] = -2, 4
    dead[[4 + row for row in killed]] = True
    index.sweep(Dead(bases, dead))
    for places in model.values():
        places.difference_update([(file, row) for row in killed])
        if file:
            places.difference_update([(0, row) for row in range(6)])


def relocate(index: RowIndex, model: Model, into: int) -> None:
    """All rows are written anew into one file, last row first."""
    held = sorted((place for places in model.values() for place in places), reverse=True)
    sizes = np.zeros(into, np.int64)
    for file, row in held:
        sizes[file] = max(sizes[file], row + 1)
    bases = np.cumsum(sizes) - sizes
    files, rows = np.full(int(sizes.sum()), -1, np.int64), np.zeros(int(sizes.sum()), np.int64)
    for new_row, (file, row) in enumerate(held):
        files[bases[file] + row], rows[bases[file] + row] = into, new_row
    index.relocate(Relocation(bases, sizes, files, rows))
    for key, places in model.items():
        model[key] = {(into, held.index(place)) for place in places}


@pytest.mark.parametrize("unique", [False, True])
def test_a_row_that_a_rewrite_left_out_is_noticed(unique: bool) -> None:
    index = RowIndex(KEY, unique=unique)
    index.insert(keys_table([("a", 1), ("b", 2)]), 0, positions(2))
    one = np.zeros(1, np.int64)
    with pytest.raises(InvariantBroken, match="1 rows"):
        index.relocate(Relocation(one, one + 1, one + 1, one))


def test_a_key_that_is_there_is_not_inserted_again_with_others() -> None:
    index = RowIndex(KEY, unique=True)
    index.insert(keys_table([("a", 1)]), 0, positions(1))
    assert index.insert(keys_table([("b", 1), ("a", 1)]), 1, positions(2)).tolist() == [True, False]
    assert found(index, [("a", 1), ("b", 1)]) == {("a", 1): {(0, 0)}}


def test_room_is_made_once_for_what_is_known_to_come() -> None:
    numbers = pa.table({"n": pa.array(range(3_000_000), pa.int64())})
    index = RowIndex(numbers.schema, unique=True)
    index.reserve(numbers.num_rows)
    index.insert(numbers, 0, positions(numbers.num_rows))
    assert index.nbytes <= 30 * numbers.num_rows
