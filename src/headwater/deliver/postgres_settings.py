"""Settings of a PostgreSQL destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class PostgresSettings(BaseModel):
    """A table in PostgreSQL (14 or newer) that is kept equal to a model: each change exactly once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["postgres"] = Field("postgres", description="Kind of destination.")
    url: SecretStr = Field(
        description="Connection URL as libpq reads it; TLS, service files and password files included.",
        examples=["postgresql://user:password@localhost:5432/crm?sslmode=require"],
    )
    table: str = Field(
        min_length=1,
        description="The table: schema.table, or a name that is looked for in the schema public.",
        examples=["crm.customer_scores"],
    )
    create: bool = Field(
        False, description="Make the table if it is not there, with the model's columns and the sync's key as its own."
    )
    connect_timeout_s: int = Field(10, ge=2, description="Seconds to wait for a connection.")
    statement_timeout_s: int = Field(
        60, ge=1, description="Seconds after which a statement that does not end (it waits for a lock) is given up."
    )
