"""Lines of logs, by a grok pattern: a column for each of its fields."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.formats.decoder import Bad, Decoded
from headwater.formats.settings import GrokFormat
from headwater.formats.utf8 import valid_utf8
from headwater.grok.extract import Extractor
from headwater.grok.pattern import Field, compile_pattern, read_patterns


class GrokDecoder:
    """See `headwater.formats.decoder.Decoder`.

    Raises:
        UserError: the pattern cannot be compiled, or there is no such time zone.
    """

    def __init__(self, settings: GrokFormat) -> None:
        own = settings.patterns if not isinstance(settings.patterns, str) else read_patterns(settings.patterns)
        self._extractor = Extractor(compile_pattern(settings.pattern, own), settings.timezone)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns that come of it."""
        return self._extractor.pattern.fields

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """See `Decoder.decode`."""
        message = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        lines = values.drop_null() if values.null_count else values
        bad: list[Bad] = []
        try:
            text = lines.cast(pa.string())
        except pa.ArrowInvalid:
            good = valid_utf8(lines)
            bad += [Bad(number, "bad_utf8", "the line is not UTF-8") for number in message[~good].tolist()]
            message, text = message[good], lines.filter(pa.array(good)).cast(pa.string())
        found = self._extractor.extract(text)
        keep = found.matched
        bad += [Bad(number, "no_match", "the pattern does not match") for number in message[~keep].tolist()]
        if found.misfit is not None:
            wrong = np.array([bool(name) for name in found.misfit])
            for row in np.flatnonzero(wrong & keep).tolist():
                told = f"the text of {found.misfit[row]!r} is not of its type"
                bad.append(Bad(int(message[row]), "bad_value", told))
            keep = keep & ~wrong
        names = [field.name for field in self.fields]
        rows = pa.record_batch(list(found.columns), names=names) if names else _no_columns(len(text))
        if not keep.all():
            rows, message = rows.filter(pa.array(keep)), message[keep]
        return Decoded(rows, message, bad=tuple(sorted(bad, key=lambda one: one.message)), typed=True)


def _no_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
