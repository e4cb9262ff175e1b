"""Rows that are to take the place of a table's, written beside them while it goes on."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, changed, delta, duckdb_rows, pyiceberg_rows, rows_of
from maintained import AT_ONCE, keep

from headwater.errors import InvariantBroken
from headwater.lake.iceberg import IcebergLake
from headwater.lake.layout import Layout, PartitionBy
from headwater.lake.table_format import TableSpec

OLD = [((n, "old", 1.0), 1) for n in range(20)]
NEW = [((n, "new", 2.0), 1) for n in range(10, 40)]
LATER = [((11, "new", 2.0), -1), ((11, "newer", 3.0), 1), ((12, "new", 2.0), -1)]
LAST = [((13, "new", 2.0), -1), ((99, "last", 4.0), 1)]


def data_files(lake: IcebergLake, name: str) -> set[Path]:
    return set((lake.warehouse / "shop" / name / "data").rglob("*.parquet"))


@pytest.mark.parametrize("spec", [KEYED, MULTISET, replace(KEYED, layout=Layout((PartitionBy("name"),)))])
def test_it_takes_the_place_of_all_rows_in_one_snapshot_and_the_index_follows(
    lake: IcebergLake, spec: TableSpec
) -> None:
    table = lake.table(replace(spec, layout=Layout()))
    table.commit(1, delta(OLD), {})
    replacement = lake.replacement(spec)
    assert replacement is not None
    replacement.write(delta(NEW))
    more = [((50, "old", 1.0), 1)]
    table.commit(2, delta(more), {})  # the former version goes on
    replacement.write(delta(LATER))
    assert replacement.rows == 29
    assert pyiceberg_rows(lake, spec.name) == changed(Counter(), OLD + more)
    before = len(table.snapshots())
    table.relayout(spec.layout)
    assert table.take_over(3, replacement)
    table.commit(3, delta(LAST), {})
    replacement.discard()
    state = changed(Counter(), NEW + LATER + LAST)
    assert len(table.snapshots()) == before + 1 and table.committed().epoch == 3
    assert rows_of(table.read()) == pyiceberg_rows(lake, spec.name) == duckdb_rows(lake, spec.name) == state
    after = [((99, "last", 4.0), -1), ((99, "again", 5.0), 1), ((20, "new", 2.0), -1)]
    table.commit(4, delta(after), {})
    assert rows_of(table.read()) == duckdb_rows(lake, spec.name) == changed(state, after)
    with pytest.raises(InvariantBroken):
        table.commit(5, delta([((20, "new", 2.0), -1)]), {})


def test_one_for_a_table_that_is_not_there_yet(lake: IcebergLake) -> None:
    spec = replace(KEYED, layout=Layout((PartitionBy("name"),)))
    replacement = lake.replacement(spec)
    assert replacement is not None and lake.names() == []
    replacement.write(delta(NEW))
    assert lake.names() == []
    table = lake.table(spec)
    assert table.take_over(1, replacement)
    table.commit(1, delta([]), {})
    assert rows_of(table.read()) == duckdb_rows(lake, "orders") == changed(Counter(), NEW)


def test_one_of_other_columns_goes_with_them_and_not_with_those_that_came_meanwhile(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta(OLD), {})
    wider = pa.schema([("note", pa.string()), ("id", pa.int64()), ("amount", pa.string())])
    replacement = lake.replacement(replace(KEYED, columns=wider), remove=True)
    replacement.write(delta([(("x", 1, "a"), 1)], wider))
    other = lake.replacement(replace(KEYED, columns=wider), remove=True)
    table.evolve(wider, ("id",), anew=True, remove=True)
    assert table.take_over(2, replacement)
    table.commit(2, delta([(("y", 2, None), 1)], wider), {})
    assert table.read().sort_by("id").to_pylist() == [
        {"note": "x", "id": 1, "amount": "a"}, {"note": "y", "id": 2, "amount": None},
    ]  # fmt: skip
    other.write(delta([(("x", 1, "a"), 1)], wider))
    table.evolve(pa.schema([*wider, ("more", pa.int64())]), remove=True)
    assert not table.take_over(3, other)
    named = data_files(lake, "orders")
    other.discard()
    assert len(named - data_files(lake, "orders")) == 1
    assert table.read().num_rows == 2


def test_maintenance_spares_its_files_until_nobody_holds_it(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta(OLD), {})
    before = data_files(lake, "orders")
    replacement = lake.replacement(KEYED)
    replacement.write(delta(NEW))
    replacement.write(delta(LATER))
    written = data_files(lake, "orders") - before
    assert len(written) == 3  # two data files and one of deletes
    assert keep(table, AT_ONCE, ["orphans"]) == [] and written <= data_files(lake, "orders")
    del replacement  # as a process that was killed leaves them
    gc.collect()
    assert keep(table, AT_ONCE, ["orphans"]) == ["orphans"]
    assert data_files(lake, "orders") == before
    assert rows_of(table.read(), COLUMNS) == changed(Counter(), OLD)
