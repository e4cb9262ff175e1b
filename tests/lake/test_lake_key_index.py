"""The index from key to places against a dict of lists."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headwater.lake.key_index import RowIndex, Taken

KEY = pa.schema([("k", pa.string()), ("n", pa.int64())])
Key = tuple[str | None, int]
KEYS = st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2))


def keys_table(keys: list[Key]) -> pa.Table:
    return pa.table(
        [pa.array([k for k, _ in keys], pa.string()), pa.array([n for _, n in keys], pa.int64())], schema=KEY
    )


@given(st.lists(st.tuples(st.lists(KEYS, max_size=6), st.lists(KEYS, max_size=6)), max_size=12))
def test_index_equals_a_dict_of_places(
    rounds: list[tuple[list[Key], list[Key]]],
) -> None:
    index = RowIndex(KEY)
    model: dict[Key, set[tuple[int, int]]] = defaultdict(set)
    for file, (added, wanted) in enumerate(rounds):
        counts = Counter(wanted)
        keys = list(counts)
        taken = index.take(keys_table(keys), np.array([counts[key] for key in keys], np.int64))
        if isinstance(taken, int):
            assert len(model[keys[taken]]) < counts[keys[taken]]
        else:
            remove(index, model, keys, taken)
        rows = np.arange(len(added), dtype=np.int64)
        fresh = index.insert(keys_table(added), file, rows)
        for number, key in enumerate(added):
            assert fresh[number] == (not model[key])
            model[key].add((file, number))
        assert len(index) == sum(map(len, model.values()))
    for key, places in model.items():
        assert (index.find(keys_table([key]))[0] >= 0) == bool(places)


def remove(
    index: RowIndex,
    model: dict[Key, set[tuple[int, int]]],
    keys: list[Key],
    taken: Taken,
) -> None:
    places = list(zip(taken.files.tolist(), taken.rows.tolist(), strict=True))
    for key, count in zip(keys, taken.counts.tolist(), strict=True):
        mine, places = places[:count], places[count:]
        assert len(set(mine)) == count
        assert model[key].issuperset(mine)
        model[key].difference_update(mine)
    assert not places
    index.forget(taken)
