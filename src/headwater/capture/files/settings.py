"""Settings of a source of files in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from headwater.capture.messages.settings import MessageStreamSettings, MetadataName
from headwater.formats.settings import FormatSettings, RawFormat


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _encoding(name: str) -> str:
    from headwater.capture.files.cut import check_encoding
    from headwater.errors import UserError

    try:
        return check_encoding(name)
    except UserError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error


class ParquetFormat(BaseModel):
    """Parquet files, each read when it is complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["parquet"] = "parquet"


class AvroFilesFormat(BaseModel):
    """Avro object container files, each read when it is complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["avro-files"] = "avro-files"


def _kind(given: object) -> str:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", given)
    return kind if kind in ("parquet", "avro-files") else "records"


def _spelled_out(given: object) -> object:
    """`lines` and `text` are lines as they are, `ndjson` is JSON."""
    if given in ("lines", "text"):
        return {"type": "raw", "text": True}
    return {"type": "json" if given == "ndjson" else given} if isinstance(given, str) else given


FileFormat = Annotated[
    Annotated[FormatSettings, Tag("records")]
    | Annotated[ParquetFormat, Tag("parquet")]
    | Annotated[AvroFilesFormat, Tag("avro-files")],
    Discriminator(_kind),
    BeforeValidator(_spelled_out),
]
Seconds = Annotated[float, Field(gt=0)]


class Multiline(BaseModel):
    """Events of several lines, such as stack traces. One of the two is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: str = Field(
        "",
        description="A line in which this expression (RE2) is found begins an event.",
        examples=[r"^\d{4}-\d\d-\d\d"],
    )
    continues: str = Field(
        "", description="A line in which it is found belongs to the event before.", examples=[r"^(\s|Caused by:)"]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.begins) == bool(self.continues):
            raise ValueError("give either begins or continues")
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            pc.match_substring_regex(pa.array([""]), self.begins or self.continues)
        except pa.ArrowInvalid as error:
            raise ValueError(str(error)) from error
        return self


class FileStreamSettings(MessageStreamSettings):
    """The files of one stream, and how they are read."""

    paths: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_many), Field(min_length=1)
    ] = Field(
        description="The files: patterns with *, ?, [...] and **, counted from the project's folder. Let them find "
        "rotated files as well.",
        examples=["logs/access.log*", ["in/**/*.csv", "in/**/*.csv.gz"]],
    )
    format: FileFormat = Field(  # type: ignore[assignment]
        default=RawFormat(text=True),
        description="How records are written: lines (the default), or a format by name or with its options; also "
        "ndjson, parquet and avro-files. CSV files have a header line unless `header` is given.",
    )
    metadata: tuple[MetadataName, ...] = Field(
        ("partition", "offset"),
        description="What becomes a column besides what is in the record: _partition is the file, _offset the byte at "
        "which the record begins in its content (of Parquet and Avro files the number of the row).",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        "utf-8",
        description="How text is encoded, where a byte order mark does not say it: utf-8, utf-16-le, utf-16-be, or an "
        "encoding of a byte each, such as latin-1.",
    )
    multiline: Multiline | None = Field(None, description="Events of several lines.")
    longest_record: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(ge=1024, le=1 << 30)] = (
        Field(ByteSize(16 << 20), description="A longer record is rejected, in pieces of this size; default 16 MiB.")
    )
    unfinished_after_s: Seconds | None = Field(
        5,
        description="A last line without its end is taken for whole when the file has not changed for so many "
        "seconds; null: "
        "never.",
    )
    complete_after_s: Seconds = Field(
        60,
        description="A compressed, Parquet or Avro file that cannot be read to its end is waited for until it has not "
        "changed for so many seconds; then it counts as damaged.",
    )

    @property
    def is_container(self) -> bool:
        """Whether the files are read by rows, not by records of bytes."""
        return self.format.type in ("parquet", "avro-files")


class FilesSettings(BaseModel):
    """Files that grow and are rotated, and files that are put into folders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["files"] = Field("files", description="Kind of source.")
    files: dict[str, FileStreamSettings] = Field(
        min_length=1,
        description="The files of each stream, by the stream's name.",
        examples=[
            {"access": {"paths": "logs/access.log*", "format": {"type": "grok", "pattern": "%{COMBINEDAPACHELOG}"}}}
        ],
    )
    start: Literal["beginning", "end"] = Field(
        "beginning",
        description="Where files that are there at the first run are read from. end: only what comes after.",
    )
    look_every_s: Seconds = Field(0.1, description="Seconds between two looks whether open files have grown.")
    find_every_s: Seconds = Field(1, description="Seconds between two looks for new and moved files.")
    lost: Literal["stop", "record"] = Field(
        "stop",
        description="What happens when a file is truncated, removed or damaged before all of it was read. stop: the "
        "source stops until `headwater source accept-gap`. record: the gap is entered into the ledger, and reading "
        "goes on.",
    )
