"""Keys of Debezium's events in JSON: the key's columns, with their schema around them or without."""

from __future__ import annotations

import pyarrow as pa

from headwater.formats.decoder import Decoded
from headwater.formats.json.reading import JsonReader
from headwater.formats.settings import DebeziumJsonFormat


class DebeziumKeyDecoder:
    """See `headwater.formats.decoder.Decoder`."""

    def __init__(self, settings: DebeziumJsonFormat) -> None:
        self._reader = JsonReader(settings.nan, passed_over=("schema",))

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        found = self._reader.read(values)
        columns = list(zip(found.columns.type, found.columns.flatten(), strict=True))
        inner = [
            pair
            for column, values in columns
            if column.name == "payload" and pa.types.is_struct(values.type)
            for pair in zip(values.type, values.flatten(), strict=True)
        ]
        both = [*columns, *inner]
        if not both:
            return Decoded(pa.RecordBatch.from_struct_array(found.columns), found.messages, bad=found.bad())
        rows = pa.RecordBatch.from_arrays([array for _, array in both], names=[column.name for column, _ in both])
        return Decoded(rows, found.messages, bad=found.bad())
