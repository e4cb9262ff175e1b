"""The budget: what is past it comes from files, and behaves the same."""

import errno
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from headwater.change import WEIGHT
from headwater.engine.state import memory
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_store import RowStore
from headwater.errors import StorageFailed
from headwater.index.key_index import KeyIndex

MIB = 1 << 20


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Lets no file grow past the size, as a full disk would not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def open_files(folder: Path) -> int:
    """Files of a folder that this process has open; other threads open and close files of their own."""
    descriptors = (Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))  # noqa: PTH208
    return sum(str(one.readlink()).startswith(str(folder)) for one in descriptors if one.is_symlink())


def test_without_a_budget_nothing_is_mapped() -> None:
    without = Memory()
    array = without.grown(without.zeros(MIB, np.int64), 2 * MIB)
    assert (without.ram_bytes, without.mapped_bytes, array.nbytes) == (0, 0, 16 * MIB)


def test_arrays_past_the_budget_are_files_and_are_given_back(tmp_path: Path) -> None:
    files, budget = open_files(tmp_path), Memory(10 * MIB, tmp_path)
    first = budget.zeros(MIB, np.int64)
    assert (budget.ram_bytes, budget.mapped_bytes) == (8 * MIB, 0)
    second = budget.zeros(MIB, np.int32)
    assert (budget.ram_bytes, budget.mapped_bytes) == (8 * MIB, 4 * MIB)
    assert list(tmp_path.iterdir()) == []
    second[:] = np.arange(MIB)
    second = budget.grown(second, MIB + 1)
    assert len(second) == MIB + MIB // 2
    assert np.array_equal(second[:MIB], np.arange(MIB))
    assert not second[MIB:].any()
    assert budget.mapped_bytes == 6 * MIB
    first = budget.grown(first, 3 * MIB)
    assert (budget.ram_bytes, budget.mapped_bytes) == (0, 30 * MIB)
    view = second[5:7]
    del second
    assert view.tolist() == [5, 6]
    assert budget.mapped_bytes == 30 * MIB
    del view, first
    assert (budget.ram_bytes, budget.mapped_bytes) == (0, 0)
    assert open_files(tmp_path) == files


def test_rows_past_the_budget_are_files(tmp_path: Path) -> None:
    budget = Memory(MIB, tmp_path)
    rows = pa.record_batch(
        {
            "s": pa.array([None if i % 7 == 0 else f"row {i}" for i in range(100_000)]),
            "l": pa.array([[i, None] for i in range(100_000)]),
            "d": pa.array([str(i % 5) for i in range(100_000)]).dictionary_encode(),
        }
    )
    kept = budget.kept(rows)
    assert kept.equals(rows)
    kept.validate(full=True)
    assert budget.mapped_bytes > rows.nbytes
    assert list(tmp_path.iterdir()) == []
    assert budget.kept(rows.slice(0, 100)) is not None
    del kept
    assert budget.mapped_bytes == 0


def test_a_full_disk_is_told_of_and_spoils_nothing(tmp_path: Path) -> None:
    # What tests before have let go is closed now, not in between.
    gc.collect()
    files, budget = open_files(tmp_path), Memory(0, tmp_path)
    array = budget.zeros(MIB, np.int64)
    array[:] = 7
    with largest_file(9 * MIB):
        with pytest.raises(StorageFailed, match="memory budget") as raised:
            budget.grown(array, 2 * MIB)
        assert raised.value.hint
        with pytest.raises(StorageFailed):
            budget.zeros(2 * MIB, np.int64)
        with pytest.raises(StorageFailed):
            budget.kept(pa.record_batch({"a": np.arange(2 * MIB)}))
    assert (array == 7).all()
    assert budget.mapped_bytes == 8 * MIB
    del raised, array
    gc.collect()
    assert open_files(tmp_path) == files
    with pytest.raises(StorageFailed):
        Memory(0, tmp_path / "absent").zeros(MIB, np.int64)


def test_no_space_left_says_to_free_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(memory, "_reserve_space", full)
    with pytest.raises(StorageFailed, match="No space left") as raised:
        Memory(0, tmp_path).zeros(MIB, np.int64)
    assert "free space" in raised.value.hint


def test_threads_share_a_budget(tmp_path: Path) -> None:
    budget = Memory(8 * MIB, tmp_path)

    def use(number: int) -> bool:
        generator = np.random.default_rng(number)
        array = budget.grown(np.zeros(0, np.int64), 1)
        for size in np.sort(generator.integers(1, MIB, 30)).tolist():
            array = budget.grown(array, size)
            array[size - 1] = number
        return bool(array[size - 1] == number)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(16)))
    assert (budget.ram_bytes, budget.mapped_bytes) == (0, 0)


def changes(start: int, stop: int, weight: int = 1) -> pa.Table:
    keys = np.arange(start, stop)
    texts = pa.array([f"text {i}" for i in range(start, stop)], pa.string())
    return pa.table({"k": keys % 5000, "v": keys, "s": texts, WEIGHT: np.full(len(keys), weight)})


@pytest.mark.parametrize("append_only", [False, True])
def test_a_store_past_its_budget_answers_as_one_without(tmp_path: Path, append_only: bool) -> None:
    columns = changes(0, 0).schema.remove(3)
    spilled, heap = Memory(MIB, tmp_path), Memory()
    stores = [RowStore(columns, ("k", "s"), append_only=append_only, memory=each) for each in (spilled, heap)]
    for store in stores:
        for start in range(0, 100_000, 10_000):
            store.apply(changes(start, start + 10_000))
        if append_only:
            store.discard(np.arange(500, 1500))
        else:
            store.apply(pa.concat_tables([changes(500, 1500, -1), changes(200_000, 230_000)]))
    assert spilled.mapped_bytes > 4 * MIB
    assert spilled.ram_bytes <= MIB
    keys = changes(0, 60_000).take(pa.array(np.random.default_rng(1).integers(0, 60_000, 5000)))
    (at, slots), (heap_at, heap_slots) = (store.pairs(keys) for store in stores)
    assert np.array_equal(at, heap_at)
    assert stores[0].take(slots, ["s", "v"]).equals(stores[1].take(heap_slots, ["s", "v"]))
    stores[0].checkpoint(tmp_path / "0")
    restored = RowStore.restore(tmp_path / "0", append_only=append_only, memory=spilled)
    assert restored.rows().sort_by("v").equals(stores[1].rows().sort_by("v"))
    del stores, restored, store
    gc.collect()
    assert (spilled.ram_bytes, spilled.mapped_bytes) == (0, 0)


def test_an_index_past_its_budget_answers_as_one_without(tmp_path: Path) -> None:
    budget = Memory(MIB, tmp_path)
    generator = np.random.default_rng(1)
    indexes = [KeyIndex(pa.schema([("k", pa.int64())]), memory=each) for each in (budget, None)]
    for _ in range(10):
        keys = pa.table({"k": generator.integers(0, 300_000, 50_000)})
        found, wanted = (index.find_or_insert(keys) for index in indexes)
        assert np.array_equal(found[0], wanted[0])
        for index in indexes:
            index.remove(np.unique(wanted[0][::7]))
    keys = pa.table({"k": [None, 1, None, 2]})
    assert np.array_equal(*(index.find_or_insert(keys)[0] for index in indexes))
    assert budget.mapped_bytes > 2 * MIB


def test_a_store_on_a_full_disk_says_so(tmp_path: Path) -> None:
    store = RowStore(changes(0, 0).schema.remove(3), ("k",), memory=Memory(0, tmp_path))
    with largest_file(MIB), pytest.raises(StorageFailed):
        store.apply(changes(0, 200_000))


@pytest.mark.parametrize("what", [["sum"], ["sum", "--budget-mb", "4"], ["join"], ["join", "--budget-mb", "8"]])
def test_the_benchmark_of_memory_gets_the_right_answer(what: list[str], tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "bench" / "memory.py"
    command = [sys.executable, str(script), *what, "--rows", "250000", "--folder", str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["right"]
    assert found["state_bytes_per_row"] < (65 if what[0] == "sum" else 100)
    assert (found["mapped_mb_most"] > 0) == (len(what) > 1)
