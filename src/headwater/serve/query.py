"""SQL over a project's tables, running or stopped: the lake's tables as of one epoch, and `_rejects`."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from headwater.errors import SqlError, UserError
from headwater.lake.opening import make_lake
from headwater.lake.table_format import Lake
from headwater.project.definition import Project
from headwater.runtime.status import read_status
from headwater.sql.parse import tables_of
from headwater.sql.prelude import install

REJECTS = "_rejects"
_NAMES = (duckdb.BinderException, duckdb.CatalogException)


def query(project: Project, sql: str) -> pa.Table:
    """Answers a SELECT over the project's tables.

    All tables are read as of the end of the same epoch, the last that was committed whole, so that an answer never
    mixes two moments.

    Raises:
        SqlError: the SQL is wrong or names a table that is not there.
    """
    wanted = tables_of(sql)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        install(connection)
        lake = open_lake(project)
        try:
            _register(connection, lake, wanted, project)
        finally:
            lake.close()
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            hint = "headwater tables lists the tables and their columns" if isinstance(error, _NAMES) else ""
            raise SqlError(str(error).replace("\n\n", "\n"), hint=hint) from error


def open_lake(project: Project) -> Lake:
    """The project's lake, for reading."""
    return make_lake(project.lake, project.folder, project=project.name, read_only=True)


def last_epoch(state: Path) -> int | None:
    """The last epoch that every table holds; None if the project has not said so yet."""
    try:
        epoch = read_status(state)["epoch"]
    except UserError:
        return None
    return epoch if isinstance(epoch, int) and epoch > 0 else None


def _register(connection: duckdb.DuckDBPyConnection, lake: Lake, wanted: Sequence[str], project: Project) -> None:
    there = lake.names()
    epoch = last_epoch(project.state)
    for name in wanted:
        if name == REJECTS:
            rows = read_rejects(project.state)
        elif name in there:
            rows = lake.open_table(name).read(epoch)
        else:
            near = difflib.get_close_matches(name, there, n=1)
            raise SqlError(
                f"there is no table {name!r}" + (f": did you mean {near[0]!r}?" if near else ""),
                hint=f"tables: {', '.join([*there, REJECTS])}",
            )
        connection.register(name, rows)


def read_rejects(state: Path) -> pa.Table:
    """The ledger of rejects as a table; empty if there is no state yet."""
    path = state / "state.db"
    columns = {
        "id": pa.int64(),
        "epoch": pa.int64(),
        "stream": pa.string(),
        "stage": pa.string(),
        "reason": pa.string(),
        "message": pa.string(),
        "position": pa.string(),
        "key": pa.string(),
        "record": pa.binary(),
        "weight": pa.int64(),
        "project": pa.string(),
        "state": pa.string(),
        "attempts": pa.int64(),
        "first_seen_us": pa.int64(),
        "last_seen_us": pa.int64(),
    }
    rows: list[tuple[object, ...]] = []
    if path.exists():
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        try:
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM rejects ORDER BY id").fetchall()  # noqa: S608
        finally:
            connection.close()
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [pa.array(list(value), kind) for value, kind in zip(values, columns.values(), strict=True)]
    return pa.table(dict(zip(columns, arrays, strict=True)))
