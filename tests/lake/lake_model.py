"""What a lake table should hold, kept in memory, and independent readers to compare it with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFileContent

from headwater.change import WEIGHT
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.table_format import TableSpec

Row = tuple[object, ...]
Delta = list[tuple[Row, int]]

COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string()), ("amount", pa.float64())])
KEYED = TableSpec("orders", COLUMNS, ("id",))
MULTISET = TableSpec("events", COLUMNS)
NAMESPACE = "shop"


def open_lake(folder: Path, *, read_only: bool = False, indexes: bool = False) -> IcebergLake:
    return IcebergLake(
        folder, namespace=NAMESPACE, read_only=read_only, index_folder=folder / "index" if indexes else None
    )


def delta(rows: Iterable[tuple[Row, int]], columns: pa.Schema = COLUMNS) -> pa.Table:
    rows = list(rows)
    values = [[row[i] for row, _ in rows] for i in range(len(columns))]
    table = pa.table([pa.array(v, f.type) for v, f in zip(values, columns, strict=True)], schema=columns)
    return table.append_column(WEIGHT, pa.array([weight for _, weight in rows], pa.int64()))


def rows_of(table: pa.Table, columns: pa.Schema = COLUMNS) -> Counter[Row]:
    return Counter(tuple(row[name] for name in columns.names) for row in table.to_pylist())


def weighted_rows(table: pa.Table) -> Counter[Row]:
    """Rows with the sum of their weights, zeros left out."""
    total: Counter[Row] = Counter()
    for row in table.to_pylist():
        total[tuple(row[name] for name in table.column_names if name != WEIGHT)] += row[WEIGHT]
    return Counter({row: weight for row, weight in total.items() if weight})


def changed(state: Counter[Row], change: Delta) -> Counter[Row]:
    """The state after a delta; nothing may go below zero."""
    total = Counter(state)
    for row, weight in change:
        total[row] += weight
    assert min(total.values(), default=0) >= 0
    return Counter({row: weight for row, weight in total.items() if weight})


def shuffled(change: Delta, seed: int) -> Delta:
    change = list(change)
    random.Random(seed).shuffle(change)
    return change


def pyiceberg_rows(lake: IcebergLake, name: str) -> Counter[Row]:
    """PyIceberg's own scan, which shares no code with ours."""
    return rows_of(lake.catalog.load_table((NAMESPACE, name)).scan().to_arrow())


def duckdb_rows(lake: IcebergLake, name: str) -> Counter[Row]:
    """DuckDB over the raw Parquet files less the positions in the delete files."""
    data, deletes = live_paths(lake, name)
    if not data:
        return Counter()
    query = "SELECT id, name, amount FROM read_parquet($data, filename=true, file_row_number=true) AS d"
    values: dict[str, list[str]] = {"data": data}
    if deletes:
        query += (
            " WHERE NOT EXISTS (SELECT 1 FROM read_parquet($deletes) AS x"
            " WHERE x.file_path = d.filename AND x.pos = d.file_row_number)"
        )
        values["deletes"] = deletes
    with duckdb.connect() as connection:
        return Counter(connection.execute(query, values).fetchall())


def live_paths(lake: IcebergLake, name: str) -> tuple[list[str], list[str]]:
    """Paths of data files and of delete files of the current table snapshot."""
    table = lake.catalog.load_table((NAMESPACE, name))
    snapshot = table.current_snapshot()
    files = [
        entry.data_file
        for m in (snapshot.manifests(table.io) if snapshot else [])
        for entry in m.fetch_manifest_entry(table.io)
    ]
    data = [file.file_path for file in files if file.content == DataFileContent.DATA]
    return data, [file.file_path for file in files if file.content != DataFileContent.DATA]


def snapshot_epochs(lake: IcebergLake, name: str) -> list[int]:
    """The epoch of every table snapshot, oldest first."""
    table = lake.catalog.load_table((NAMESPACE, name))
    return [int(snapshot.summary["headwater.epoch"]) for snapshot in table.metadata.snapshots]


def agree(lake: IcebergLake, table: IcebergTable, expected: Mapping[Row, int]) -> None:
    """All readers see exactly `expected`."""
    assert rows_of(table.read()) == expected
    assert rows_of(table.dataset().to_table()) == expected
    assert pyiceberg_rows(lake, table.spec.name) == expected
    assert duckdb_rows(lake, table.spec.name) == expected
