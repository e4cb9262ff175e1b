"""Settings of a PostgreSQL source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema

from headwater.capture.postgres.selection import matches, qualify
from headwater.capture.settings import SCHEMA_POLICY, SNAPSHOT_MODE, SchemaPolicy, SnapshotMode


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
    snapshot: SnapshotMode = Field("initial", description=SNAPSHOT_MODE.format(lost="the slot is gone"))
    snapshot_connections: int = Field(
        2, ge=1, le=64, description="How many connections read the initial snapshot, besides the one that streams."
    )
    snapshot_chunk_rows: int = Field(
        25_000, ge=1, description="About how many rows of a table are read by one query; the most, beside the stream."
    )
    snapshot_chunk_s: float = Field(
        1.0,
        gt=0,
        description="How long one query of a snapshot beside the stream should take: if it takes longer, the next "
        "reads fewer rows; after thirty times as long the server gives it up, and it is tried with fewer.",
    )
    on_schema_change: SchemaPolicy = Field("evolve", description=SCHEMA_POLICY)
    on_schema_change_of: dict[str, SchemaPolicy] = Field(
        default_factory=dict,
        description="The same for single tables: patterns on schema.table as in tables, the first that matches counts.",
        examples=[{"public.ledger_*": "stop"}],
    )
    text_columns: tuple[str, ...] = Field(
        (),
        description="Columns to capture as text: patterns on schema.table.column or table.column. For values that the "
        "column's own type cannot hold (infinity, dates before Christ, NaN in a numeric).",
        examples=[["orders.due_date", "public.*.amount"]],
    )
    streaming: bool = Field(
        True,
        description="Large transactions are sent while they run, and kept here until they commit. false: the server "
        "keeps them, and sends them when they have committed.",
    )
    two_phase: bool = Field(
        False,
        description="Prepared transactions (PREPARE TRANSACTION) are sent when they are prepared, rather than when "
        "they commit. They count when they commit either way. The slot keeps this for good. PostgreSQL 15 or newer.",
    )
    heartbeat_s: float = Field(
        5.0, gt=0, description="Seconds between two heartbeats that move the slot while the captured tables are quiet."
    )
    wal_budget: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)] = Field(
        default=ByteSize(10 * 10**9),
        description="How much of its write-ahead log the server may keep for this source before on_wal_budget applies; "
        "default 10 GB.",
        examples=["10 GB"],
    )
    on_wal_budget: Literal["alarm", "stop"] = Field(
        "alarm",
        description="alarm: say so, in the log and in the status. stop: also drop the slot, so that the server's disk "
        "cannot fill, and stop the source; then its changes since are lost, and a decision is needed.",
    )
    query_timeout_s: float = Field(
        60.0, gt=0, description="Seconds that a question of ours to the catalogs may take; reading tables has no limit."
    )
    silence_timeout_s: float = Field(
        120.0,
        gt=0,
        description="Seconds without a word from the server, though it was asked, after which the connection is taken "
        "for dead and made anew.",
    )
    failover: bool = Field(
        False,
        description="Have the slot copied to standbys, so that it outlives a failover (PostgreSQL 17 and newer; the "
        "standbys need sync_replication_slots).",
    )
    connect_timeout_s: int = Field(10, ge=2, description="Seconds to wait for a connection.")

    def schema_policy(self, table: str) -> SchemaPolicy:
        """What goes on by itself when the definition of a table, schema.table, changes."""
        found = (policy for pattern, policy in self.on_schema_change_of.items() if matches(table, [qualify(pattern)]))
        return next(found, self.on_schema_change)
