"""The rows of rejects that an epoch takes in once more, as its plan holds them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from headwater.change import CHANGE_COLUMNS, ChangeBatch
from headwater.engine.evolution import realigned
from headwater.runtime.state_store import Replay
from headwater.schema import StreamSchema


def as_text(batches: Iterable[pa.RecordBatch]) -> str:
    """Batches of one schema as an Arrow IPC stream in base64: `Replay.rows`."""
    rows = pa.Table.from_batches(batches).combine_chunks()
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as writer:
        writer.write_table(rows)
    return base64.b64encode(buffer.getvalue()).decode()


def rows_of(replay: Replay) -> pa.Table:
    """The rows."""
    return pa.ipc.open_stream(base64.b64decode(replay.rows)).read_all()


def changes_of(replay: Replay, stream: StreamSchema) -> ChangeBatch:
    """The rows as changes of the stream as it is now. It gets the columns that only they have, and their types where
    its own do not hold their values: a message may have been rejected for a column that nobody knew, or for a type that
    has been declared as another one since."""
    rows = rows_of(replay)
    known = {*stream.columns.names, *(field.name for field in CHANGE_COLUMNS)}
    held = [field if _holds(rows, field) else rows.schema.field(field.name) for field in stream.columns]
    columns = pa.schema([*held, *(field for field in rows.schema if field.name not in known)])
    wider = stream if columns.equals(stream.columns) else replace(stream, columns=columns)
    return ChangeBatch(wider, realigned(rows, wider))


def _holds(rows: pa.Table, field: pa.Field) -> bool:
    """Whether a column's type holds the values that the rows have in it."""
    if field.name not in rows.column_names:
        return True
    try:
        rows.column(field.name).cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
