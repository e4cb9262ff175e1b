"""Puts the changes and the rejects of a batch of messages together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.capture.messages.message import frame
from headwater.change import REJECT_SCHEMA, ChangeBatch, key_text, log_schema
from headwater.formats.decoder import Bad
from headwater.position import Position
from headwater.schema import StreamSchema

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Changes of one kind.

    Attributes:
        message: the number of each one's message.
        ops: uint8.
        weight: +1 or -1, of all.
        columns: values by column; a column that is not there is null.
    """

    message: Longs
    ops: NDArray[np.uint8]
    weight: int
    columns: dict[str, pa.Array]


def change_batch(stream: StreamSchema, parts: Sequence[Part], messages: pa.RecordBatch, first: Position) -> ChangeBatch:
    """The changes in the order of their messages; of a message first what goes, then what comes.

    Args:
        stream: the schema in force.
        parts: the changes, one at least; those that go before those that come.
        messages: all messages.
        first: position of the first message.
    """
    schema = log_schema(stream)
    made = [_rows(schema, part, messages, first) for part in parts if len(part.message)]
    if len(made) == 1:
        return ChangeBatch(stream, made[0])
    order = np.argsort(np.concatenate([part.message for part in parts]), kind="stable")
    rows = pa.Table.from_batches(made).take(pa.array(order)).combine_chunks()
    return ChangeBatch(stream, rows.to_batches()[0])


def _rows(schema: pa.Schema, part: Part, messages: pa.RecordBatch, first: Position) -> pa.RecordBatch:
    count = len(part.message)
    own = {
        "_op": pa.array(part.ops),
        "_weight": pa.array(np.full(count, part.weight, np.int8)),
        "_commit": pa.array(np.full(count, first.commit, np.uint64)),
        "_ordinal": pa.array(first.ordinal + part.message),
        "_time": taken(messages.column("timestamp"), part.message),
        "_unchanged": pa.nulls(count, pa.binary()),
        **part.columns,
    }
    arrays = [own[field.name] if field.name in own else pa.nulls(count, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def taken(values: pa.Array, rows: Longs) -> pa.Array:
    """The values of some rows, ascending; the array itself if that is all of them."""
    if len(rows) == len(values):
        return values
    return pc.take(values, pa.array(rows))


def reject_batch(
    stream: str, bad: Sequence[Bad], keys: Sequence[str], messages: pa.RecordBatch, first: Position
) -> pa.RecordBatch | None:
    """Messages that could not be taken in as rows of `REJECT_SCHEMA`; None if there are none.

    Args:
        stream: the stream's name.
        bad: in the order of the messages.
        keys: of each the key as rejects have it, "" if it is not known.
        messages: all messages.
        first: position of the first message.
    """
    if not bad:
        return None
    numbers = [entry.message for entry in bad]
    rows = messages.take(pa.array(numbers, pa.int64())).to_pylist()
    places = [Position(first.commit, first.ordinal + number) for number in numbers]
    arrays = [
        pa.repeat(pa.scalar(stream), len(bad)),
        pa.repeat(pa.scalar("decode"), len(bad)),
        pa.array([entry.reason for entry in bad]),
        pa.array([entry.text for entry in bad]),
        pa.array([f"{place.commit}:{place.ordinal}" for place in places]),
        pa.array(list(keys), pa.string()),
        pa.array([frame(row, place, stream) for row, place in zip(rows, places, strict=True)], pa.binary()),
        pa.array(np.ones(len(bad), np.int64)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA)


def key_texts(columns: Sequence[pa.Array], whole: NDArray[np.bool_]) -> list[str]:
    """Keys as rejects have them; "" where they are not whole."""
    if not columns:
        return [""] * len(whole)
    texts = zip(*(key_text(values) for values in columns), strict=True)
    return [json.dumps(list(values)) if known else "" for values, known in zip(texts, whole.tolist(), strict=True)]
