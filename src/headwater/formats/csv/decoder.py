"""Messages that are lines of fields, one row each; every field is text, for its type is nowhere said."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.formats.csv import kernels
from headwater.formats.decoder import Bad, Decoded
from headwater.formats.settings import CsvFormat
from headwater.formats.spans import Spans, spans_of
from headwater.formats.utf8 import valid_utf8

Longs = NDArray[np.int64]
MOST_FIELDS = 4096
_BAD_UTF8 = 7

REASONS: dict[int, tuple[str, str]] = {
    kernels.EMPTY: ("empty", "the message is empty"),
    kernels.OPEN_QUOTE: ("open_quote", "a quotation mark is not closed"),
    kernels.AFTER_QUOTE: ("after_quote", "something stands between a closing quotation mark and the delimiter"),
    kernels.SECOND_LINE: ("second_line", "a message is one line, and this has more"),
    kernels.TOO_MANY: ("too_many_fields", "it has more fields than there are columns"),
    kernels.TOO_FEW: ("too_few_fields", "it has fewer fields than there are columns"),
    _BAD_UTF8: ("bad_utf8", "it is not UTF-8"),
}


class CsvDecoder:
    """See `headwater.formats.decoder.Decoder`.

    Args:
        settings: the format.
        declared: columns in order, whose names the fields have if the settings give none.
    """

    def __init__(self, settings: CsvFormat, declared: Collection[str] = ()) -> None:
        self._names = settings.header or tuple(declared)
        self._delimiter = ord(settings.delimiter)
        self._quote = ord(settings.quote)
        self._null = settings.null

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        spans = spans_of(values)
        counts = np.zeros(len(values), np.int64)
        kernels.count_fields(spans.data, spans.starts, spans.ends, self._delimiter, self._quote, counts)
        most = len(self._names) or MOST_FIELDS
        counts[counts > most] = -kernels.TOO_MANY
        if self._names:
            counts[(counts > 0) & (counts < most)] = -kernels.TOO_FEW
        counts[(counts > 0) & ~valid_utf8(values)] = -_BAD_UTF8
        numbers = np.flatnonzero(counts < 0)
        codes = (-counts[numbers]).tolist()
        bad = tuple(Bad(number, *REASONS[code]) for number, code in zip(numbers.tolist(), codes, strict=True))
        message = np.flatnonzero(counts > 0)
        return Decoded(self._columns(spans, message, counts[message]), message, bad=bad)

    def _columns(self, spans: Spans, message: Longs, counts: Longs) -> pa.RecordBatch:
        names = self._names or tuple(f"c{place + 1}" for place in range(int(counts.max(initial=0))))
        shape = (len(names), len(message))
        begins, stops, kinds = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        starts, ends = spans.starts[message], spans.ends[message]
        kernels.split(spans.data, starts, ends, self._delimiter, self._quote, begins, stops, kinds)
        arrays = [self._text(spans, begins[n], stops[n], kinds[n], counts > n) for n in range(len(names))]
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(message), pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, names=list(names))

    def _text(
        self, spans: Spans, begins: Longs, stops: Longs, kinds: NDArray[np.uint8], there: NDArray[np.bool_]
    ) -> pa.Array:
        offsets = np.empty(len(begins) + 1, np.int32)
        out = np.empty(int((stops - begins).sum()), np.uint8)
        size = kernels.gather(spans.data, begins, stops, kinds, self._quote, offsets, out)
        text = pa.Array.from_buffers(pa.string(), len(begins), [None, pa.py_buffer(offsets), pa.py_buffer(out[:size])])
        null = np.asarray(pc.equal(text, self._null).to_numpy(zero_copy_only=False), np.bool_)
        missing = (null & (kinds == kernels.UNQUOTED)) | ~there
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
        return pa.Array.from_buffers(pa.string(), len(begins), [valid, *text.buffers()[1:]])
