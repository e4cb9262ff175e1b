"""Messages that are JSON objects, one row each."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from headwater.formats.decoder import Decoded
from headwater.formats.json.reading import JsonReader
from headwater.formats.settings import JsonFormat


class JsonDecoder:
    """See `headwater.formats.decoder.Decoder`."""

    def __init__(self, settings: JsonFormat, declared: Collection[str] = ()) -> None:
        self._reader = JsonReader(settings.nan, declared)

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        found = self._reader.read(values)
        return Decoded(pa.RecordBatch.from_struct_array(found.columns), found.messages, bad=found.bad())
