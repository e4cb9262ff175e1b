"""The store against a Counter of rows; checkpoints by what is on disk."""

import re
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.change import WEIGHT, delta_schema
from headwater.engine.state.row_store import RowStore
from headwater.errors import CorruptCheckpoint, InvariantBroken, StorageFailed
from headwater.index.kernels import Longs

COLUMNS = pa.schema(
    [
        pa.field("k", pa.int64(), metadata={b"headwater.source_type": b"bigint"}),
        pa.field("s", pa.string()),
        pa.field("n", pa.list_(pa.int64())),
    ]
)
Row = tuple[int | None, str | None, tuple[int, ...] | None]


def delta(rows: list[tuple[Row, int]]) -> pa.Table:
    records = [{"k": k, "s": s, "n": None if n is None else list(n), WEIGHT: weight} for (k, s, n), weight in rows]
    return pa.Table.from_pylist(records, schema=delta_schema(COLUMNS))


def counted(table: pa.Table) -> Counter[Row]:
    assert table.schema.equals(delta_schema(COLUMNS), check_metadata=True)
    found = Counter[Row]()
    for record in table.to_pylist():
        row = (record["k"], record["s"], None if record["n"] is None else tuple(record["n"]))
        assert record[WEIGHT] > 0
        found[row] += record[WEIGHT]
    return found


def key_table(keys: list[int | None]) -> pa.Table:
    return pa.table({"k": pa.array(keys, pa.int64()), "other": range(len(keys))})


ROWS = st.tuples(
    st.none() | st.integers(0, 5),
    st.none() | st.sampled_from(["", "a", "z" * 50]),
    st.none() | st.just(()) | st.just((1,)),
)
CHANGES = st.lists(st.lists(st.tuples(ROWS, st.integers(-2, 2)), max_size=25), max_size=10)


def feasible(batch: list[tuple[Row, int]], model: Counter[Row]) -> list[tuple[Row, int]]:
    """The batch, with additions at its end that keep all net weights at 0 or above."""
    net = Counter(model)
    for row, weight in batch:
        net[row] += weight
    return [*batch, *((row, -weight) for row, weight in net.items() if weight < 0)]


def weighted(store: RowStore, slots: Longs) -> pa.Table:
    """The rows of slots with their weights."""
    return store.take(slots).append_column(pa.field(WEIGHT, pa.int64(), False), pa.array(store.weights_of(slots)))


def paired(store: RowStore, keys: list[int | None]) -> Counter[tuple[int, Row]]:
    """The pairs of key positions and rows that the store finds."""
    at, slots = store.pairs(key_table(keys))
    assert (np.diff(at) >= 0).all()
    found = Counter[tuple[int, Row]]()
    for i, slot in zip(at.tolist(), slots, strict=True):
        ((row, weight),) = counted(weighted(store, np.array([slot]))).items()
        found[i, row] += weight
    return found


def expected_pairs(model: Counter[Row], keys: list[int | None]) -> Counter[tuple[int, Row]]:
    return Counter({(i, row): w for i, key in enumerate(keys) for row, w in model.items() if row[0] == key})


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES, st.sampled_from([("k",), (), ("k", "s")]), st.sampled_from([2, 4, 64]), st.data())
def test_it_is_a_counter(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[Row, int]]],
    key: tuple[str, ...],
    bits: int,
    data: st.DataObject,
) -> None:
    store, model, previous = RowStore(COLUMNS, key, hash_bits=bits), Counter[Row](), None
    for batch in batches:
        changes = feasible(batch, model)
        store.apply(delta(changes))
        for row, weight in changes:
            model[row] += weight
        model = +model
        assert counted(store.rows()) == model
        assert len(model) <= store.num_rows <= model.total()
        if key == ("k",):
            keys: list[int | None] = [3, None, 3, 9]
            assert counted(store.rows_of(key_table(keys))) == Counter({r: w for r, w in model.items() if r[0] in keys})
            assert paired(store, keys) == expected_pairs(model, keys)
            assert store.contains(key_table(keys)).tolist() == [any(r[0] == k for r in model) for k in keys]
        action = data.draw(st.sampled_from(["", "", "checkpoint", "restore", "clear", "discard"]))
        if action in ("checkpoint", "restore"):
            folder = tmp_path_factory.mktemp("checkpoint")
            store.checkpoint(folder, previous)
            previous = folder
        if action == "restore":
            store = RowStore.restore(folder, hash_bits=bits)
            assert (store.key, store.columns) == (key, COLUMNS)
            assert counted(store.rows()) == model
        elif action == "discard":
            slots = np.random.default_rng(len(model)).permutation(store.slots())[: store.num_rows // 2]
            model -= counted(weighted(store, slots))
            store.discard(slots)
            assert counted(store.rows()) == model
        elif action == "clear":
            assert counted(store.clear()) == model
            model = Counter()
            assert store.num_rows == 0


def test_an_append_only_store_refuses_retractions_and_may_discard() -> None:
    store = RowStore(COLUMNS, ("k",), append_only=True)
    assert store.apply(numbers(0, 100)).tolist() == list(range(100))
    store.apply(pa.concat_tables([numbers(0, 10, 0), numbers(0, 5, 3)]))
    with pytest.raises(InvariantBroken, match="retracted"):
        store.apply(pa.concat_tables([numbers(200, 210), numbers(3, 4, -1)]))
    assert store.num_rows == 105
    at, slots = store.pairs(key_table([7, None, 3, 200]))
    assert (at.tolist(), sorted(slots.tolist())) == ([0, 2, 2], [3, 7, 103])
    assert store.take(np.array([103, 7]), ["s"]).to_pylist() == [{"s": "row 3"}, {"s": "row 7"}]
    assert store.weights_of(np.array([103, 7])).tolist() == [3, 1]
    store.discard(np.array([103, 50]))
    assert counted(store.rows_of(key_table([3, 50, 51]))) == counted(pa.concat_tables([numbers(3, 4), numbers(51, 52)]))
    store.apply(numbers(300, 310))
    assert store.capacity == 113
    assert store.contains(key_table([50, 309])).tolist() == [False, True]


def test_nulls_match_unless_told_otherwise() -> None:
    store = RowStore(COLUMNS, ("k", "s"))
    store.apply(delta([((1, None, None), 1), ((None, "a", None), 1), ((1, "a", None), 1)]))
    keys = pa.table({"k": pa.array([1, None, 1], pa.int64()), "s": pa.array([None, "a", "a"], pa.string())})
    assert store.pairs(keys)[0].tolist() == [0, 1, 2]
    assert store.pairs(keys, nulls_match=False)[0].tolist() == [2]


def test_a_retraction_takes_rows_that_came_at_several_times() -> None:
    store = RowStore(COLUMNS, ("k",), hash_bits=4)
    for weight in (2, 1, 3):
        store.apply(pa.concat_tables([numbers(7, 8, weight), numbers(100, 120)]))
    store.apply(numbers(7, 8, -5))
    assert counted(store.rows_of(key_table([7]))) == counted(numbers(7, 8))
    with pytest.raises(InvariantBroken):
        store.apply(numbers(7, 8, -2))


def test_many_equal_rows_do_not_slow_each_other_down() -> None:
    store, one = RowStore(COLUMNS, ()), numbers(1, 2)
    many = pa.concat_tables([one] * 100_000)
    store.apply(many)
    for _ in range(200):
        store.apply(numbers(1, 2, -1))
    store.apply(pa.concat_tables([numbers(1, 2, -1)] * 99_700))
    assert counted(store.rows()) == Counter({(1, "row 1", None): 100})


def test_the_global_key_has_all_rows() -> None:
    store = RowStore(COLUMNS, ())
    assert store.contains(key_table([1])).tolist() == [False]
    store.apply(delta([((1, "a", None), 2), ((None, "b", (1,)), 1)]))
    assert store.contains(key_table([1, 2])).tolist() == [True, True]
    assert counted(store.rows_of(key_table([1, 2]))) == counted(store.rows())
    assert store.rows_of(key_table([])).num_rows == 0


def test_a_retraction_of_nothing_is_refused_and_leaves_no_trace() -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(delta([((1, "a", None), 1), ((2, "a", None), 1)]))
    before = counted(store.rows())
    with pytest.raises(InvariantBroken, match=re.escape("{'k': 2}")):
        store.apply(delta([((3, "new", None), 1), ((1, "a", None), -1), ((2, "a", None), -2)]))
    with pytest.raises(InvariantBroken, match=re.escape("{'k': 1}")):
        store.apply(delta([((1, "other", None), -1)]))
    assert counted(store.rows()) == before
    assert store.num_rows == 2
    store.apply(delta([((3, "new", None), 1), ((1, "a", None), -1)]))
    assert counted(store.rows()) == Counter({(2, "a", None): 1, (3, "new", None): 1})


def numbers(start: int, stop: int, weight: int = 1) -> pa.Table:
    return delta([((i, f"row {i}", None), weight) for i in range(start, stop)])


def test_memory_does_not_grow_with_history() -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 500))
    sizes = []
    for turn in range(60):
        store.apply(
            pa.concat_tables([numbers(500 * turn, 500 * turn + 500, -1), numbers(500 * turn + 500, 500 * turn + 1000)])
        )
        sizes.append(store.nbytes)
    assert store.num_rows == 500
    assert max(sizes[30:]) <= max(sizes[:30])


def test_chunks_stay_few() -> None:
    store = RowStore(COLUMNS, ())
    for i in range(0, 3000, 10):
        store.apply(numbers(i, i + 10))
    assert store.num_rows == 3000
    assert len(list(store._chunks)) <= 12


def written(folder: Path, previous: Path) -> int:
    """Bytes in `folder` that are not hard links into `previous`."""
    known = {path.stat().st_ino for path in previous.iterdir()}
    return sum(path.stat().st_size for path in folder.iterdir() if path.stat().st_ino not in known)


def test_a_checkpoint_writes_what_changed(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 20_000))
    store.checkpoint(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "0")
    whole = sum(path.stat().st_size for path in (tmp_path / "0").iterdir())
    for turn in range(1, 21):
        store.apply(
            pa.concat_tables([numbers(turn * 10, turn * 10 + 10, -1), numbers(30_000 + turn * 5, 30_005 + turn * 5)])
        )
        store.checkpoint(tmp_path / str(turn), tmp_path / str(turn - 1))
        assert written(tmp_path / str(turn), tmp_path / str(turn - 1)) < whole / 20
        assert len(list((tmp_path / str(turn)).iterdir())) < 20
        assert counted(RowStore.restore(tmp_path / str(turn)).rows()) == counted(store.rows())
    store.checkpoint(tmp_path / "same", tmp_path / "20")
    assert {path.name for path in (tmp_path / "same").iterdir()} == {path.name for path in (tmp_path / "20").iterdir()}
    assert written(tmp_path / "same", tmp_path / "20") < 10_000


def test_a_checkpoint_after_restore_goes_on_from_there(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 5000))
    store.checkpoint(tmp_path / "0")
    store.apply(numbers(0, 10, -1))
    store.checkpoint(tmp_path / "1", tmp_path / "0")
    restored = RowStore.restore(tmp_path / "1")
    restored.apply(numbers(10, 20, -1))
    restored.checkpoint(tmp_path / "2", tmp_path / "1")
    assert written(tmp_path / "2", tmp_path / "1") < 10_000
    assert counted(RowStore.restore(tmp_path / "2").rows()) == counted(numbers(20, 5000))


def test_an_older_or_strange_previous_is_not_built_upon(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 100))
    store.checkpoint(tmp_path / "0")
    store.apply(numbers(0, 10, -1))
    store.checkpoint(tmp_path / "abandoned", tmp_path / "0")
    store.apply(numbers(10, 20, -1))
    store.checkpoint(tmp_path / "1", tmp_path / "0")
    assert counted(RowStore.restore(tmp_path / "1").rows()) == counted(numbers(20, 100))


def test_every_damaged_file_is_noticed(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 50))
    store.checkpoint(tmp_path / "0")
    store.apply(numbers(0, 5, -1))
    store.checkpoint(tmp_path / "1", tmp_path / "0")
    paths = sorted((tmp_path / "1").iterdir())
    assert len(paths) == 3
    for path in paths:
        content = path.read_bytes()
        for damaged in (content[:-1], content[:40] + bytes([content[40] ^ 1]) + content[41:], b"", None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(CorruptCheckpoint, match=path.name) as raised:
                RowStore.restore(tmp_path / "1")
            assert raised.value.hint
            path.write_bytes(content)
    assert RowStore.restore(tmp_path / "1").num_rows == 45


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 50))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match="cannot write the checkpoint"):
        store.checkpoint(tmp_path / "file" / "0")
    store.checkpoint(tmp_path / "0")
    with pytest.raises(CorruptCheckpoint):
        store.checkpoint(tmp_path / "1", tmp_path / "nothing")


def test_values_that_are_hard_to_compare_cancel() -> None:
    columns = pa.schema([("k", pa.float64()), ("v", pa.struct([("x", pa.decimal128(20, 2))]))])
    rows = pa.table(
        {"k": [0.0, float("nan"), None], "v": pa.array([{"x": None}, None, {"x": 1}], columns.field("v").type)},
        schema=columns,
    )
    store = RowStore(columns, ("k",), hash_bits=4)
    store.apply(rows.append_column(pa.field(WEIGHT, pa.int64(), False), pa.array([1, 1, 1])))
    again = rows.set_column(0, "k", pa.array([-0.0, -np.nan, None]))
    assert store.contains(again).all()
    store.apply(again.append_column(pa.field(WEIGHT, pa.int64(), False), pa.array([-1, -1, -1])))
    assert store.num_rows == 0


@pytest.mark.parametrize("seed", range(3))
def test_many_rows_of_one_key_come_and_go_in_any_order(seed: int) -> None:
    generator, store = np.random.default_rng(seed), RowStore(COLUMNS, ("k",))
    rows: list[Row] = [(i % 2, str(i), None) for i in range(120)]
    living = np.zeros(len(rows), np.bool_)
    for _ in range(12):
        flipped = generator.permutation(len(rows))[:40]
        store.apply(delta([(rows[i], -1 if living[i] else 1) for i in flipped]))
        living[flipped] ^= True
        for key in (0, 1):
            expected = {row: 1 for row, lives in zip(rows, living, strict=True) if lives and row[0] == key}
            assert counted(store.rows_of(key_table([key]))) == expected


def test_a_full_disk_fails_the_checkpoint_but_not_the_next(tmp_path: Path) -> None:
    store = RowStore(COLUMNS, ("k",))
    store.apply(numbers(0, 100))
    store.checkpoint(tmp_path / "0")
    store.apply(pa.concat_tables([numbers(0, 10, -1), numbers(1000, 3000)]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageFailed, match="File too large"):
            store.checkpoint(tmp_path / "1", tmp_path / "0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(CorruptCheckpoint):
        RowStore.restore(tmp_path / "1")
    store.checkpoint(tmp_path / "1", tmp_path / "0")
    assert counted(RowStore.restore(tmp_path / "1").rows()) == counted(store.rows())
    assert store.num_rows == 2090
