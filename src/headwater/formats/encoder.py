"""The contract of an encoder: rows in, one message for each out; and the encoders of JSON, CSV, bytes and envelopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import duckdb
import pyarrow as pa

from headwater.errors import UserError
from headwater.formats.expressions import as_csv, as_json, quoted
from headwater.formats.schema_source import SchemaSource

if TYPE_CHECKING:
    from headwater.formats.settings import CsvFormat, FormatSettings
    from headwater.registry.settings import RegistrySettings


class ValueRefused(UserError):
    """A row has a value that its field cannot say; others of the same columns may be written."""

    code = "HW-VALUE"


class Encoder(Protocol):
    """Writes rows as messages. Used by one thread."""

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """One message for each row, in their order; equal rows of equal columns give equal bytes.

        Raises:
            UserError: the format cannot hold these columns.
            ValueRefused: it can, but not a value of these rows.
            SourceUnavailable: a schema registry does not answer.
        """


def make_encoder(settings: FormatSettings, registry: SchemaSource | None = None, subject: str = "") -> Encoder:
    """The encoder of a format.

    Args:
        settings: the format.
        registry: for formats whose messages name their schemas.
        subject: under which they register them, if the settings name none.

    Raises:
        UserError: the format cannot be written with these settings, or what it needs is not installed.
    """
    if settings.type == "json":
        return JsonEncoder()
    if settings.type == "csv":
        return CsvEncoder(settings)
    if settings.type == "raw":
        return RawEncoder()
    if settings.type == "debezium-json":
        return EnvelopeEncoder()
    if settings.type == "avro":
        from headwater.formats.avro.encoder import AvroEncoder

        return AvroEncoder(settings, _foreign(settings.registry, registry), subject)
    if settings.type == "protobuf":
        from headwater.formats.protobuf.encoder import ProtobufEncoder

        return ProtobufEncoder(settings, _foreign(settings.registry, registry), subject)
    raise UserError(f"the format {settings.type} can only be read")


def _foreign(settings: RegistrySettings | None, registry: SchemaSource | None) -> SchemaSource | None:
    """The registry of a format's settings; the project's own if they name none."""
    if settings is None:
        return registry
    from headwater.registry.client import RegistryClient

    return RegistryClient(settings)


class JsonEncoder:
    """JSON objects: whole numbers and decimals with all their digits, times in ISO 8601, bytes in base64, and what JSON
    has no number for (NaN, Infinity) as text."""

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """See `Encoder.encode`."""
        return _evaluated(rows, f"CAST(to_json({_row(rows)}) AS VARCHAR)")


class CsvEncoder:
    """Lines of fields in the order of the columns, without a line's end; a text that looks like NULL is quoted."""

    def __init__(self, settings: CsvFormat) -> None:
        self._settings = settings

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """See `Encoder.encode`."""
        given = self._settings
        fields = [
            as_csv(f"c{place}", field.type, given.delimiter, given.quote, given.null)
            for place, field in enumerate(rows.schema)
        ]
        return _evaluated(rows, f" || {quoted(given.delimiter)} || ".join(fields))


class RawEncoder:
    """The bytes of the only column, or of the one that is called `value`."""

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """See `Encoder.encode`."""
        name = "value" if "value" in rows.column_names else rows.column_names[0]
        kind = rows.schema.field(name).type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if (rows.num_columns > 1 and name != "value") or not (text or pa.types.is_binary(kind)):
            raise UserError(
                "the format raw writes one column of text or bytes",
                hint="let the model have one column, or call it value: SELECT to_json(...) AS value",
            )
        return _one(rows.column(name).cast(pa.binary()))


class EnvelopeEncoder:
    """Debezium's envelope in JSON, without its schema part."""

    def encode(self, rows: pa.Table) -> pa.BinaryArray:
        """Every row as one that was created (`op` c)."""
        return self.encode_changes(rows, pa.repeat(pa.scalar("c"), rows.num_rows))

    def encode_changes(
        self,
        rows: pa.Table,
        ops: pa.Array,
        before: pa.Array | None = None,
        source: pa.Array | None = None,
        ts_ms: pa.Array | None = None,
    ) -> pa.BinaryArray:
        """An envelope for each change.

        Args:
            rows: the rows as they are; of one that goes, as it was, or its key.
            ops: text by row: c, u, d or r.
            before: struct by row, null where it is not known: the row as it was.
            source: struct by row: where the change comes from.
            ts_ms: int64 by row: when it was made, milliseconds since 1970.
        """
        now = _row(rows)
        extra = {"op": ops, "before": before, "source": source, "ts_ms": ts_ms}
        given = {name: values for name, values in extra.items() if values is not None}
        old = as_json("before", before.type) if before is not None else "NULL"
        body = (
            "CAST(to_json({'before': CASE op WHEN 'd' THEN coalesce(to_json("
            f"{old}), to_json({now})) WHEN 'u' THEN to_json({old}) END, "
            f"'after': CASE WHEN op != 'd' THEN to_json({now}) END, "
            f"'source': {as_json('source', source.type) if source is not None else 'NULL'}, "
            f"'op': op, 'ts_ms': {'ts_ms' if ts_ms is not None else 'NULL'}}}) AS VARCHAR)"
        )
        return _evaluated(rows, body, given)


def _row(rows: pa.Table) -> str:
    """SQL for a struct of a table's columns, which are called c0, c1 and so on."""
    fields = [f"{quoted(f.name, chr(34))} := {as_json(f'c{n}', f.type)}" for n, f in enumerate(rows.schema)]
    return f"struct_pack({', '.join(fields)})"


def _evaluated(rows: pa.Table, text: str, more: dict[str, pa.Array] | None = None) -> pa.BinaryArray:
    columns = {f"c{place}": column for place, column in enumerate(rows.columns)} | (more or {})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", pa.table({**columns, "row_number": pa.array(range(rows.num_rows), pa.int64())}))
        found = connection.sql(f"SELECT {text} AS made FROM given ORDER BY row_number").to_arrow_table()  # noqa: S608
    return _one(found.column("made").cast(pa.binary()))


def _one(values: pa.ChunkedArray) -> pa.BinaryArray:
    joined = values.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined
