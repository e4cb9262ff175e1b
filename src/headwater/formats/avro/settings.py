"""Settings of the format `avro`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.registry.settings import RegistrySettings


class AvroFormat(BaseModel):
    """Avro's binary encoding."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    type: Literal["avro"] = Field(default="avro", description="Which format.")
    framing: Literal["confluent", "none"] = Field(
        "confluent",
        description="confluent: every message begins with the id of its schema in a registry. none: it is the bare "
        "encoding by `schema`.",
    )
    schema_text: str = Field(
        "",
        alias="schema",
        description="The schema, as JSON: what messages without an id are read by, and what is written by.",
        examples=['{"type": "record", "name": "order", "fields": [{"name": "id", "type": "long"}]}'],
    )
    subject: str = Field(
        "",
        description="Where a destination registers its schema, if not under the destination's name for it "
        "(TOPIC-value).",
    )
    registry: RegistrySettings | None = Field(
        None, description="The registry that has the schemas; the project's own if not given."
    )


class DebeziumAvroFormat(BaseModel):
    """Debezium's envelope in Avro, with the ids of a registry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["debezium-avro"] = Field(default="debezium-avro", description="Which format.")
    registry: RegistrySettings | None = Field(
        None, description="The registry that has the schemas; the project's own if not given."
    )
