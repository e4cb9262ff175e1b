"""What a lake table should hold, kept in memory, and independent readers to compare it with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import other_formats
import pyarrow as pa
from hypothesis import HealthCheck, settings
from pyiceberg.manifest import DataFileContent

from headwater.change import WEIGHT
from headwater.lake.delta.log import DeltaFormat
from headwater.lake.files.lake import FileLake
from headwater.lake.files.table import FileTable
from headwater.lake.iceberg import IcebergLake
from headwater.lake.opening import make_lake
from headwater.lake.parquet.log import ParquetFormat
from headwater.lake.table_format import Lake, Table, TableSpec
from headwater.project.lake_settings import LakeSettings

Row = tuple[object, ...]
Delta = list[tuple[Row, int]]

COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string()), ("amount", pa.float64())])
KEYED = TableSpec("orders", COLUMNS, ("id",))
MULTISET = TableSpec("events", COLUMNS)
NAMESPACE = "shop"


FORMATS = ("iceberg", "delta", "parquet")
SOME = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def open_lake(folder: Path, *, read_only: bool = False, indexes: bool = False) -> IcebergLake:
    return IcebergLake(
        folder, namespace=NAMESPACE, read_only=read_only, index_folder=folder / "index" if indexes else None
    )


def open_any(format: str, folder: Path, *, read_only: bool = False) -> Lake:
    """A lake of one of `FORMATS`."""
    place = LakeSettings.model_validate({"type": format, "warehouse": str(folder)})
    return make_lake(place, folder, project=NAMESPACE, read_only=read_only)


def reopened(lake: Lake, *, read_only: bool = False) -> Lake:
    """The same lake, opened once more."""
    return open_any(format_of(lake), warehouse_of(lake), read_only=read_only)


def format_of(lake: Lake) -> str:
    """Which of `FORMATS` it is."""
    if isinstance(lake, IcebergLake):
        return "iceberg"
    assert isinstance(lake, FileLake)
    return {DeltaFormat: "delta", ParquetFormat: "parquet"}[type(lake.format)]


def warehouse_of(lake: Lake) -> Path:
    """The folder of its tables."""
    assert isinstance(lake, IcebergLake | FileLake)
    return lake.warehouse


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


def keyed_delta(state: Counter[Row], writes: list[tuple[int, str | None]]) -> Delta:
    """Upserts and deletes (None) as a changelog: each an exact retraction and an addition."""
    held = {row[0]: row for row in state}
    change: Delta = []
    for key, value in writes:
        if key in held:
            change.append((held.pop(key), -1))
        if value is not None:
            held[key] = (key, value, None if value == "z" else float(key))
            change.append((held[key], 1))
    return change


def multiset_delta(state: Counter[Row], writes: list[tuple[int, str | None]]) -> Delta:
    """Rows of few distinct values come, and any of those there go (None)."""
    held = list(state.elements())
    change: Delta = []
    for number, value in writes:
        if value is not None:
            held.append((number % 3, value, None))
            change.append((held[-1], 1))
        elif held:
            change.append((held.pop(number % len(held)), -1))
    return change


def pyiceberg_rows(lake: IcebergLake, name: str) -> Counter[Row]:
    """PyIceberg's own scan, which shares no code with ours."""
    return rows_of(lake.catalog.load_table((lake.namespace, name)).scan().to_arrow())


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


def live_paths(lake: Lake, name: str) -> tuple[list[str], list[str]]:
    """Paths of data files, and of files that say which of their rows are deleted, of the current table snapshot."""
    if not isinstance(lake, IcebergLake):
        return other_formats.live_paths(format_of(lake), table_folder(lake, name))
    table = lake.catalog.load_table((lake.namespace, name))
    snapshot = table.current_snapshot()
    files = [
        entry.data_file
        for m in (snapshot.manifests(table.io) if snapshot else [])
        for entry in m.fetch_manifest_entry(table.io)
    ]
    data = [file.file_path for file in files if file.content == DataFileContent.DATA]
    return data, [file.file_path for file in files if file.content != DataFileContent.DATA]


def snapshot_epochs(lake: Lake, name: str) -> list[int]:
    """The epoch of every table snapshot, oldest first."""
    if not isinstance(lake, IcebergLake):
        found = [snapshot.epoch for snapshot in lake.open_table(name).snapshots()]
        return [epoch for epoch in reversed(found) if epoch is not None]
    table = lake.catalog.load_table((lake.namespace, name))
    return [int(snapshot.summary["headwater.epoch"]) for snapshot in table.metadata.snapshots]


def table_folder(lake: Lake, name: str) -> Path:
    """Where a table of another format than Iceberg lies."""
    assert isinstance(lake, FileLake)
    return lake.folder_of(name)


def forget_past(table: Table, keep: int) -> None:
    """Leaves no more than about `keep` versions of a table, where its own commits do not see to that."""
    if isinstance(table, FileTable):
        table.log.expire(keep, 2**62)


def agree(lake: Lake, table: Table, expected: Mapping[Row, int]) -> None:
    """All readers see exactly `expected`."""
    assert rows_of(table.read()) == expected
    assert rows_of(table.dataset().to_table()) == expected
    if not isinstance(lake, IcebergLake):
        for rows in other_formats.readers(format_of(lake), table_folder(lake, table.spec.name)):
            assert rows_of(rows) == expected
        return
    assert pyiceberg_rows(lake, table.spec.name) == expected
    assert duckdb_rows(lake, table.spec.name) == expected
