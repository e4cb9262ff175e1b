"""Iceberg tables in partitions: rows, files and delete files against a model, read by PyIceberg and DuckDB."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_model import COLUMNS, KEYED, NAMESPACE, agree, changed, delta, open_lake, rows_of
from pyiceberg.manifest import DataFileContent

from headwater.errors import UserError
from headwater.lake.layout import Layout, PartitionBy, SortBy, partition_by
from headwater.lake.table_format import TableSpec

LAYOUTS = (
    Layout(),
    Layout((PartitionBy("name"),), (SortBy("amount", descending=True), SortBy("id"))),
    Layout((PartitionBy("id", "bucket", 3), PartitionBy("name", "truncate", 1)), (SortBy("id"),), ("id",)),
    Layout((PartitionBy("id", "truncate", 3),), (SortBy("name", nulls_first=True),)),
)
WRITES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["xa", "xb", "ya", None])), max_size=8)
STEPS = st.lists(st.tuples(WRITES, st.sampled_from(range(len(LAYOUTS))), st.booleans()), min_size=1, max_size=6)


def entries(lake, name):
    table = lake.catalog.load_table((NAMESPACE, name))
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    return table, [(m.partition_spec_id, e.data_file) for m in manifests for e in m.fetch_manifest_entry(table.io)]


def check_files(lake, name) -> None:
    """Every file holds rows of the partition that its manifest says, in its sort order; every delete file names data
    files of its own spec and partition."""
    table, found = entries(lake, name)
    schema, specs = table.schema(), table.metadata.specs()
    homes = {
        file.file_path: (spec, list(file.partition)) for spec, file in found if file.content == DataFileContent.DATA
    }
    for spec, file in found:
        rows = pq.read_table(file.file_path)
        if file.content != DataFileContent.DATA:
            named = set(rows.column("file_path").to_pylist())
            assert {str(homes.get(path, (spec, list(file.partition)))) for path in named} == {
                str((spec, list(file.partition)))
            }
            continue
        for number, field in enumerate(specs[spec].fields):
            source = schema.find_field(field.source_id)
            by = field.transform.transform(source.field_type)
            assert {by(value) for value in rows.column(source.name).to_pylist()} == {file.partition[number]}
        orders = {order.order_id: order for order in table.metadata.sort_orders}
        keys = [
            (schema.find_field(field.source_id).name, field.direction.value, field.null_order.value)
            for field in (orders[file.sort_order_id].fields if file.sort_order_id else ())
        ]
        places = {"asc": "ascending", "desc": "descending", "nulls-first": "at_start", "nulls-last": "at_end"}
        if keys:
            assert rows.equals(rows.sort_by([(n, places[d]) for n, d, _ in keys])) or any(
                rows.column(n).null_count for n, _, _ in keys
            )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_a_table_whose_layout_changes_equals_its_model(steps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder))
        table, state = lake.table(KEYED), Counter()
        for epoch, (writes, layout, reopened) in enumerate(steps, start=1):
            held, change = {row[0]: row for row in state}, []
            for key, value in writes:
                if key in held:
                    change.append((held.pop(key), -1))
                if value is not None:
                    held[key] = (key, value, float(len(value) * key))
                    change.append((held[key], 1))
            if reopened:
                table = lake.table(replace(KEYED, layout=LAYOUTS[layout]))
            else:
                table.relayout(LAYOUTS[layout])
            table.commit(epoch, delta(change), {})
            state = changed(state, change)
            assert rows_of(table.read()) == state
        agree(lake, table, state)
        check_files(lake, KEYED.name)
        lake.close()


def test_one_file_for_each_partition_and_a_delete_file_for_each_that_loses_rows(tmp_path) -> None:
    lake = open_lake(tmp_path)
    spec = replace(KEYED, layout=Layout((PartitionBy("name"),), (SortBy("id", descending=True),), ("id",)))
    table = lake.table(spec)
    rows = [((n, "ab"[n % 2], 1.0), 1) for n in range(10)]
    table.commit(1, delta(rows), {})
    moved = [((0, "a", 1.0), -1), ((0, "b", 1.0), 1), ((1, "b", 1.0), -1)]
    table.commit(2, delta(moved), {})
    _, found = entries(lake, "orders")
    kinds = Counter((file.content.name, file.partition[0]) for _, file in found)
    assert kinds == {
        ("DATA", "a"): 1, ("DATA", "b"): 2, ("POSITION_DELETES", "a"): 1, ("POSITION_DELETES", "b"): 1
    }  # fmt: skip
    first = next(file for _, file in found if file.content == DataFileContent.DATA and file.record_count == 5)
    read = pq.ParquetFile(first.file_path)
    assert read.read().column("id").to_pylist() == sorted(read.read().column("id").to_pylist(), reverse=True)
    assert read.metadata.row_group(0).sorting_columns[0].descending
    scan = lake.catalog.load_table((NAMESPACE, "orders")).scan(row_filter="name == 'a'")
    assert {task.file.partition[0] for task in scan.plan_files()} == {"a"}
    check_files(lake, "orders")
    lake.close()


def test_a_bloom_filter_is_in_the_file(tmp_path) -> None:
    lake = open_lake(tmp_path)
    plain, filtered = (lake.table(replace(KEYED, name=name, layout=Layout(bloom=bloom))) for name, bloom in
                       (("plain", ()), ("filtered", ("id",))))  # fmt: skip
    for table in (plain, filtered):
        table.commit(1, delta([((n * 7, "x", 1.0), 1) for n in range(1000)]), {})
    sizes = {name: entries(lake, name)[1][0][1].file_size_in_bytes for name in ("plain", "filtered")}
    assert sizes["filtered"] > sizes["plain"] + 900, "a filter of 1,000 values at 1 % takes more than 1,000 bytes"
    path = entries(lake, "filtered")[1][0][1].file_path
    probe = "SELECT bloom_filter_excludes FROM parquet_bloom_probe($path, 'id', $value)"
    for value, excluded in ((8, True), (7, False)):
        assert duckdb.execute(probe, {"path": path, "value": value}).fetchall() == [(excluded,)]
    lake.close()


def test_a_wide_table_keeps_bounds_of_the_columns_it_is_searched_by(tmp_path) -> None:
    lake = open_lake(tmp_path)
    columns = pa.schema([(f"c{number}", pa.int64()) for number in range(150)])
    layout = Layout((PartitionBy("c3", "bucket", 2),), (SortBy("c5"),))
    table = lake.table(TableSpec("wide", columns, ("c1",), layout=layout))
    table.commit(1, delta([(tuple(range(150)), 1)], columns), {})
    opened, found = entries(lake, "wide")
    bounded = {opened.schema().find_field(number).name for number in found[0][1].lower_bounds}
    assert bounded == {"c1", "c3", "c5"}
    lake.close()


def test_a_layout_that_does_not_fit_is_refused(tmp_path) -> None:
    lake = open_lake(tmp_path)
    table = lake.table(KEYED)
    with pytest.raises(UserError, match="day cannot be taken of the column 'id'"):
        table.relayout(Layout((partition_by("day(id)"),)))
    lake.close()


def test_columns_written_beside_the_rows_stay_with_them(tmp_path) -> None:
    lake = open_lake(tmp_path)
    table = lake.table(replace(KEYED, layout=Layout((PartitionBy("name"),), (SortBy("id", descending=True),))))
    rows = pa.table([[1, 2, 3, 4], list("abab"), [1.0] * 4], schema=COLUMNS)
    written = table._held.files.write_rows(rows.append_column("old", pa.array([10, 20, 30, 40])))
    assert [one.rows.column("old").to_pylist() for one in written] == [[30, 10], [40, 20]]
    assert all(pq.read_table(one.file.file_path).column_names == COLUMNS.names for one in written)
    lake.close()
