"""Settings of a MySQL or MariaDB destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class MysqlSettings(BaseModel):
    """A table in MySQL (5.7 or newer) or MariaDB (10.5 or newer) that is kept equal to a model: each change exactly
    once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["mysql"] = Field("mysql", description="Kind of destination; MariaDB as well.")
    url: SecretStr = Field(
        description="Connection URL, with the options of a MySQL source's.",
        examples=["mysql://user:password@localhost:3306/crm?ssl=required"],
    )
    table: str = Field(
        min_length=1,
        description="The table: database.table, or a name in the url's database. InnoDB, as it must be transactional.",
        examples=["customer_scores"],
    )
    create: bool = Field(
        False, description="Make the table if it is not there, with the model's columns and the sync's key as its own."
    )
    connect_timeout_s: int = Field(10, ge=2, description="Seconds to wait for a connection.")
    statement_timeout_s: int = Field(60, ge=1, description="Seconds to wait for a lock, or for an answer.")
