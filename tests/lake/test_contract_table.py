"""A table of every format against a model in memory, read back by readers that share no code with the writer."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_model import (
    COLUMNS,
    KEYED,
    MULTISET,
    SOME,
    Delta,
    Row,
    agree,
    changed,
    delta,
    forget_past,
    keyed_delta,
    live_paths,
    multiset_delta,
    open_any,
    reopened,
    rows_of,
    shuffled,
    snapshot_epochs,
    weighted_rows,
)

from headwater.errors import InvariantBroken, UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.table_format import Lake, TableSpec

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", None)


@dataclass(frozen=True)
class Step:
    """One epoch: what is done to which key with which value, and whether table and index are opened anew first."""

    writes: list[tuple[int, str | None]]
    seed: int
    reopened: bool
    replaced: bool


STEPS = st.lists(
    st.builds(
        Step,
        writes=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["x", "y", "z", None])), max_size=8),
        seed=st.integers(0, 1000),
        reopened=st.booleans(),
        replaced=st.integers(0, 5).map(lambda n: n == 0),
    ),
    min_size=1,
    max_size=7,
)


def play(format: str, spec: TableSpec, steps: list[Step], make) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = open_any(format, Path(folder))
        table = lake.table(spec)
        history: list[Counter[Row]] = [Counter()]
        for epoch, step in enumerate(steps, start=1):
            before = Counter() if step.replaced else history[-1]
            change = make(before, step.writes)
            if step.reopened:
                table = lake.table(spec)
            table.commit(epoch, delta(shuffled(change, step.seed)), {"n": str(epoch)}, replace=step.replaced)
            history.append(changed(before, change))
            assert rows_of(table.read()) == history[-1]
        agree(lake, table, history[-1])
        for epoch, expected in enumerate(history[1:], start=1):
            assert rows_of(table.read(epoch)) == expected
        changes = list(table.changes(0))
        assert [c.epoch for c in changes] == list(range(1, len(history)))
        for number, change in enumerate(changes, start=1):
            total = Counter(history[number])
            total.subtract(history[number - 1])
            if not steps[number - 1].replaced:
                assert weighted_rows(change.rows) == Counter({row: n for row, n in total.items() if n})
        assert weighted_rows(pa.concat_tables(c.rows for c in changes)) == history[-1]
        lake.close()


@SOME
@given(STEPS)
def test_keyed_table_equals_its_model(format: str, steps: list[Step]) -> None:
    play(format, KEYED, steps, keyed_delta)


@SOME
@given(STEPS)
def test_multiset_equals_its_model(format: str, steps: list[Step]) -> None:
    play(format, MULTISET, steps, multiset_delta)


def test_committed_is_read_back_after_reopening(lake: Lake) -> None:
    table = lake.table(KEYED)
    assert table.committed() is None
    table.commit(3, delta([(A, 1)]), {"offsets": '{"orders": 17}'})
    table.commit(5, delta([]), {"offsets": '{"orders": 18}'})
    lake.close()
    again = reopened(lake).table(KEYED)
    committed = again.committed()
    assert committed is not None
    assert (committed.epoch, committed.properties) == (5, {"offsets": '{"orders": 18}'})


@pytest.mark.parametrize("late", [1, 2])
def test_an_epoch_is_committed_once(lake: Lake, late: int) -> None:
    table = lake.table(KEYED)
    table.commit(2, delta([(A, 1)]), {})
    with pytest.raises(InvariantBroken, match="holds epoch 2"):
        table.commit(late, delta([(B, 1)]), {})
    agree(lake, table, Counter([A]))


@pytest.mark.parametrize("change", [[(A, 1)], [(B, 1), (B, 1)], [(B, -1)], [(B, 1), ((2, "bb", 0.0), 1)], [(A, -2)]])
def test_broken_delta_of_a_keyed_table_is_refused_and_changes_nothing(lake: Lake, change: Delta) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    with pytest.raises(InvariantBroken, match=r"orders.*\{'id': [12]\}"):
        table.commit(2, delta(change), {})
    table.commit(2, delta([(A, -1), (B, 1)]), {})
    agree(lake, table, Counter([B]))


def test_a_keyed_retraction_matches_by_key(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([((1, "not what is there", None), -1), ((1, "new", 1.5), 1)]), {})
    agree(lake, table, Counter([B, (1, "new", 1.5)]))


def test_a_multiset_gives_up_one_equal_row_at_a_time(lake: Lake) -> None:
    table = lake.table(MULTISET)
    table.commit(1, delta([(C, 3), (A, 1)]), {})
    table.commit(2, delta([(C, -2)]), {})
    agree(lake, table, Counter([C, A]))
    with pytest.raises(InvariantBroken, match="events"):
        table.commit(3, delta([(C, -2)]), {})


def test_rows_that_come_and_go_within_an_epoch_are_not_written(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(A, -1), (B, 1), (B, -1), (A, 1)]), {})
    assert live_paths(lake, "orders")[1] == []
    assert len(live_paths(lake, "orders")[0]) == 1
    agree(lake, table, Counter([A]))


def test_a_table_that_is_only_appended_to_never_reads_its_rows(lake: Lake) -> None:
    lake.table(MULTISET).commit(1, delta([(A, 1)]), {})
    for path in live_paths(lake, "events")[0]:
        Path(path).write_bytes(b"")
    lake.table(MULTISET).commit(2, delta([(B, 1)]), {})
    assert snapshot_epochs(lake, "events") == [1, 2]


def test_replace_takes_one_snapshot(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([(A, -1)]), {})
    table.commit(3, delta([(B, 1), (C, 1)]), {"why": "rebuilt"}, replace=True)
    agree(lake, table, Counter([B, C]))
    assert snapshot_epochs(lake, "orders") == [1, 2, 3]
    assert rows_of(table.read(2)) == Counter([B])
    (last,) = table.changes(2)
    assert weighted_rows(last.rows) == {C: 1}
    table.commit(4, delta([(C, -1)]), {})
    agree(lake, table, Counter([B]))


def test_replace_with_retractions_is_refused(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    with pytest.raises(InvariantBroken):
        table.commit(2, delta([(A, -1)]), {}, replace=True)
    agree(lake, table, Counter([A]))


def test_the_past_that_is_not_kept_is_refused_with_what_is(lake: Lake) -> None:
    table = lake.table(replace(KEYED, properties={"headwater.snapshots.keep": "3"}))
    for epoch in range(1, 9):
        table.commit(epoch, delta([((epoch, "n", None), 1)]), {})
    forget_past(table, 3)
    kept = snapshot_epochs(lake, "orders")
    assert 3 <= len(kept) <= 4 and kept[-1] == 8
    assert table.read(kept[0]).num_rows == kept[0]
    with pytest.raises(UserError, match="no table snapshot of epoch 2") as caught:
        table.read(2)
    assert f"epochs {kept[0]} to 8" in caught.value.hint
    assert table.read(100).num_rows == 8


def test_before_its_first_commit_a_table_was_empty(lake: Lake) -> None:
    table = lake.table(KEYED)
    assert table.read(3).num_rows == 0
    table.commit(5, delta([(A, 1)]), {})
    assert table.read(4).schema == COLUMNS
    assert (table.read(4).num_rows, table.read(5).num_rows) == (0, 1)


def test_unknown_columns_of_a_delta_are_not_dropped(lake: Lake) -> None:
    table = lake.table(KEYED)
    with pytest.raises(InvariantBroken, match="extra"):
        table.commit(1, delta([(A, 1)]).append_column("extra", pa.array([1])), {})


def test_null_keys_are_keys(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([((None, "n", 1.0), 1)]), {})
    table = lake.table(KEYED)
    table.commit(2, delta([((None, "n", 1.0), -1), ((None, "m", 1.0), 1)]), {})
    agree(lake, table, Counter([(None, "m", 1.0)]))


@pytest.mark.parametrize("name", ["epoch", "writer"])
def test_names_of_properties_that_are_ours_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(InvariantBroken, match=name):
        lake.table(KEYED).commit(1, delta([]), {name: "x"})


def test_moments_that_python_has_no_words_for(tmp_path: Path, format: str) -> None:
    """Infinity, as DuckDB marks it, and years before 1 and after 9999 are written, found again and taken back."""
    days = pa.array([2**31 - 1, -(2**31 - 1), -735_537, 0], pa.int32()).view(pa.date32())
    times = pa.array([2**63 - 1, -(2**63 - 1), 9_223_371_331_200_000_000, None], pa.int64()).view(
        pa.timestamp("us", "UTC")
    )
    lists = pa.array([[2**31 - 1], [], None, [0]], pa.list_(pa.int32())).cast(pa.list_(pa.date32()))
    rows = pa.table({"id": pa.array([1, 2, 3, 4], pa.int64()), "d": days, "t": times, "l": lists})
    lake = open_any(format, tmp_path)
    table = lake.table(TableSpec("far", rows.schema, ("id",)))
    table.commit(1, rows.append_column("_weight", pa.array([1] * 4, pa.int64())), {})
    table.commit(2, rows.slice(0, 2).append_column("_weight", pa.array([-1] * 2, pa.int64())), {})
    table.commit(3, rows.slice(0, 1).append_column("_weight", pa.array([1], pa.int64())), {})
    read = table.read().sort_by("id")
    expected = rows.take(pa.array([0, 2, 3]))
    for name in rows.column_names:
        assert read[name].cast(expected[name].type).equals(expected[name]), name
    lake.close()


def test_types_come_back_as_lake_types(lake: Lake) -> None:
    columns = pa.schema(
        [
            ("id", pa.uint64()),
            ("tags", pa.list_(pa.dictionary(pa.int8(), pa.string()))),
            ("at", pa.timestamp("ns", tz="Europe/Paris")),
            ("who", pa.struct([("name", pa.large_string()), ("age", pa.uint8())])),
            ("uuid", pa.uuid()),
            ("price", pa.decimal64(9, 2)),
            ("by", pa.map_(pa.string(), pa.int16())),
            ("a.b c", pa.time32("s")),
        ]
    )
    row = [2**64 - 1, ["x", None], 1_700_000_000_000_000_000, {"name": "n", "age": 7}, b"0123456789abcdef", None]
    values = [*row, [("k", 1)], 61]
    arrays = [pa.array([value], field.type) for value, field in zip(values, columns, strict=True)]
    table = lake.table(TableSpec("types", columns, ("id",)))
    table.commit(1, pa.table(arrays, schema=columns).append_column("_weight", pa.array([1])), {})
    found = table.read()
    assert found.schema.equals(table.spec.columns)
    assert found.schema.equals(lake.open_table("types").spec.columns)
    assert table.dataset().to_table().to_pylist() == found.to_pylist()
    if isinstance(lake, IcebergLake):
        scanned = lake.catalog.load_table(("shop", "types")).scan().to_arrow()
        assert scanned.to_pylist() == found.to_pylist()
    assert int(found.to_pylist()[0]["id"]) == 2**64 - 1
    table.commit(2, pa.table(arrays, schema=columns).append_column("_weight", pa.array([-1])), {})
    assert table.read().num_rows == 0
