"""How a Kafka cluster is reached: settings that its source and its destination share. Light: forms come from here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

OURS = (
    "bootstrap.servers", "client.id", "group.id", "group.instance.id", "group.protocol", "transactional.id",
    "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "isolation.level", "enable.partition.eof",
    "enable.idempotence", "acks", "partition.assignment.strategy", "log_level", "allow.auto.create.topics",
)  # fmt: skip
"""What correctness hangs on is not for `options` to set."""
_SECRET = ("password", "secret", "jaas", "pem")


class KafkaConnection(BaseModel):
    """How to reach a cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Brokers to ask for all others: host:port, separated by commas.",
        examples=["broker-1:9092,broker-2:9092"],
    )
    tls: bool = Field(False, description="Speak TLS with the brokers.")
    tls_ca: str | None = Field(
        None,
        description="File of the certificates to trust; the system's if not given.",
        examples=["/etc/kafka/ca.pem"],
    )
    tls_certificate: str | None = Field(None, description="File of our certificate, if the brokers ask for one.")
    tls_key: str | None = Field(None, description="File of its key.")
    tls_key_password: SecretStr | None = Field(None, description="Password of that file.")
    tls_verify_name: bool = Field(True, description="Require that a broker's certificate is for its host name.")
    sasl: Literal["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"] | None = Field(
        None, description="How to log in; not at all if not given. oauthbearer: tokens of an OpenID Connect provider."
    )
    username: str | None = Field(None, description="Name to log in with; with oauthbearer the client's id.")
    password: SecretStr | None = Field(
        None,
        description="Its password; with oauthbearer the client's secret.",
        examples=["${KAFKA_PASSWORD}"],
    )
    oauth_url: str | None = Field(None, description="With oauthbearer: the provider's token endpoint.")
    oauth_scope: str | None = Field(None, description="With oauthbearer: scope to ask for.")
    options: dict[str, str] = Field(
        default_factory=dict,
        description="More settings of librdkafka, by its names; none that exactly-once hangs on, and no secrets.",
        examples=[{"fetch.max.bytes": "10485760"}],
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in self.options:
            if name in OURS:
                raise ValueError(f"options: {name} is Headwater's to set")
            if any(word in name for word in _SECRET):
                raise ValueError(f"options: {name} would be a secret in plain sight; use password or tls_key_password")
        if self.sasl is not None and (self.username is None or self.password is None):
            raise ValueError(f"sasl: {self.sasl} needs username and password")
        if self.sasl is None and self.password is not None:
            raise ValueError("password: say how to log in with it, for instance sasl: plain")
        if self.sasl == "oauthbearer" and self.oauth_url is None:
            raise ValueError("sasl: oauthbearer needs oauth_url")
        return self


def configuration(settings: KafkaConnection, client: str) -> dict[str, str]:
    """librdkafka's configuration for `settings`; holds secrets.

    Args:
        settings: how to reach the cluster.
        client: what the brokers' logs call us.
    """
    protocol = ("sasl_ssl" if settings.tls else "sasl_plaintext") if settings.sasl else "ssl" if settings.tls else ""
    found: dict[str, str | None] = {
        "bootstrap.servers": settings.servers,
        "client.id": client,
        "security.protocol": protocol or "plaintext",
        "ssl.ca.location": settings.tls_ca,
        "ssl.certificate.location": settings.tls_certificate,
        "ssl.key.location": settings.tls_key,
        "ssl.key.password": _shown(settings.tls_key_password),
        "allow.auto.create.topics": "false",
        "log_level": "0",
    }
    if settings.tls:
        found["ssl.endpoint.identification.algorithm"] = "https" if settings.tls_verify_name else "none"
    if settings.sasl == "oauthbearer":
        found |= {
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": settings.username,
            "sasl.oauthbearer.client.secret": _shown(settings.password),
            "sasl.oauthbearer.token.endpoint.url": settings.oauth_url,
            "sasl.oauthbearer.scope": settings.oauth_scope,
        }
    elif settings.sasl is not None:
        found |= {
            "sasl.mechanism": settings.sasl.upper(),
            "sasl.username": settings.username,
            "sasl.password": _shown(settings.password),
        }
    return {name: value for name, value in {**found, **settings.options}.items() if value is not None}


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
