"""From what was read of a file to changes of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.capture.files.cut import Cutting
from headwater.capture.files.settings import AvroFilesFormat, FileStreamSettings, ParquetFormat
from headwater.capture.messages.message import messages_of, unframe
from headwater.capture.messages.rows import decode_row, only_row, shape_rows
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import Schemas, Shaped, StreamShaper
from headwater.change import ChangeBatch
from headwater.formats.decoder import Bad, Decoded, Decoder, make_decoder
from headwater.formats.schema_source import SchemaSource
from headwater.formats.settings import CsvFormat, GrokFormat, RawFormat
from headwater.position import Position
from headwater.schema import StreamSchema

HEADER = "header"
"""The header of a message that holds the header line of its CSV file."""


@dataclass(frozen=True)
class Piece:
    """Records, or rows, read from files of one stream.

    Attributes:
        stream: that they are of.
        paths: by record, of its file.
        values: binary, the records; of rows, empty.
        starts: int64: where each begins, in bytes or rows.
        header: the header line of a CSV file.
        too_long: bool by record, those that are too long, or pieces of one that is; None if there are none.
        rows: of a container.
    """

    stream: str
    paths: pa.StringArray
    values: pa.BinaryArray
    starts: NDArray[np.int64]
    header: bytes | None = None
    too_long: NDArray[np.bool_] | None = None
    rows: pa.RecordBatch | None = None

    @classmethod
    def of_rows(cls, stream: str, path: str, rows: pa.RecordBatch, first: int) -> Piece:
        """Rows of a container, numbered from `first`."""
        values = pa.repeat(pa.scalar(b"", pa.binary()), rows.num_rows)
        return cls(stream, pa.repeat(path, rows.num_rows), values, np.arange(first, first + rows.num_rows), rows=rows)

    @property
    def nbytes(self) -> int:
        """About how much there is of it."""
        return int(self.values.nbytes if self.rows is None else self.rows.nbytes)

    def __len__(self) -> int:
        return len(self.values)

    def parted(self) -> list[Piece]:
        """The records that are not too long, and those that are."""
        if self.too_long is None or not self.too_long.any():
            return [replace(self, too_long=None)]
        return [part for part in (self._only(~self.too_long), self._only(self.too_long)) if len(part)]

    def _only(self, keep: NDArray[np.bool_]) -> Piece:
        too_long = self.too_long[keep] if self.too_long is not None else None
        values = self.values.filter(pa.array(keep))
        return replace(
            self, values=values, paths=self.paths.filter(pa.array(keep)), starts=self.starts[keep], too_long=too_long
        )

    def without_blank(self) -> Piece:
        """Without lines that hold nothing."""
        there = _lengths(self.values) > 0
        return self if there.all() else self._only(there)


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, those of a stream put together that can be shaped at once, in their order; what is too long apart."""
    made: list[Piece] = []
    for _, run in groupby(pieces, lambda one: (one.stream, one.header, id(one) if one.rows is not None else 0)):
        some = list(run)
        whole = some[0]
        if len(some) > 1:
            whole = replace(
                whole,
                values=pa.concat_arrays([one.values for one in some]),
                paths=pa.concat_arrays([one.paths for one in some]),
                starts=np.concatenate([one.starts for one in some]),
                too_long=np.concatenate([_marks(one) for one in some]),
            )
        made += whole.parted()
    return made


def _marks(piece: Piece) -> NDArray[np.bool_]:
    return piece.too_long if piece.too_long is not None else np.zeros(len(piece), np.bool_)


class FileShaper:
    """Shapes what is read from the files of one stream.

    Args:
        name: the stream's.
        settings: of the stream.
        schemas: where its schema is kept.
        registry: for formats whose messages name their schemas.

    Raises:
        UserError: the settings cannot be followed.
    """

    def __init__(
        self,
        name: str,
        settings: FileStreamSettings,
        schemas: Schemas | None = None,
        registry: SchemaSource | None = None,
    ) -> None:
        form = settings.format
        self.has_header = isinstance(form, CsvFormat) and not form.header
        self.delimiter, self.quote = (form.delimiter, form.quote) if isinstance(form, CsvFormat) else (",", '"')
        self.cutting = _cutting(settings)
        self._settings = settings
        self._keeps_blank = isinstance(form, RawFormat)
        self._by_header: dict[bytes, Decoder] = {}
        self._inner = StreamShaper(name, _as_messages(settings), schemas, registry)

    def stream(self) -> StreamSchema | None:
        """The stream as it is known by now."""
        return self._inner.stream()

    def shape(self, piece: Piece, first: Position) -> Shaped:
        """Makes changes of what was read; each record's position is an ordinal further.

        Raises:
            SchemaChanged: a record does not fit the stream, whose policy is `fail`.
        """
        if piece.too_long is not None and piece.too_long.any():
            told = f"the record is longer than {self.cutting.longest:,} bytes; this is it, or a piece of it"
            bad = tuple(Bad(number, "too_long", told) for number in range(len(piece)))
            nothing = pa.RecordBatch.from_pylist([], schema=pa.schema([]))
            return self._inner.shape_decoded(Decoded(nothing, np.zeros(0, np.int64), bad=bad), _messages(piece), first)
        if piece.rows is not None:
            return shape_rows(self._inner, piece.rows, _messages(piece), first)
        if not self._keeps_blank:
            piece = piece.without_blank()
        if piece.header is not None:
            decoded = self._decoder(piece.header).decode(piece.values)
            return self._inner.shape_decoded(decoded, _messages(piece), first)
        return self._inner.shape(_messages(piece), first)

    def decode(self, record: bytes) -> ChangeBatch:
        """Decodes a rejected record once more.

        Raises:
            UserError: it still cannot be decoded.
        """
        if self._settings.is_container:
            return decode_row(self._inner, record)
        messages, place = unframe(record)
        headers = dict(messages.column("headers")[0].as_py() or [])
        if HEADER not in headers:
            return self._inner.decode(record)
        decoded = self._decoder(headers[HEADER]).decode(messages.column("value"))
        return only_row(self._inner.shape_decoded(decoded, messages, place))

    def _decoder(self, header: bytes) -> Decoder:
        """The decoder of CSV files with this header line."""
        if header not in self._by_header:
            form = self._settings.format
            assert isinstance(form, CsvFormat)
            read = make_decoder(form.model_copy(update={"header": ()})).decode(pa.array([header], pa.binary()))
            row = read.rows.to_pylist()[0] if read.rows.num_rows else {}
            names = [str(value or f"c{place + 1}") for place, value in enumerate(row.values())]
            names = [name if name not in names[:place] else f"{name}_{place + 1}" for place, name in enumerate(names)]
            made = form.model_copy(update={"header": tuple(names)})
            self._by_header[header] = make_decoder(made, declared=tuple(self._settings.columns))
        return self._by_header[header]


def too_long_ones(values: pa.BinaryArray, longest: int) -> NDArray[np.bool_]:
    """Which records are longer than `longest` bytes."""
    return _lengths(values) > longest


def _lengths(values: pa.BinaryArray) -> NDArray[np.int32]:
    _, offsets, _ = values.buffers()
    places = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return places[1:] - places[:-1]


def _cutting(settings: FileStreamSettings) -> Cutting:
    form, lines = settings.format, settings.multiline
    longest = int(settings.longest_record)
    if isinstance(form, CsvFormat):
        return Cutting("csv", delimiter=form.delimiter, quote=form.quote, longest=longest)
    if lines is not None:
        return Cutting(
            "line", lines.begins or lines.continues, "begins" if lines.begins else "continues", longest=longest
        )
    return Cutting(longest=longest)


def _as_messages(settings: FileStreamSettings) -> MessageStreamSettings:
    """What `StreamShaper` is to know: containers bring rows, and the columns of a grok pattern are known before any
    line comes."""
    given, columns = settings.format, dict(settings.columns)
    form = RawFormat(text=False) if isinstance(given, ParquetFormat | AvroFilesFormat) else given
    if isinstance(form, GrokFormat):
        from headwater.formats.grok import GrokDecoder

        columns = {field.name: field.type for field in GrokDecoder(form).fields} | columns
    return MessageStreamSettings(
        format=form, schema=settings.schema_policy, key=settings.key, columns=columns, metadata=settings.metadata
    )


def _messages(piece: Piece) -> pa.RecordBatch:
    count = len(piece)
    more = {}
    if piece.header is not None:
        entries = pa.array(np.arange(count + 1, dtype=np.int32))
        names, lines = pa.repeat(HEADER, count), pa.repeat(pa.scalar(piece.header, pa.binary()), count)
        more["headers"] = pa.MapArray.from_arrays(entries, names, lines)
    return messages_of(piece.values, partition=piece.paths, offset=pa.array(piece.starts), **more)
