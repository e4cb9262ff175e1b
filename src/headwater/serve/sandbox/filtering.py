"""Which of some rows a condition holds for: rows of the log, say, that a user looks for."""

from __future__ import annotations

import json

import duckdb
import pyarrow as pa

from headwater.errors import SqlError
from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.selecting import placed
from headwater.serve.sandbox.wire import Header
from headwater.sql.prelude import locked
from headwater.sql.read_only import require_read_only

_NUMBER = "_number#"
_BEFORE = "FROM records WHERE\n"


def answer(given: Given, asked: Header, payload: bytes) -> str:
    """The numbers, from 0, of the rows that `condition` holds for.

    Args:
        given: what there is.
        asked: `condition`: SQL over the columns.
        payload: the rows as an Arrow IPC stream.

    Raises:
        SqlError: the condition is wrong or reads anything else.
    """
    condition = asked["condition"]
    if require_read_only(f"{_BEFORE}({condition}\n)") != ["records"]:
        raise SqlError("a filter reads the record alone, and no tables")
    rows = pa.ipc.open_stream(payload).read_all()
    rows = rows.append_column(_NUMBER, pa.array(range(rows.num_rows), pa.int64()))
    connection = locked(given.limits.threads, int(given.limits.memory) // 2)
    connection.register("records", rows)
    try:
        found = connection.sql(f'SELECT "{_NUMBER}" FROM records WHERE ({condition}\n) ORDER BY 1')  # noqa: S608 locked
        numbers = [number for (number,) in found.fetchall()]
    except duckdb.Error as error:
        raise placed(connection, f"{_BEFORE}({condition}\n)", error) from error
    return json.dumps({"rows": numbers})
