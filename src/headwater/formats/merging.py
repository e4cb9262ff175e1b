"""Rows of messages that were written with several schemas, as one batch.

Columns of one name become one where a type holds the values of both: a wider number, a struct with the fields of both.
Where there is none, there are two columns of that name, as `decoder.Decoded` has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.formats.nodes import Longs

_WIDER = {
    (pa.int32(), pa.int64()): pa.int64(),
    (pa.int32(), pa.float64()): pa.float64(),
    (pa.float32(), pa.float64()): pa.float64(),
}


def merge(parts: Sequence[tuple[pa.RecordBatch, Longs]]) -> tuple[pa.RecordBatch, Longs]:
    """Parts with the number of each row's message, as one batch in the order of the messages."""
    if len(parts) == 1:
        return parts[0]
    message = np.concatenate([numbers for _, numbers in parts])
    order = pa.array(np.argsort(message, kind="stable"))
    fields = _fields([rows.schema for rows, _ in parts])
    arrays = []
    for number, (field, sources) in enumerate(fields):
        chunks = [
            conform(rows.column(sources[at]), field.type) if at in sources else pa.nulls(rows.num_rows, field.type)
            for at, (rows, _) in enumerate(parts)
        ]
        arrays.append(pc.take(pa.concat_arrays(chunks), order))
        fields[number] = (field, sources)
    schema = pa.schema([field for field, _ in fields])
    return pa.RecordBatch.from_arrays(arrays, schema=schema), np.sort(message)


def _fields(schemas: Sequence[pa.Schema]) -> list[tuple[pa.Field, dict[int, int]]]:
    """The merged columns: each with the place that it has in the parts that have it."""
    found: list[tuple[pa.Field, dict[int, int]]] = []
    for part, schema in enumerate(schemas):
        for place, field in enumerate(schema):
            for number, (held, sources) in enumerate(found):
                to = shared_type(held.type, field.type) if held.name == field.name and part not in sources else None
                if to is not None:
                    found[number] = (held.with_type(to), {**sources, part: place})
                    break
            else:
                found.append((pa.field(field.name, field.type), {part: place}))
    return found


def shared_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both as they are; None if there is none."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            shared = shared_type(fields[field.name], field.type) if field.name in fields else field.type
            if shared is None:
                return None
            fields[field.name] = shared
        return pa.struct([pa.field(name, kind) for name, kind in fields.items()])
    if pa.types.is_list(one) and pa.types.is_list(other):
        item = shared_type(one.value_type, other.value_type)
        return None if item is None else pa.list_(pa.field("item", item))
    if pa.types.is_map(one) and pa.types.is_map(other) and one.key_type == other.key_type:
        item = shared_type(one.item_type, other.item_type)
        return None if item is None else pa.map_(one.key_type, item)
    return _WIDER.get((one, other)) or _WIDER.get((other, one))


def conform(values: pa.Array, to: pa.DataType) -> pa.Array:
    """Values as a type that `shared_type` gave."""
    if values.type == to:
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), to)
    valid = None if not values.null_count else values.is_valid().buffers()[1]
    if pa.types.is_struct(to):
        own = {field.name: number for number, field in enumerate(values.type)}
        children = [
            conform(values.field(own[field.name]), field.type)
            if field.name in own
            else pa.nulls(len(values), field.type)
            for field in to
        ]
        return pa.Array.from_buffers(to, len(values), [valid], children=children)
    if pa.types.is_list(to):
        return pa.Array.from_buffers(
            to, len(values), [valid, values.buffers()[1]], children=[conform(values.values, to.value_type)]
        )
    if pa.types.is_map(to):
        items = conform(values.items, to.item_type)
        pair = pa.struct([pa.field("key", values.keys.type, nullable=False), pa.field("value", items.type)])
        entries = pa.Array.from_buffers(pair, len(items), [None], children=[values.keys, items])
        return pa.Array.from_buffers(to, len(values), [valid, values.buffers()[1]], children=[entries])
    return values.cast(to)
