"""Delta tables and Parquet datasets as readers see them that share no code with ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder


def live_paths(format: str, folder: Path) -> tuple[list[str], list[str]]:
    """Paths of the data files of the newest version, and of those of its deletion vectors."""
    if format == "parquet":
        return sorted(str(path) for path in (folder / "current").glob("*.parquet")), []
    vectors = {Path(path).name for path in folder.glob("deletion_vector_*.bin")}
    table = DeltaTable(str(folder))
    used = {row["filepath"] for row in pa.table(table.deletion_vectors().read_all()).to_pylist()}
    return sorted(table.file_uris()), sorted(vectors) if used else []


def readers(format: str, folder: Path) -> Iterator[pa.Table]:
    """The table's rows, as each independent reader has them."""
    if format == "parquet":
        yield from _parquet(folder)
    else:
        yield from _delta(folder)


def _parquet(folder: Path) -> Iterator[pa.Table]:
    """DuckDB over the files that a plain glob finds."""
    files = live_paths("parquet", folder)[0]
    if not files:
        manifest = json.loads((folder / "current" / "_manifest.json").read_text())
        yield pa.table({column["name"]: [] for column in manifest["columns"]})
        return
    with duckdb.connect() as connection:
        query = "SELECT * FROM read_parquet($glob, union_by_name = true)"
        yield connection.sql(query, params={"glob": f"{folder}/current/*.parquet"}).to_arrow_table()


def _delta(folder: Path) -> Iterator[pa.Table]:
    """deltalake's own scan and its SQL; Polars; DuckDB over the planned files, less the rows of deltalake's vectors."""
    table = DeltaTable(str(folder))
    yield pa.table(table.scan().read_all())
    yield pa.table(QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all())
    names = {f.metadata.get("delta.columnMapping.physicalName", f.name): f.name for f in table.schema().fields}
    if list(names) != list(names.values()) or not table.file_uris():
        return
    yield polars.scan_delta(str(folder)).collect().to_arrow()
    gone = []
    for row in pa.table(table.deletion_vectors().read_all()).to_pylist():
        path = row["filepath"].removeprefix("file://")
        gone += [(path, at) for at, kept in enumerate(row["selection_vector"]) if not kept]
    with duckdb.connect() as connection:
        deleted = pa.table({"path": [path for path, _ in gone], "row": [row for _, row in gone]})
        connection.register("gone", deleted.cast(pa.schema([("path", pa.string()), ("row", pa.int64())])))
        query = (
            "SELECT * EXCLUDE (filename, file_row_number) FROM read_parquet($files, union_by_name = true,"
            " filename = true, file_row_number = true)"
            " WHERE NOT EXISTS (SELECT 1 FROM gone WHERE path = filename AND row = file_row_number)"
        )
        yield connection.sql(query, params={"files": table.file_uris()}).to_arrow_table()
