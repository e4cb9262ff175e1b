"""Debezium's envelope in Avro, each message with the id of its schema (`io.confluent.connect.avro.AvroConverter`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.formats.avro.decoder import AvroDecoder
from headwater.formats.avro.settings import AvroFormat
from headwater.formats.debezium.decoder import EnvelopeGroup, open_envelopes
from headwater.formats.decoder import Decoded
from headwater.formats.schema_source import SchemaSource


class DebeziumAvroDecoder:
    """See `headwater.formats.decoder.Decoder`.

    Args:
        registry: where the messages' schemas are.
    """

    def __init__(self, registry: SchemaSource | None) -> None:
        self._reader = AvroDecoder(AvroFormat.model_validate({}), registry)

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        parts, bad = self._reader.read(values)
        numbers = np.sort(np.concatenate([np.zeros(0, np.int64), *(message for _, message in parts)]))
        groups: list[EnvelopeGroup] = [
            (np.searchsorted(numbers, message), rows.to_struct_array(), {}) for rows, message in parts
        ]
        return open_envelopes(groups, numbers, bad, is_typed=True)
