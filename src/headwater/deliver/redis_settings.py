"""Settings of a Redis destination in `headwater.yml`. Light: forms, schema and CLI flags come from here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

SCHEMES = ("redis://", "rediss://", "unix://")


def _checked(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(SCHEMES):
        raise ValueError("that is not a Redis address: write it as redis://USER:${PASSWORD}@HOST:6379/0")
    return url


class RedisSettings(BaseModel):
    """Keys in Redis or Valkey that are kept equal to a model's rows, or taken away when these change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: Literal["redis"] = Field("redis", description="Kind of destination; Valkey as well.")
    url: Annotated[SecretStr, AfterValidator(_checked)] = Field(
        description="Address: redis://, or rediss:// for TLS, with the number of the database as the path.",
        examples=["redis://default:password@localhost:6379/0"],
    )
    prefix: str = Field(
        "",
        description="What stands before the record's key in the name of its Redis key.",
        examples=["customer:"],
    )
    on_change: Literal["keep", "invalidate"] = Field(
        "keep",
        description="keep: the Redis key holds the row as it is now, and goes with it. invalidate: whatever the Redis "
        "key holds is taken away at every change, so that the application fills its cache anew.",
    )
    value: Literal["json", "hash", "string"] = Field(
        "json",
        description="What a Redis key holds. json: a string with the row as a JSON object. hash: a hash with a field "
        "per column that is not null. string: the value of `column`.",
    )
    column: str = Field("", description="Of `value: string`, the column.", examples=["score"])
    ttl_s: float | None = Field(
        None, ge=0.001, description="Seconds after which a Redis key goes by itself, counted from its last change."
    )
    timeout_s: float = Field(10.0, gt=0, description="Seconds to wait for a connection or an answer.")

    @model_validator(mode="after")
    def _one_column(self) -> Self:
        if (self.value == "string") != bool(self.column):
            raise ValueError("`column` goes with `value: string`, and with nothing else")
        return self
