"""Debezium's envelope in JSON, with its schema part (`{"schema": ..., "payload": {...}}`) or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.change import Op
from headwater.formats.debezium.connect_types import ConnectType, row_types, typed
from headwater.formats.decoder import Bad, Decoded
from headwater.formats.json.reading import JsonReader
from headwater.formats.settings import DebeziumJsonFormat

Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

OPS = {"c": Op.INSERT, "r": Op.READ, "u": Op.UPDATE, "d": Op.DELETE, "t": Op.TRUNCATE}
UNAVAILABLE = "__debezium_unavailable_value"
"""What stands for a large value that did not change and was not sent (`unavailable.value.placeholder`'s default)."""

EnvelopeGroup = tuple[Longs, pa.StructArray, dict[str, ConnectType]]
"""Rows whose envelopes have one schema: their numbers, the envelopes, and types of columns."""


@dataclass
class _Rows:
    """Columns as `Decoded` has them, of all rows of the batch: of one that goes, those of the row that it was."""

    rows: list[tuple[str, pa.Array]] = field(default_factory=list)
    unsent: dict[str, Mask] = field(default_factory=dict)


class DebeziumJsonDecoder:
    """See `headwater.formats.decoder.Decoder`."""

    def __init__(self, settings: DebeziumJsonFormat) -> None:
        self._reader = JsonReader(settings.nan, as_text=("schema",))
        self._types: dict[str, dict[str, ConnectType]] = {}

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        found = self._reader.read(values)
        groups = self._groups(found.columns)
        return open_envelopes(groups, found.messages, found.bad(), is_typed=bool(self._types))

    def _groups(self, columns: pa.StructArray) -> list[EnvelopeGroup]:
        """Rows whose envelope stands in the same place with the same schema."""
        parts = _parts(columns)
        payload, schema = parts.get("payload"), parts.get("schema")
        whole = np.arange(len(columns))
        if payload is None or not pa.types.is_struct(payload.type):
            return [(whole, columns, {})]
        wrapped = payload.is_valid().to_numpy(zero_copy_only=False)
        none: list[EnvelopeGroup] = []
        groups = none if wrapped.all() else [(whole[~wrapped], columns.filter(pa.array(~wrapped)), {})]
        if schema is None or not pa.types.is_string(schema.type):
            return [*groups, (whole[wrapped], payload.filter(pa.array(wrapped)), {})]
        texts = schema.dictionary_encode()
        codes = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        for code in np.unique(codes[wrapped]).tolist():
            at = np.flatnonzero(wrapped & (codes == code))
            text = texts.dictionary[code].as_py() if code >= 0 else None
            groups.append((at, payload.take(pa.array(at)), self._types_of(text)))
        return groups

    def _types_of(self, text: str | None) -> dict[str, ConnectType]:
        key = text or ""
        if key not in self._types:
            if len(self._types) > 64:
                self._types.clear()
            self._types[key] = row_types(text)
        return self._types[key]


def open_envelopes(groups: Sequence[EnvelopeGroup], numbers: Longs, bad: Sequence[Bad], *, is_typed: bool) -> Decoded:
    """What the envelopes of a batch say.

    Args:
        groups: of each group of rows their numbers, their envelopes, and the types of their columns if the envelopes'
            own do not say it all.
        numbers: by row, the number of its message, ascending.
        bad: messages that are no rows.
        is_typed: see `Decoded.typed`.
    """
    count = len(numbers)
    ops = np.full(count, -1, np.int64)
    has_after, has_before = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    made = _Rows()
    for at, envelope, types in groups:
        parts = _parts(envelope)
        ops[at] = _ops(parts.get("op"), len(at))
        for name, there in (("after", has_after), ("before", has_before)):
            if name in parts:
                there[at] = parts[name].is_valid().to_numpy(zero_copy_only=False)
        _take(made, parts, types, at, ops, count)
    reasons = _reasons(ops, has_after, has_before)
    wrong = [Bad(int(numbers[row]), *reasons[row]) for row in sorted(reasons)]
    good = np.array([row for row in range(count) if row not in reasons], np.int64) if reasons else np.arange(count)
    return Decoded(
        _batch(made.rows, good, count),
        numbers[good],
        ops[good].astype(np.uint8),
        tuple(sorted([*bad, *wrong], key=lambda entry: entry.message)),
        {name: mask[good] for name, mask in made.unsent.items() if mask[good].any()},
        typed=is_typed,
    )


def _take(
    made: _Rows, parts: dict[str, pa.Array], types: dict[str, ConnectType], at: Longs, ops: Longs, count: int
) -> None:
    """Adds the columns of one group of rows, `at`, out of `count`."""
    for name in ("after", "before"):
        part = parts.get(name)
        if part is None or not pa.types.is_struct(part.type):
            continue
        gone = ops[at] == Op.DELETE
        wanted = (gone if name == "before" else ~gone) & part.is_valid().to_numpy(zero_copy_only=False)
        for column, values in zip(part.type, part.flatten(), strict=True):
            values, unsent = _sent(values)
            values = typed(values, types[column.name]) if column.name in types else values
            rows = _at(values, at, wanted, count)
            made.rows.append((column.name, rows))
            if name == "after" and unsent.any():
                made.unsent.setdefault(column.name, np.zeros(count, np.bool_))[at[unsent]] = True


def _parts(envelope: pa.StructArray) -> dict[str, pa.Array]:
    """The fields of structs by name; of several columns of a name the one that is no bare null."""
    found: dict[str, pa.Array] = {}
    for column, values in zip(envelope.type, envelope.flatten(), strict=True):
        if column.name not in found or pa.types.is_struct(values.type):
            found[column.name] = values
    return found


def _ops(letters: pa.Array | None, count: int) -> Longs:
    if letters is None or not pa.types.is_string(letters.type):
        return np.full(count, -1, np.int64)
    known = pc.index_in(letters, pa.array(list(OPS))).fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where(known >= 0, np.array(list(OPS.values()))[np.maximum(known, 0)], -1).astype(np.int64)


def _reasons(ops: Longs, has_after: Mask, has_before: Mask) -> dict[int, tuple[str, str]]:
    """Why rows cannot be taken in."""
    comes = np.isin(ops, [Op.INSERT, Op.READ, Op.UPDATE])
    found = dict.fromkeys(
        np.flatnonzero(ops < 0).tolist(),
        ("no_envelope", "it is no envelope of Debezium's with an op of c, r, u, d or t"),
    )
    found |= dict.fromkeys(np.flatnonzero(comes & ~has_after).tolist(), ("no_after", "it does not have the new row"))
    gone = (ops == Op.DELETE) & ~has_before
    return found | dict.fromkeys(np.flatnonzero(gone).tolist(), ("no_before", "it does not have the row that went"))


def _sent(values: pa.Array) -> tuple[pa.Array, Mask]:
    """Values without the placeholder of what was not sent, and where that stood."""
    none = np.zeros(len(values), np.bool_)
    if not pa.types.is_string(values.type):
        return values, none
    unsent = pc.equal(values, UNAVAILABLE).fill_null(False)
    mask = np.asarray(unsent.to_numpy(zero_copy_only=False), np.bool_)
    return (pc.if_else(unsent, pa.scalar(None, pa.string()), values), mask) if mask.any() else (values, none)


def _at(values: pa.Array, at: Longs, wanted: Mask, count: int) -> pa.Array:
    """Values of some rows among all; null elsewhere, and where they are not wanted."""
    if len(at) == count and wanted.all():
        return values
    numbers, missing = np.zeros(count, np.int64), np.ones(count, np.bool_)
    numbers[at], missing[at] = np.arange(len(at)), ~wanted
    return pc.take(values, pa.array(numbers, mask=missing))


def _batch(columns: list[tuple[str, pa.Array]], good: Longs, count: int) -> pa.RecordBatch:
    arrays = [values if len(good) == count else values.take(pa.array(good)) for _, values in columns]
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(good), pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in columns])
