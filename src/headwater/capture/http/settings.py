"""Settings of a source that takes records by HTTP. Light: forms, schema and the reference come from here."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator

from headwater.capture.messages.settings import MessageStreamSettings

Size = Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError("a stream's name has lower-case letters, digits and _, beginning with a letter")
    return name


StreamName = Annotated[str, AfterValidator(_check_name)]


class HttpStreamSettings(MessageStreamSettings):
    """A stream that `POST /v1/streams/NAME` feeds."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    metadata: tuple[Literal["timestamp"], ...] = Field(
        ("timestamp",), description="What is kept of a request beside its records: `_timestamp`, when it came."
    )

    @model_validator(mode="after")
    def _key_is_declared(self) -> Self:
        undeclared = [name for name in self.key if name not in self.columns]
        if undeclared:
            raise ValueError(f"say of what type the key is: columns: {{{undeclared[0]}: BIGINT}}")
        return self


class HttpSettings(BaseModel):
    """Records that clients send by HTTP, at the project's `api`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["http"] = Field("http", description="Kind of source.")
    token: SecretStr | None = Field(
        None,
        description="Clients must show it (`Authorization: Bearer ...`). It opens the streams of this source alone.",
        examples=["${INGEST_TOKEN}"],
    )
    former_token: SecretStr | None = Field(
        None, description="A second token that is right too, while clients change from one to the other."
    )
    streams: dict[StreamName, HttpStreamSettings] = Field(
        min_length=1, description="The streams that clients may send to, by name."
    )
    max_body: Size = Field(
        default=ByteSize(16 * 2**20), description="Largest body of a request, as it is sent; default 16 MiB."
    )
    max_unpacked: Size = Field(
        default=ByteSize(128 * 2**20),
        description="Largest body of a request once it is unpacked (gzip, zstd); default 128 MiB.",
    )
    max_records: int = Field(1_000_000, ge=1, description="Most records of a request.")
    requests_per_second: float | None = Field(
        None, gt=0, description="Most requests a second, all clients together; no limit if not given.", examples=[500]
    )
    buffer: Size = Field(
        default=ByteSize(64 * 2**20),
        description="Bytes of records that may wait for the log before clients are told to come later; default 64 MiB.",
    )
    remember_keys_h: float = Field(
        72.0, gt=0, description="Hours for which an Idempotency-Key is remembered.", examples=[24]
    )
