"""The `api:` section of `headwater.yml`. Light: the schema and the reference come from here."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, WithJsonSchema

Size = Annotated[ByteSize, WithJsonSchema({"type": ["integer", "string"]}), Field(gt=0)]


class SqlLimits(BaseModel):
    """What a query that comes over HTTP may take."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    timeout_s: float = Field(30.0, gt=0, le=3600, description="Seconds after which it is ended.")
    memory: Size = Field(
        default=ByteSize(1 << 30), description="Bytes that it may take, in its own process. Default 1 GiB."
    )
    max_rows: int = Field(10_000, ge=1, le=1_000_000, description="Most rows of an answer; those beyond are left out.")
    max_bytes: Size = Field(
        default=ByteSize(8 << 20), description="Most bytes of an answer; rows beyond are left out. Default 8 MiB."
    )
    at_once: int = Field(2, ge=1, le=64, description="Queries that run at a time; others wait their turn.")
    threads: int = Field(1, ge=1, description="Threads of a query.")


class ApiSettings(BaseModel):
    """The web server of a running project: the console, HTTP ingest, the schema registry, completions."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen at. Beyond loopback a token is needed, and made if none is given; put a proxy "
        "that speaks TLS in front.",
        examples=["127.0.0.1", "0.0.0.0"],
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen at; 0: any that is free.")
    token: SecretStr | None = Field(
        None,
        description="Who asks must show it (`Authorization: Bearer ...`). Sources may have tokens of their own. "
        "Without one, a server beyond loopback makes its own: the file `api.token` in the state folder holds it.",
        examples=["${API_TOKEN}"],
    )
    allowed_hosts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Host names under which the server may be asked, besides `host`, localhost and plain addresses. "
        "Others are refused, so that no page in a browser can reach it through a name of its own.",
        examples=[["headwater.example.com"]],
    )
    allowed_origins: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Origins of web pages that may ask from a browser, besides the server's own.",
        examples=[["https://app.example.com"]],
    )
    max_connections: int = Field(256, ge=1, description="Connections at a time; those beyond are told to come later.")
    max_memory: Size = Field(
        default=ByteSize(512 * 2**20),
        description="Bytes of request bodies held at a time; those beyond are told to come later. Default 512 MiB.",
        examples=["512 MiB"],
    )
    console: bool = Field(True, description="Serve the console: the page at /, and its API below /v1.")
    head_timeout_s: float = Field(10.0, gt=0, description="Seconds that a request's head may take to arrive.")
    body_timeout_s: float = Field(60.0, gt=0, description="Seconds that a request's body may take to arrive.")

    sql: SqlLimits = Field(
        default_factory=lambda: SqlLimits.model_validate({}), description="What a query from the console may take."
    )

    @property
    def loopback(self) -> bool:
        """Whether nobody outside of this machine can ask."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a listening address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
