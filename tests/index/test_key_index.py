"""The index against a Python dict, with hashes cut short so that different keys collide."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import InvariantBroken
from headwater.index.key_index import KeyIndex, group

STRINGS = pa.schema([("k", pa.string())])
NUMBERS = pa.schema([("k", pa.int64())])


def keys(values: list[object], schema: pa.Schema) -> pa.Table:
    return pa.table({"k": pa.array(values, schema.field("k").type)})


def text(number: int) -> str | None:
    return None if number == 0 else "k" * (number % 40) + str(number)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 60), max_size=40)), max_size=12),
    st.sampled_from([0, 1, 4, 64]),
    st.booleans(),
)
def test_it_is_a_dict(steps: list[tuple[bool, list[int]]], bits: int, strings: bool) -> None:
    schema = STRINGS if strings else NUMBERS
    index, model = KeyIndex(schema, hash_bits=bits), dict[object, int]()
    for removing, numbers in steps:
        batch = [text(n) if strings else (n or None) for n in numbers]
        if removing:
            gone = list(dict.fromkeys(key for key in batch if key in model))
            index.remove(np.array([model.pop(key) for key in gone], np.int64))
        else:
            slots, created = index.find_or_insert(keys(batch, schema))
            for key, slot, new in zip(batch, slots.tolist(), created.tolist(), strict=True):
                assert new == (key not in model)
                assert model.setdefault(key, slot) == slot
            assert len(set(model.values())) == len(model)
        assert len(index) == len(model)
        everything = [text(n) if strings else (n or None) for n in range(61)]
        assert index.find(keys(everything, schema)).tolist() == [model.get(key, -1) for key in everything]


def test_slots_are_used_again_and_memory_stays() -> None:
    index = KeyIndex(STRINGS)
    for turn in range(40):
        slots, created = index.find_or_insert(keys([f"{turn}/{'x' * 100}/{i}" for i in range(200)], STRINGS))
        assert created.all()
        index.remove(slots)
    assert len(index) == 0
    assert index.capacity == 200
    assert index.nbytes < 400_000


def test_living_keys_survive_compaction() -> None:
    index = KeyIndex(STRINGS)
    everything = keys([f"{'y' * (i % 50)}{i}" for i in range(5000)], STRINGS)
    slots, _ = index.find_or_insert(everything)
    for start in range(4):
        index.remove(slots[np.arange(5000) % 5 == start])
    expected = np.where(np.arange(5000) % 5 == 4, slots, -1)
    assert np.array_equal(index.find(everything), expected)


def test_many_keys_grow_the_index() -> None:
    index, everything = KeyIndex(NUMBERS), np.random.default_rng(3).permutation(200_000)
    for part in np.array_split(everything, 7):
        index.find_or_insert(pa.table({"k": part, "other": part}))
    assert np.array_equal(index.find(pa.table({"k": everything})), np.arange(200_000))
    assert (index.find(pa.table({"k": everything + 200_000})) == -1).all()


def test_no_columns_are_one_key() -> None:
    index = KeyIndex(pa.schema([]))
    assert index.find_or_insert(pa.table({"other": [1, 2]}))[0].tolist() == [0, 0]


def test_removing_what_is_not_there_is_refused() -> None:
    index = KeyIndex(NUMBERS)
    index.find_or_insert(keys([1, 2], NUMBERS))
    index.remove(np.array([1]))
    for slot in (1, 7, -1):
        with pytest.raises(InvariantBroken):
            index.remove(np.array([slot]))
    assert index.find(keys([1, 2], NUMBERS)).tolist() == [0, -1]


def test_group_numbers_keys_by_first_row() -> None:
    numbers, first = group(pa.table({"k": ["b", None, "b", "a", None]}), STRINGS, hash_bits=4)
    assert numbers.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]


def test_it_works_uncompiled() -> None:
    """The kernels are plain Python under NUMBA_DISABLE_JIT=1, without a warning."""
    program = """
import numpy as np, pyarrow as pa
from headwater.index.key_index import KeyIndex
index = KeyIndex(pa.schema([("a", pa.string()), ("b", pa.float64())]), hash_bits=3)
rows = pa.table({"a": ["x", None, "x", "", "y", "z"], "b": [0.0, 1, -0.0, 1, 2, 3]})
slots, created = index.find_or_insert(rows)
assert slots.tolist() == [0, 1, 0, 2, 3, 4], slots
index.remove(np.array([0, 2]))
assert index.find(rows).tolist() == [-1, 1, -1, -1, 3, 4]
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env=environment)
