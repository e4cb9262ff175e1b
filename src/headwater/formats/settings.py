"""How messages are written, as `headwater.yml` says it: `format: json` or `format: {type: csv, delimiter: ";"}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from headwater.formats.avro.settings import AvroFormat, DebeziumAvroFormat
from headwater.formats.protobuf.settings import ProtobufFormat


class JsonFormat(BaseModel):
    """JSON objects, a row each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["json"] = Field(default="json", description="Which format.")
    nan: bool = Field(False, description="Take NaN, Infinity and -Infinity for numbers, which JSON does not have.")


class CsvFormat(BaseModel):
    """Lines of fields, a row each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["csv"] = Field(default="csv", description="Which format.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="What stands between two fields.")
    quote: str = Field('"', min_length=1, max_length=1, description="What stands around a field; doubled inside of it.")
    null: str = Field("", description="The unquoted field that stands for NULL.")
    header: tuple[str, ...] = Field(
        (),
        description="Names of the fields in order. Default: those of `columns`, or else c1, c2 and so on.",
        examples=[["id", "name", "price"]],
    )


class RawFormat(BaseModel):
    """Bytes as they are, in one column `value`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["raw"] = Field(default="raw", description="Which format.")
    text: bool = Field(False, description="The bytes are UTF-8 text.")


class GrokFormat(BaseModel):
    """Lines of logs, by a grok pattern."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["grok"] = "grok"
    pattern: str = Field(
        min_length=1,
        description="The pattern, in Logstash's syntax: %{SYNTAX:column:type} with string, int, float, boolean or "
        "timestamp as the type.",
        examples=["%{COMBINEDAPACHELOG}", "%{TIMESTAMP_ISO8601:at:timestamp} %{LOGLEVEL:level} %{GREEDYDATA:message}"],
    )
    patterns: dict[str, str] | str = Field(
        default_factory=dict,
        description="Patterns of your own, by name; or the text of a pattern file.",
        examples=[{"ORDER": "ord-[0-9]+"}, "${file:patterns/ours}"],
    )
    timezone: str = Field("UTC", description="The zone of times that do not say theirs.", examples=["Europe/Berlin"])


class DebeziumJsonFormat(BaseModel):
    """Debezium's envelope in JSON, with its schema or without (`schemas.enable`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["debezium-json"] = Field(default="debezium-json", description="Which format.")
    nan: bool = Field(False, description="Take NaN, Infinity and -Infinity for numbers, which JSON does not have.")


def _spelled_out(given: object) -> object:
    """`format: json` is short for `format: {type: json}`."""
    return {"type": given} if isinstance(given, str) else given


FormatSettings = Annotated[
    JsonFormat
    | CsvFormat
    | RawFormat
    | GrokFormat
    | DebeziumJsonFormat
    | AvroFormat
    | DebeziumAvroFormat
    | ProtobufFormat,
    Field(discriminator="type"),
    BeforeValidator(_spelled_out),
]
"""Any format. Connectors have it as the type of their `format` setting."""
