"""The `lake:` section of `headwater.yml`: the format of the tables, where they lie, and their catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from headwater.lake.connection import Connection, is_remote
from headwater.project.setting import Name, Settings


class ObjectStoreSettings(Settings):
    """How an S3-compatible object store is reached. What is not given is found as the AWS tools find it: environment,
    `~/.aws`, the machine's role."""

    endpoint: str | None = Field(
        default=None,
        min_length=1,
        description="Address of the store; the default is Amazon's for the region.",
        examples=["https://s3.example.com", "http://127.0.0.1:9000"],
    )
    region: str | None = Field(default=None, min_length=1, description="Region of the bucket.", examples=["eu-west-1"])
    access_key_id: SecretStr | None = Field(default=None, description="Access key.", examples=["${S3_ACCESS_KEY_ID}"])
    secret_access_key: SecretStr | None = Field(
        default=None, description="Its secret.", examples=["${S3_SECRET_ACCESS_KEY}"]
    )
    session_token: SecretStr | None = Field(default=None, description="Token of temporary credentials.")
    virtual_hosts: bool = Field(
        default=False, description="Put the bucket's name in front of the endpoint's host, not into the path."
    )


class CatalogSettings(Settings):
    """What says which version of each table is the current one."""

    type: Literal["sqlite", "postgres", "rest"] = Field(
        default="sqlite",
        description="sqlite: one file, one writing machine. postgres: tables in a PostgreSQL database, as PyIceberg's "
        "SQL catalog has them. rest: a server that speaks the Iceberg REST protocol.",
    )
    path: str = Field(
        default="",
        description="File of an SQLite catalog, counted from the project's folder; the default is catalog.db in the "
        "warehouse, or lake/catalog.db if that is an object store.",
    )
    url: SecretStr | None = Field(
        default=None,
        description="Of a PostgreSQL or REST catalog.",
        examples=["${CATALOG_URL}", "https://catalog.example.com/iceberg"],
    )
    token: SecretStr | None = Field(default=None, description="Bearer token for a REST catalog.")
    credential: SecretStr | None = Field(
        default=None, description="Client id and secret, `id:secret`, for which a REST catalog gives tokens (OAuth 2)."
    )
    oauth2_server_uri: str | None = Field(
        default=None, min_length=1, description="Who gives the tokens, if not the REST catalog itself."
    )
    scope: str | None = Field(default=None, min_length=1, description="Scope of the tokens asked for.")
    serve: bool = Field(
        default=False,
        description="Whether `headwater run` serves the catalog to other engines, read-only, over the Iceberg REST "
        "protocol: at /iceberg of its web server (`api:`).",
    )
    warehouse: str | None = Field(
        default=None, min_length=1, description="Which of its warehouses a REST catalog that has several is to use."
    )

    @model_validator(mode="after")
    def _needs_url(self) -> Self:
        if self.type != "sqlite" and self.url is None:
            raise ValueError(f"a catalog of type {self.type} needs its url")
        return self


class LakeSettings(Settings):
    """Where the tables are."""

    type: Literal["iceberg", "delta", "parquet"] = Field(
        default="iceberg",
        description="Table format. iceberg: Apache Iceberg. delta: Delta Lake. parquet: plain files, for tables "
        "that are small or only appended to.",
    )
    warehouse: str = Field(
        default="lake",
        min_length=1,
        description="Folder of the tables and their catalog, counted from the project's folder; or s3://bucket/prefix.",
        examples=["lake", "s3://company-lake/shop"],
    )
    s3: ObjectStoreSettings = Field(
        default_factory=ObjectStoreSettings, description="How the object store of an s3:// warehouse is reached."
    )
    catalog: CatalogSettings = Field(default_factory=CatalogSettings, description="The Iceberg catalog of the tables.")
    namespace: Name | None = Field(
        default=None, description="Namespace of the tables; the default is the project's name."
    )

    def connection(self, folder: Path) -> Connection:
        """How storage and catalog are reached.

        Args:
            folder: the project's.
        """
        s3, catalog = self.s3, self.catalog
        storage = {
            "s3.endpoint": s3.endpoint,
            "s3.region": s3.region or ("us-east-1" if s3.endpoint else None),
            "s3.access-key-id": _shown(s3.access_key_id),
            "s3.secret-access-key": _shown(s3.secret_access_key),
            "s3.session-token": _shown(s3.session_token),
            "s3.force-virtual-addressing": "true" if s3.virtual_hosts else None,
        }
        credentials = {
            "token": _shown(catalog.token),
            "credential": _shown(catalog.credential),
            "oauth2-server-uri": catalog.oauth2_server_uri or _tokens_at(catalog),
            "scope": catalog.scope,
            "warehouse": catalog.warehouse,
        }
        path = catalog.path or ("lake/catalog.db" if is_remote(self.warehouse) else "")
        return Connection(
            catalog.type,
            folder / path if path else None,
            _shown(catalog.url) or "",
            _given(credentials),
            _given(storage),
        )


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _tokens_at(catalog: CatalogSettings) -> str | None:
    """Where a REST catalog itself gives tokens, as its protocol says."""
    url = _shown(catalog.url) if catalog.credential is not None else None
    return None if url is None else f"{url.rstrip('/')}/v1/oauth/tokens"


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
