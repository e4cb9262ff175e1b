"""`headwater query`: SQL over the tables and models of a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from headwater.cli import output

Format = Literal["table", "csv", "ndjson"]
_SHOWN_BYTES = 16


def query(sql: str, folder: Path = Path(), /, *, format: Format = "table", limit: int = 100) -> int:
    """Answer SQL over the tables and models of the project in FOLDER, as of its last epoch, running or stopped.

    Args:
        sql: A SELECT in DuckDB's dialect.
        folder: The project's folder.
        format: How to print the answer.
        limit: Most rows that `table` prints; csv and ndjson print all.
    """
    from headwater.cli.opening import read_project
    from headwater.serve import query as serve

    _print(serve.query(read_project(folder), sql), format, limit)
    return output.OK


def _print(answer: object, form: Format, limit: int) -> None:
    from json import dumps

    import pyarrow as pa
    import pyarrow.csv

    from headwater.serve.moments import printable

    assert isinstance(answer, pa.Table)
    shown: pa.Table = printable(answer)
    if form == "csv":
        pyarrow.csv.write_csv(shown, sys.stdout.buffer)
    elif form == "ndjson":
        for row in shown.to_pylist():
            output.print_data(dumps(row, default=str, ensure_ascii=False))
    else:
        rows = shown.slice(0, limit).to_pylist()
        output.print_table(shown.column_names, [[_cell(value) for value in row.values()] for row in rows])
        if shown.num_rows > limit:
            output.note(f"{limit} of {shown.num_rows:,} rows; --limit shows more")


def _cell(value: object) -> str:
    if isinstance(value, bytes) and len(value) > _SHOWN_BYTES:
        return f"{repr(value[:_SHOWN_BYTES])[2:-1]}... ({len(value):,} bytes)"
    text = "NULL" if value is None else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
