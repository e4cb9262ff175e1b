"""Settings of an Elasticsearch or OpenSearch destination in `headwater.yml`. Light: forms, schema and CLI flags come
from here."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise ValueError("that is not the address of a server: write it as https://HOST:9200")
    if parts.username or parts.password:
        raise ValueError("an address with a password in it ends up in logs: use `user` and `password`")
    return url.rstrip("/")


class ElasticsearchSettings(BaseModel):
    """An index of Elasticsearch (7 or newer) or OpenSearch whose documents are kept equal to a model's rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["elasticsearch"] = Field("elasticsearch", description="Kind of destination; OpenSearch as well.")
    url: Annotated[str, AfterValidator(_checked)] = Field(
        description="Address of the server.", examples=["https://search.example.com:9200"]
    )
    index: str = Field(
        pattern=r"^[a-z0-9][^\\/*?\"<>| ,#:A-Z]{0,200}$",
        description="The index. One that is not there is made by the server at the first record, if its settings allow "
        "that; make it yourself to choose the types of its fields.",
        examples=["products"],
    )
    api_key: SecretStr | None = Field(None, description="API key, as `Authorization: ApiKey ...` takes it.")
    user: str | None = Field(None, min_length=1, description="User, of basic authentication.")
    password: SecretStr | None = Field(None, description="Its password.", examples=["${SEARCH_PASSWORD}"])
    ca_file: str | None = Field(None, description="File of the authorities to trust beside the machine's own.")
    allow_private: bool = Field(False, description="Whether the server may have a loopback or private address.")
    notes_index: str = Field(
        "headwater-syncs",
        pattern=r"^[a-z0-9][^\\/*?\"<>| ,#:A-Z]{0,200}$",
        description="Index with one document per sync, from which it counts the versions of its documents.",
    )
    timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for an answer.")
    max_body: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(ge=1024)] = Field(
        default=ByteSize(5 * 2**20), description="Largest request; default 5 MiB. A larger batch goes in several."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.api_key is not None and self.user is not None:
            raise ValueError("give an `api_key`, or a `user` with its `password`, not both")
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` go together")
        return self
