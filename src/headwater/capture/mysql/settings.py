"""Settings of a MySQL or MariaDB source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema

from headwater.capture.settings import SCHEMA_POLICY, SNAPSHOT_MODE, SchemaPolicy, SnapshotMode


class MysqlSettings(BaseModel):
    """How to reach a MySQL (5.7 or newer) or MariaDB (10.5 or newer) and what to capture from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["mysql"] = Field("mysql", description="Kind of source; MariaDB as well.")
    url: SecretStr = Field(
        description="Connection URL. Options after the ?: ssl=disabled|preferred|required|verify_ca|verify_identity "
        "(preferred is the default), ssl_ca, ssl_cert, ssl_key (paths), socket (path of a Unix socket). Special "
        "characters in user and password are percent-encoded.",
        examples=["mysql://user:password@localhost:3306/shop?ssl=required"],
    )
    tables: tuple[str, ...] = Field(
        ("*",),
        min_length=1,
        description="Tables to capture: patterns on database.table with * and ?; a leading ! excludes. A name without "
        "a database is looked for in the url's.",
        examples=[["*", "sales.orders", "!audit_*"]],
    )
    server_id: int | None = Field(
        None,
        ge=1,
        le=4_294_967_295,
        description="Our id among the server's replicas, which no other may have. The default is derived from the "
        "project, the source and the id of this state folder.",
    )
    position: Literal["auto", "gtid", "file"] = Field(
        "auto",
        description="How the place in the binary log is kept. gtid: survives a failover to a replica. file: file name "
        "and offset. auto: gtid where the server has it.",
    )
    snapshot: SnapshotMode = Field("initial", description=SNAPSHOT_MODE.format(lost="the binary log was purged"))
    snapshot_connections: int = Field(
        2, ge=1, le=16, description="Connections that read the snapshot side by side, all as of the same position."
    )
    snapshot_chunk_rows: int = Field(
        20_000, ge=1, description="How many rows of a table one query reads beside the stream, at most."
    )
    on_schema_change: SchemaPolicy = Field("evolve", description=SCHEMA_POLICY)
    on_schema_change_of: dict[str, SchemaPolicy] = Field(
        default_factory=dict,
        description="The same for single tables: patterns on database.table as in tables, the first that matches "
        "counts.",
        examples=[{"shop.ledger_*": "stop"}],
    )
    text_columns: tuple[str, ...] = Field(
        (),
        description="Columns to capture as text: patterns on database.table.column or table.column. For values that "
        "the column's own type cannot hold (dates with a zero in them).",
        examples=[["orders.due_date", "shop.*.born_on"]],
    )
    heartbeat_s: float = Field(
        5.0,
        gt=0,
        description="Seconds between two signs of life from a quiet server, and between two moves of the position "
        "while the captured tables are quiet.",
    )
    connect_timeout_s: int = Field(10, ge=2, description="Seconds to wait for a connection.")
    log_budget: Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)] = Field(
        default=ByteSize(10 * 10**9),
        description="How many bytes of the binary log this source may be behind before that is an alarm; default 10 "
        "GB. The server purges its log by its own rules and waits for nobody.",
        examples=["10 GB"],
    )

    def schema_policy(self, table: str, database: str) -> SchemaPolicy:
        """What goes on by itself when the definition of a table, database.table, changes; `database` is the url's."""
        for pattern, policy in self.on_schema_change_of.items():
            if fnmatchcase(table, pattern if "." in pattern else f"{database}.{pattern}"):
                return policy
        return self.on_schema_change
