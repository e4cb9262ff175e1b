"""Settings of a PostgreSQL source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class PostgresSettings(BaseModel):
    """How to reach a PostgreSQL (14 or newer) and what to capture from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["postgres"] = Field("postgres", description="Kind of source.")
    url: SecretStr = Field(
        description="Connection URL as libpq reads it; TLS, service files and password files included.",
        examples=["postgresql://user:password@localhost:5432/shop?sslmode=require"],
    )
    tables: tuple[str, ...] = Field(
        ("public.*",),
        min_length=1,
        description="Tables to capture: patterns on schema.table with * and ?; a leading ! excludes. A name without a "
        "schema is looked for in public.",
        examples=[["public.*", "sales.orders", "!public.audit_*"]],
    )
    slot: str | None = Field(
        None,
        pattern=r"^[a-z0-9_]{1,63}$",
        description="Name of the replication slot. The default belongs to this state folder alone: "
        "headwater_<project>_<source>_<id of the state folder>.",
    )
    publication: str | None = Field(
        None,
        min_length=1,
        max_length=63,
        description="Name of the publication. The default is headwater_<project>_<source>; it is made when missing.",
    )
    snapshot: Literal["initial", "never"] = Field(
        "initial",
        description="initial: read the tables whole before following their changes. never: only changes from now on.",
    )
    text_columns: tuple[str, ...] = Field(
        (),
        description="Columns to capture as text: patterns on schema.table.column or table.column. For values that the "
        "column's own type cannot hold (infinity, dates before Christ, NaN in a numeric).",
        examples=[["orders.due_date", "public.*.amount"]],
    )
    heartbeat_s: float = Field(
        5.0, gt=0, description="Seconds between two heartbeats that move the slot while the captured tables are quiet."
    )
    connect_timeout_s: int = Field(10, ge=2, description="Seconds to wait for a connection.")
