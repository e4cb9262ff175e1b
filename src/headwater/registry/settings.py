"""How a foreign schema registry is reached."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class RegistrySettings(BaseModel):
    """A registry that speaks Confluent's protocol (Confluent, Karapace, Apicurio, Redpanda)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(
        pattern=r"^https?://[^@\s]+$",
        description="Its address, without user and password.",
        examples=["https://registry.example.com"],
    )
    username: str | None = Field(None, description="For basic authentication.")
    password: SecretStr | None = Field(None, description="For basic authentication.", examples=["${REGISTRY_PASSWORD}"])
    token: SecretStr | None = Field(None, description="Bearer token.", examples=["${REGISTRY_TOKEN}"])
    allow_private: bool = Field(
        True, description="Whether it may have an address of a private network; most registries do."
    )
    timeout_s: float = Field(10.0, gt=0, description="How long an answer may take.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("basic authentication needs username and password")
        if self.token is not None and self.username is not None:
            raise ValueError("either a token or username and password")
        return self
