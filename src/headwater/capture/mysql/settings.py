"""Settings of a MySQL or MariaDB source in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


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
    snapshot: Literal["initial", "never"] = Field(
        "initial",
        description="initial: read the tables whole before following their changes. never: only changes from now on.",
    )
    snapshot_connections: int = Field(
        2, ge=1, le=16, description="Connections that read the snapshot side by side, all as of the same position."
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
