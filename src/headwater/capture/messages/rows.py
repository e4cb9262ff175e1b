"""Rows that come typed already (Parquet files, a Python source): shaped as messages are, each a message of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from headwater.capture.messages.message import frame, unframe
from headwater.capture.messages.shaping import Shaped, StreamShaper
from headwater.change import ChangeBatch
from headwater.errors import UserError
from headwater.formats.decoder import Decoded
from headwater.position import Position


def shape_rows(shaper: StreamShaper, rows: pa.RecordBatch, messages: pa.RecordBatch, first: Position) -> Shaped:
    """Makes changes of rows.

    Args:
        shaper: of their stream.
        rows: the rows.
        messages: what is known of each besides, of `MESSAGE_SCHEMA`, with values that are empty, not null.
        first: position of the first.

    Returns:
        As `StreamShaper.shape`; a row that was rejected is kept whole, as an Arrow IPC stream in its message's value.
    """
    shaped = shaper.shape_decoded(Decoded(rows, np.arange(rows.num_rows), typed=True), messages, first)
    if shaped.rejects is None:
        return shaped
    records = []
    for number in shaped.rejected.tolist():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows.slice(number, 1))
        message = messages.slice(number, 1).to_pylist()[0] | {"value": sink.getvalue().to_pybytes()}
        records.append(frame(message, Position(first.commit, first.ordinal + number), shaper.name))
    place = shaped.rejects.schema.get_field_index("record")
    made = shaped.rejects.set_column(place, shaped.rejects.schema.field(place), pa.array(records, pa.binary()))
    return replace(shaped, rejects=made)


def decode_row(shaper: StreamShaper, record: bytes) -> ChangeBatch:
    """Decodes a rejected row once more.

    Raises:
        UserError: it still does not fit.
    """
    messages, place = unframe(record)
    rows = pa.ipc.open_stream(messages.column("value")[0].as_py()).read_all().combine_chunks().to_batches()[0]
    return only_row(shaper.shape_decoded(Decoded(rows, np.zeros(1, np.int64), typed=True), messages, place))


def only_row(shaped: Shaped) -> ChangeBatch:
    """What one message was shaped to.

    Raises:
        UserError: it was rejected again, or holds no row.
    """
    if shaped.rejects is not None:
        raise UserError(shaped.rejects.column("message")[0].as_py())
    if not shaped.batches:
        raise UserError("it holds no row: discard it")
    return shaped.batches[0]
