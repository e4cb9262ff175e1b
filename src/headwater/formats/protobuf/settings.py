"""Settings of the format `protobuf`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.registry.settings import RegistrySettings


class ProtobufFormat(BaseModel):
    """Protocol Buffers."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    type: Literal["protobuf"] = "protobuf"
    framing: Literal["confluent", "none"] = Field(
        "confluent",
        description="confluent: every message begins with the id of its schema in a registry and says which of its "
        "message types it is. none: it is a bare message of `schema`.",
    )
    schema_text: str = Field(
        "",
        alias="schema",
        description="The schema, as a .proto text: what messages without an id are read by, and what is written by.",
        examples=['syntax = "proto3"; message Order { int64 id = 1; }'],
    )
    schema_file: str = Field(
        "",
        description="The same in a file: a .proto, whose imports are looked for beside it, or a descriptor set "
        "(`protoc --include_imports -o FILE`).",
        examples=["proto/order.proto", "order.pb"],
    )
    message: str = Field(
        "", description="Which message type of the schema, if it has several.", examples=["shop.Order"]
    )
    subject: str = Field(
        "",
        description="Where a destination registers its schema, if not under the destination's name for it "
        "(TOPIC-value).",
    )
    registry: RegistrySettings | None = Field(
        None, description="The registry that has the schemas; the project's own if not given."
    )
