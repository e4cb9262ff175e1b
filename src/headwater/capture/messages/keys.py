"""The key of a row, from the message's own key: what a tombstone deletes, and what a reject is of."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.messages.casting import Mask, converted, convertible
from headwater.formats.decoder import Decoder, make_decoder
from headwater.formats.schema_source import SchemaSource
from headwater.formats.settings import FormatSettings
from headwater.formats.utf8 import valid_utf8


class MessageKeys:
    """Reads the keys of messages: an object of the format with the key's columns in it, or, for a key of one column,
    the value by itself.

    Args:
        key: the key's columns.
        settings: the format.
        registry: see `make_decoder`.
    """

    def __init__(self, key: Sequence[str], settings: FormatSettings, registry: SchemaSource | None) -> None:
        self._key = tuple(key)
        self._decoder: Decoder | None = None
        if key and settings.type not in ("csv", "raw"):
            self._decoder = make_decoder(settings, registry, part="key")

    def read(self, keys: pa.Array, columns: pa.Schema) -> tuple[list[pa.Array], Mask]:
        """The key's columns of some messages, null where they cannot be had, and where they can.

        Args:
            keys: the messages' keys, binary.
            columns: the stream's; has the key's.
        """
        found = [pa.nulls(len(keys), columns.field(name).type) for name in self._key]
        if self._decoder is not None:
            decoded = self._decoder.decode(keys)
            rows = np.full(len(keys), -1, np.int64)
            rows[decoded.message] = np.arange(len(decoded.message))
            at = pa.array(np.maximum(rows, 0), mask=rows < 0)
            for place, name in enumerate(self._key):
                for number in decoded.rows.schema.get_all_field_indices(name):
                    values = _typed(decoded.rows.column(number), columns.field(name).type)
                    found[place] = pc.coalesce(found[place], pc.take(values, at))
        if len(self._key) == 1:
            found[0] = pc.coalesce(found[0], _plain(keys, columns.field(self._key[0]).type))
        whole = np.ones(len(keys), np.bool_)
        for values in found:
            whole &= values.is_valid().to_numpy(zero_copy_only=False)
        return found, whole if self._key else np.zeros(len(keys), np.bool_)


def _typed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if values.type.equals(kind):
        return values
    if convertible(values.type, kind):
        return converted(values, kind)[0]
    if pa.types.is_string(values.type):
        return _of_text(values, kind)
    return pa.nulls(len(values), kind)


def _plain(keys: pa.Array, kind: pa.DataType) -> pa.Array:
    """Keys that are the value itself: text, perhaps in JSON's quotation marks."""
    text = pc.if_else(pa.array(valid_utf8(keys)), keys, pa.scalar(None, keys.type)).cast(pa.string())
    objects = pc.match_substring_regex(text, r"^\s*[{\[]")
    text = pc.if_else(objects, pa.scalar(None, pa.string()), text)
    quoted = pc.match_substring_regex(text, r'^".*"$')
    if pc.any(quoted).as_py():
        text = pa.array([_unquoted(value) for value in text.to_pylist()], pa.string())
    return _of_text(text, kind)


def _unquoted(value: str | None) -> str | None:
    try:
        found = json.loads(value) if value is not None else None
    except ValueError:
        return value
    return found if isinstance(found, str) else value


def _of_text(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Text in the type of a key column, null where it is none of it."""
    if pa.types.is_string(kind):
        return text
    try:
        return text.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([_one_of_text(value, kind) for value in text.to_pylist()], kind)


def _one_of_text(value: str | None, kind: pa.DataType) -> object:
    try:
        return pa.array([value], pa.string()).cast(kind)[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
