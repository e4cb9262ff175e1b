"""Rows of a table in Parquet files: written durably with column numbers as field ids, and found again by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.durable import fsync_path
from headwater.index.kernels import Longs
from headwater.lake.files.version import Column, LiveFile, Shape

FIELD_ID = b"PARQUET:field_id"
Stored = Callable[[pa.DataType], pa.DataType]


def write_rows(path: Path, rows: pa.Table, shape: Shape, stored: Stored) -> pq.FileMetaData:
    """Writes rows to a new file; columns that they lack are null. The file is durable, its name with it.

    Raises:
        OSError: the disk is full or fails; the file may lie there half written.
    """
    fields, columns = [], []
    for column in shape.columns:
        kind = stored(column.field.type)
        fields.append(pa.field(column.name, kind, metadata={FIELD_ID: str(column.number)}))
        held = column.field.name in rows.column_names
        columns.append(_cast(rows.column(column.field.name), kind) if held else pa.nulls(rows.num_rows, kind))
    collected: list[pq.FileMetaData] = []
    table = pa.table(columns, schema=pa.schema(fields)) if fields else rows.select([])
    pq.write_table(
        table, path, compression="zstd", store_schema=False, store_decimal_as_integer=True, metadata_collector=collected
    )
    fsync_path(path)
    fsync_path(path.parent)
    return collected[0]


def read_rows(path: Path, shape: Shape, columns: pa.Schema, constants: Mapping[str, str | None]) -> pa.Table:
    """All rows of a file, deleted or not, in the given columns of the table; null where the file is older.

    Args:
        path: the file.
        shape: the table's columns.
        columns: what to return.
        constants: values of columns that the file does not hold, by their names in files (partitioned tables).

    Raises:
        OSError: it cannot be read.
    """
    with pq.ParquetFile(path) as file:
        names = _names(file.schema_arrow)
        wanted = [shape.column(name) for name in columns.names]
        found = [_name_in(names, column) for column in wanted]
        rows = file.read(columns=[name for name in found if name is not None])
        count = file.metadata.num_rows
    out = []
    for field, column, name in zip(columns, wanted, found, strict=True):
        if name is not None:
            out.append(adapted(rows.column(name), field.type))
        elif column is not None and constants.get(column.name) is not None:
            out.append(pc.cast(pa.array([constants[column.name]] * count, pa.string()), field.type))
        else:
            out.append(pa.nulls(count, field.type))
    return pa.table(out, schema=columns) if len(columns) else rows.select([])


def _names(schema: pa.Schema) -> tuple[dict[int, str], set[str]]:
    """A file's columns by field id, and the names of all if it has none (another writer's)."""
    ids = {int(f.metadata[FIELD_ID]): f.name for f in schema if f.metadata and FIELD_ID in f.metadata}
    return ids, set() if ids else set(schema.names)


def _name_in(names: tuple[dict[int, str], set[str]], column: Column | None) -> str | None:
    ids, plain = names
    if column is None:
        return None
    return ids.get(column.number) or (column.name if column.name in plain else None)


def live_rows(rows: pa.Table, deleted: Longs) -> tuple[pa.Table, Longs]:
    """The rows that are not deleted, and their positions."""
    positions = np.arange(rows.num_rows, dtype=np.int64)
    if not len(deleted):
        return rows, positions
    positions = np.delete(positions, deleted)
    return rows.take(pa.array(positions)), positions


def file_of(path: Path, rows: int) -> LiveFile:
    """What a version says of a file that has just been written."""
    return LiveFile(path.name, rows, path.stat().st_size)


def adapted(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as a file holds it, in the table's type."""
    if values.type.equals(kind):
        return values
    if pa.types.is_struct(kind) and pa.types.is_struct(values.type):
        return pa.chunked_array([_adapted_struct(chunk, kind) for chunk in values.chunks], kind)
    return _cast(values, kind)


def _adapted_struct(values: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    present = {values.type.field(i).name: child for i, child in enumerate(values.flatten())}
    children = [
        adapted(pa.chunked_array([present[field.name]]), field.type).combine_chunks()
        if field.name in present
        else pa.nulls(len(values), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=values.is_null())


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A cast by Arrow, or where it has none (to and from UUIDs) by DuckDB."""
    if values.type.equals(kind):
        return values
    try:
        return pc.cast(values, kind)
    except pa.ArrowNotImplementedError:
        return _cast_by_duckdb(values, kind)


def _cast_by_duckdb(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("model", pa.table({"v": pa.nulls(0, kind)}))
        (named,) = connection.sql("SELECT typeof(v) FROM (SELECT any_value(v) AS v FROM model)").fetchall()
        connection.register("given", pa.table({"v": values}))
        found = connection.sql(f"SELECT CAST(v AS {named[0]}) AS v FROM given").to_arrow_table()  # noqa: S608
    return found.column("v").cast(kind)
