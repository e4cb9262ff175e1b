"""`headwater query`: SQL over the tables and models of a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from headwater.cli import output

Format = Literal["table", "csv", "ndjson"]
_SHOWN_BYTES = 16


def query(
    sql: str,
    folder: Path = Path(),
    /,
    *,
    at: str | None = None,
    fresh: bool | None = None,
    table: tuple[str, ...] = (),
    format: Format = "table",
    limit: int = 100,
    json: bool = False,
) -> int:
    """Answer SQL over the tables and models of the project in FOLDER, running or stopped.

    Mirrors are read to the last durable change, also if it is not in their tables yet. Where the query reads models,
    all is read as of the last epoch, which is said on stderr: an answer never mixes two moments.

    Args:
        sql: A SELECT in DuckDB's dialect.
        folder: The project's folder.
        at: Read the tables as of a moment: a time (2026-11-21, "2026-11-21 20:15", "2 hours ago"; UTC if no zone is
            given), "epoch 17", "snapshot 8270633197658268308" or "tag NAME".
        fresh: With --fresh models too are of the last durable change: they are computed from the mirrors. With
            --no-fresh only what is committed to the tables is read.
        table: An Iceberg table that others keep, as NAME=METADATA_FILE; may be given more than once.
        format: How to print the answer.
        limit: Most rows that `table` prints; csv and ndjson print all.
        json: Print one JSON object with the columns, at most `limit` rows, and of which moment they are.
    """
    from headwater.cli.opening import read_project
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.serve import query as serve
    from headwater.serve.moment_text import parse_moment

    if at is not None and fresh:
        raise UserError("--at reads the past and --fresh the present", hint="leave one of them out")
    moment = parse_moment(at, SystemClock().now_us()) if at is not None else None
    answer = serve.ask(read_project(folder), sql, at=moment, fresh=fresh, tables=dict(map(_foreign, table)))
    if json:
        output.print_json(_object(answer.rows, limit, answer.note))
        return output.OK
    _print(answer.rows, format, limit)
    output.note(answer.note)
    return output.OK


def _foreign(given: str) -> tuple[str, object]:
    from headwater.errors import UserError
    from headwater.serve.table import foreign_dataset

    name, sign, location = given.partition("=")
    if not sign or not name:
        raise UserError(f"--table {given}: no name", hint="--table NAME=.../metadata/00001-....metadata.json")
    return name, foreign_dataset(location)


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


def _object(answer: object, limit: int, note: str) -> dict[str, object]:
    """The answer for `--json`: decimals, times and large integers as text, as `ndjson` has them."""
    from json import dumps, loads

    import pyarrow as pa

    from headwater.serve.moments import printable

    assert isinstance(answer, pa.Table)
    rows = [list(row.values()) for row in printable(answer.slice(0, limit)).to_pylist()]
    columns = [{"name": field.name, "type": str(field.type)} for field in answer.schema]
    told = loads(dumps(rows, default=str))
    return {"columns": columns, "rows": told, "count": answer.num_rows, "note": note}
