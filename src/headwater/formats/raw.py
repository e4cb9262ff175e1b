"""Messages that are taken as they are: one column `value`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.formats.decoder import Bad, Decoded
from headwater.formats.settings import RawFormat
from headwater.formats.utf8 import valid_utf8


class RawDecoder:
    """See `headwater.formats.decoder.Decoder`."""

    def __init__(self, settings: RawFormat) -> None:
        self._as_text = settings.text

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        message = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        rows = values.drop_null()
        if not self._as_text:
            return Decoded(pa.record_batch([rows.cast(pa.binary())], names=["value"]), message)
        good = valid_utf8(rows)
        bad = tuple(Bad(number, "bad_utf8", "the message is not UTF-8") for number in message[~good].tolist())
        text = rows.filter(pa.array(good)).cast(pa.string())
        return Decoded(pa.record_batch([text], names=["value"]), message[good], bad=bad)
