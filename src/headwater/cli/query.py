"""`headwater query`: SQL over the tables and models of a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from headwater.cli import output

Format = Literal["table", "csv", "ndjson"]


def query(
    sql: str = "", folder: Path = Path(), /, *, format: Format = "table", tables: bool = False, limit: int = 100
) -> int:
    """Answer SQL over the tables and models of the project in FOLDER, as of its last epoch, running or stopped.

    Args:
        sql: A SELECT in DuckDB's dialect.
        folder: The project's folder.
        format: How to print the answer.
        tables: List the tables and their columns instead.
        limit: Most rows that `table` prints; csv and ndjson print all.
    """
    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.serve import query as serve

    project = read_project(folder)
    if tables:
        _list(project)
        return output.OK
    if not sql:
        raise UserError("there is no SQL to answer", hint='headwater query "SELECT * FROM orders LIMIT 10"')
    _print(serve.query(project, sql), format, limit)
    return output.OK


def _list(project: object) -> None:
    from headwater.project.definition import Project
    from headwater.serve.query import open_lake

    assert isinstance(project, Project)
    lake = open_lake(project)
    for name in lake.names():
        columns = ", ".join(f"{field.name} {field.type}" for field in lake.open_table(name).spec.columns)
        output.print_data(f"{name} ({columns})")
    lake.close()


def _print(answer: object, form: Format, limit: int) -> None:
    from json import dumps

    import pyarrow as pa
    import pyarrow.csv

    assert isinstance(answer, pa.Table)
    if form == "csv":
        pyarrow.csv.write_csv(answer, sys.stdout.buffer)
    elif form == "ndjson":
        for row in answer.to_pylist():
            output.print_data(dumps(row, default=str, ensure_ascii=False))
    else:
        rows = answer.slice(0, limit).to_pylist()
        output.print_table(answer.column_names, [[_cell(value) for value in row.values()] for row in rows])
        if answer.num_rows > limit:
            output.note(f"{limit} of {answer.num_rows:,} rows; --limit shows more")


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
