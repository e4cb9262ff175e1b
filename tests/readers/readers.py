"""Readers of Iceberg tables that share no code with Headwater's own. Each takes the location of a table's metadata."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import duckdb
import polars
import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.table import StaticTable

Reader = Callable[[str], pa.Table]


def pyiceberg(metadata: str) -> pa.Table:
    """PyIceberg's own scan."""
    return StaticTable.from_metadata(metadata).scan().to_arrow()


def polars_scan(metadata: str) -> pa.Table:
    """Polars' reader. Its own takes position deletes of one data file to a file of deletes alone, so it has PyIceberg
    read a table that has others."""
    return polars.scan_iceberg(metadata).collect().to_arrow()


def duckdb_files(metadata: str) -> pa.Table:
    """DuckDB over the files that PyIceberg plans, position deletes as a join by file and row."""
    table = StaticTable.from_metadata(metadata)
    pieces = [_duckdb_file(table, task) for task in table.scan(row_filter=AlwaysTrue()).plan_files()]
    return pa.concat_tables(pieces) if pieces else table.schema().as_arrow().empty_table()


def _duckdb_file(table: StaticTable, task: object) -> pa.Table:
    path = task.file.file_path  # type: ignore[attr-defined]
    deletes = [file.file_path for file in task.delete_files]  # type: ignore[attr-defined]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if not deletes:
            return connection.sql("FROM read_parquet($1)", params=[path]).to_arrow_table()
        return connection.sql(
            "SELECT * EXCLUDE (file_row_number) FROM read_parquet($1, file_row_number = true) AS rows WHERE NOT EXISTS "
            "(FROM read_parquet($2) AS gone WHERE gone.file_path = $1 AND gone.pos = rows.file_row_number)",
            params=[path, deletes],
        ).to_arrow_table()


READERS: dict[str, tuple[str, Reader]] = {
    "PyIceberg": (version("pyiceberg"), pyiceberg),
    "Polars": (version("polars"), polars_scan),
    "DuckDB over planned files": (version("duckdb"), duckdb_files),
}
"""By name: version and reader."""
