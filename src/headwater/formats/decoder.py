"""The contract of a decoder: raw messages in, Arrow columns and a word on every bad message out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import UserError
from headwater.formats.schema_source import SchemaSource

if TYPE_CHECKING:
    from headwater.formats.avro.settings import AvroFormat, DebeziumAvroFormat
    from headwater.formats.protobuf.settings import ProtobufFormat
    from headwater.formats.settings import FormatSettings


@dataclass(frozen=True)
class Bad:
    """A message that could not be read.

    Attributes:
        message: its number in the batch.
        reason: a code from the decoder's fixed list.
        text: what is wrong with it, a clause for people; holds nothing of the message.
    """

    message: int
    reason: str
    text: str


@dataclass(frozen=True)
class Decoded:
    """What a batch of messages held.

    Attributes:
        rows: the columns as they were found. One that came in several types stands there once for each, null where
            the value was of another; what has no type yet (null, empty list or object) is of Arrow's null type, a list
            of it, or a struct without fields.
        message: int64 by row: the number of the message that it came of; each at most once, ascending.
        ops: uint8 by row (`headwater.change.Op`); None if all are INSERT.
        bad: the messages that could not be read, ascending.
        unsent: by column, in which rows it did not change and was not sent; columns of which that is true of none may
            be left out.
        typed: the columns' types were given, not guessed from their values: a column is one though all values are null.
    """

    rows: pa.RecordBatch
    message: NDArray[np.int64]
    ops: NDArray[np.uint8] | None = None
    bad: tuple[Bad, ...] = ()
    unsent: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    typed: bool = False


class Decoder(Protocol):
    """Reads the messages of one stream. Used by one thread; may remember what it has seen, for speed alone."""

    def decode(self, values: pa.BinaryArray) -> Decoded:
        """Reads messages. A null value is a tombstone: no row, and not bad. One bad message says nothing of others.

        Raises:
            SourceUnavailable: something that is needed to read them (a schema registry) does not answer.
        """


def make_decoder(
    settings: FormatSettings,
    registry: SchemaSource | None = None,
    declared: Collection[str] = (),
    part: Literal["value", "key"] = "value",
) -> Decoder:
    """The decoder of a format.

    Args:
        settings: the format.
        registry: for formats whose messages name their schemas.
        declared: columns whose type the user has declared: formats without types of their own (JSON, CSV) give them as
            text, as they are written, so that nothing is lost before the cast.
        part: which part of the messages it is to read.

    Raises:
        UserError: the format cannot be read with these settings, or what it needs is not installed.
    """
    if settings.type == "json":
        from headwater.formats.json.decoder import JsonDecoder

        return JsonDecoder(settings, declared)
    if settings.type == "csv":
        from headwater.formats.csv.decoder import CsvDecoder

        return CsvDecoder(settings, declared)
    if settings.type == "debezium-json":
        if part == "key":
            from headwater.formats.debezium.key import DebeziumKeyDecoder

            return DebeziumKeyDecoder(settings)
        from headwater.formats.debezium.decoder import DebeziumJsonDecoder

        return DebeziumJsonDecoder(settings)
    if settings.type == "raw":
        from headwater.formats.raw import RawDecoder

        return RawDecoder(settings)
    if settings.type in ("avro", "debezium-avro", "protobuf"):
        return _with_schemas(settings, registry, part)
    if settings.type == "grok":
        from headwater.formats.grok import GrokDecoder

        return GrokDecoder(settings)
    raise UserError(f"the format {settings.type} cannot be read yet")


def _with_schemas(
    settings: AvroFormat | DebeziumAvroFormat | ProtobufFormat, registry: SchemaSource | None, part: str
) -> Decoder:
    """The decoders whose messages name their schemas."""
    if settings.registry is not None:
        from headwater.registry.client import RegistryClient

        registry = RegistryClient(settings.registry)
    if settings.type == "protobuf":
        return _protobuf(settings, registry)
    from headwater.formats.avro.decoder import AvroDecoder
    from headwater.formats.avro.settings import AvroFormat
    from headwater.formats.debezium.avro import DebeziumAvroDecoder

    if settings.type == "avro":
        return AvroDecoder(settings, registry)
    return AvroDecoder(AvroFormat.model_validate({}), registry) if part == "key" else DebeziumAvroDecoder(registry)


def _protobuf(settings: ProtobufFormat, registry: SchemaSource | None) -> Decoder:
    try:
        from headwater.formats.protobuf.decoder import ProtobufDecoder
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("google"):
            raise
        raise UserError(
            f"the format protobuf needs the package {error.name}", hint="pip install 'headwater[protobuf]'"
        ) from error
    return ProtobufDecoder(settings, registry)
